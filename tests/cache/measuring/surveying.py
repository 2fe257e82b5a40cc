"""A disk whose free space is moved by hand, and who measures what a root wants measured, when it is told to."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from gcsidecar.cache.walking.sizes import measure

if TYPE_CHECKING:
    from pathlib import Path

    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.root import Root

MIB = 1 << 20


class Disk:
    """What the whole disk has free, moved by hand."""

    def __init__(self) -> None:
        self.free = 1000 * MIB
        self.fails = False

    def statvfs(self, _fd: int) -> os.statvfs_result:
        if self.fails:
            raise OSError(5, "Input/output error")
        return os.statvfs_result((1, 1, 2000 * MIB, self.free, self.free, 9, 9, 9, 0, 255))

    def write(self, path: Path, size_bytes: int) -> None:
        path.write_bytes(b"x" * size_bytes)
        self.free -= size_bytes


class Surveyor:
    """A `Watch` that watches nothing, and notes what is wanted.

    Attributes:
        names: What is to be measured, in order.
        entries: How many entries were walked through.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.entries = 0

    def add(self, _name: str, /) -> bool:
        return True

    def add_above(self, path: str) -> None:
        """Nothing is watched."""

    def remove(self, name: str) -> None:
        """Nothing is watched."""

    def changed(self, folder: Folder, *, arrived: bool) -> None:
        """Nothing is measured unasked."""

    def wanted(self, name: str) -> None:
        self.names.append(name)

    def answer(self, root: Root) -> None:
        """Measure all that is wanted, as the survey does."""
        names, self.names = self.names, []
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                self._measure(root, name)

    def _measure(self, root: Root, name: str) -> None:
        folder, size = root.census.get(name), measure(root.fd, name, atime=root.spec.last_used == "atime")
        self.entries += size.entries
        if folder is not None:
            root.census.measured(folder, size)
        else:
            root.custody.measured_apart(name, size)


def measure_all(root: Root) -> None:
    for folder in root.census.folders():
        root.census.measured(folder, measure(root.fd, folder.name))

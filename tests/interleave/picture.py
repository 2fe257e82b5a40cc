"""What is on the disk at one moment, such that two pictures are equal where nothing that happens next can differ."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from gcsidecar.cache.eviction.slots import CONDEMNED, EVICTING, decode
from gcsidecar.contract import MARK, STATE_DIRECTORY
from interleave.wrapping import REAL

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

AWAY = "away"


class Folder(NamedTuple):
    """A folder, and where it is: under its `name`, in `evicting` or `condemned`, or `away`, moved out of the root."""

    label: Hashable
    where: str
    name: str
    mode: int
    files: frozenset[tuple[str, Hashable, bool]]

    @property
    def names(self) -> frozenset[str]:
        """Of what is in it."""
        return frozenset(name for name, _, _ in self.files)

    @property
    def content(self) -> frozenset[str]:
        """All that is no lease."""
        return frozenset(name for name in self.names if not name.startswith("."))

    @property
    def is_marked(self) -> bool:
        """Whether it is condemned."""
        return bool(self.mode & MARK)


class Picture(NamedTuple):
    """All folders, and how many slots there are on either side."""

    folders: frozenset[Folder]
    beside: frozenset[str]
    slots: tuple[int, ...]

    def folder(self, label: Hashable) -> Folder | None:
        """The one that is called so; none where it is gone."""
        return next((folder for folder in self.folders if folder.label == label), None)


def picture_of(root: str, labels: Mapping[int, Hashable]) -> Picture:
    """Take one."""
    folders: list[Folder] = []
    beside: list[str] = []
    for directory, where in ((root, "name"), (f"{os.path.dirname(root)}/{AWAY}", AWAY)):
        for name, path, status in _entries(directory):
            if name == STATE_DIRECTORY:
                continue
            if stat.S_ISDIR(status.st_mode):
                folders.append(_folder(path, where, name, status, labels))
            else:
                beside.append(name)
    slots = []
    for side in (EVICTING, CONDEMNED):
        count = 0
        for _, slot, _ in _entries(f"{root}/{STATE_DIRECTORY}/{side}"):
            count += 1
            folders.extend(_folder(path, side, decode(name), status, labels) for name, path, status in _entries(slot))
        slots.append(count)
    return Picture(frozenset(folders), frozenset(beside), tuple(slots))


def _folder(path: str, where: str, name: str, status: os.stat_result, labels: Mapping[int, Hashable]) -> Folder:
    files = ((entry, labels.get(found.st_ino, "nobody's"), found.st_size > 0) for entry, _, found in _entries(path))
    return Folder(labels.get(status.st_ino, "nobody's"), where, name, status.st_mode, frozenset(files))


def _entries(directory: str) -> Iterator[tuple[str, str, os.stat_result]]:
    try:
        names = REAL["listdir"](directory)
    except FileNotFoundError:
        return
    for name in names:
        path = f"{directory}/{name}"
        yield name, path, REAL["lstat"](path)

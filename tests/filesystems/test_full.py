"""Eviction on filesystems of several kinds where nobody can take anything any more (ext4 alone: tests/e2e)."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.harness import Sidecar, eventually
from filesystems.conftest import LEAST_BYTES, Overlay
from filesystems.roots import names, root

if TYPE_CHECKING:
    from collections.abc import Callable

    from filesystems.conftest import MakeFilesystem, MakeOverlay, Serve

pytestmark = pytest.mark.e2e

KIB = 1 << 10
FOLDERS = ("a", "b", "c", "d")
FILES, FILE_BYTES = 4, 2048 * KIB
MOST_INODES = 5000


class Disk:
    """A disk with a cache of leased folders, and beside it what else fills it up.

    Args:
        mount: Where it is.
        inodes: Whether all inodes are taken, too, where they are counted.
    """

    def __init__(self, mount: Path, *, inodes: bool = True) -> None:
        self._inodes = inodes and os.statvfs(mount).f_files > 0
        self.cache, self._filling = mount / "cache", mount / "filling"
        self.cache.mkdir()
        self._filling.mkdir()
        (self._filling / "large").touch()
        for name in FOLDERS:
            (self.cache / name).mkdir()
            (self.cache / name / ".lease").touch()
            for number in range(FILES):
                (self.cache / name / str(number)).write_bytes(os.urandom(FILE_BYTES))
            time.sleep(0.02)
        os.sync()

    def fill(self) -> None:
        """Until nobody gets anything any more, root included; the sidecar may give up something meanwhile."""

        def nobody_gets_anything() -> bool:
            self._take_all()
            return not any(self._gets(take) for take in self._takes)

        eventually(nobody_gets_anything, "it is full")

    def _take_all(self) -> None:
        if self._inodes and os.statvfs(self.cache).f_ffree < MOST_INODES:
            self._take_inodes()  # before: a directory that has no room for more names would leave some
        with (self._filling / "large").open("r+b") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            for step_bytes in (1024 * KIB, 64 * KIB, 4 * KIB):
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), size_bytes, step_bytes)
                        size_bytes += step_bytes
        if self._inodes:
            self._take_inodes()

    @property
    def _takes(self) -> list[Callable[[Path], object]]:
        small: list[Callable[[Path], object]] = [Path.touch, Path.mkdir] if self._inodes else []
        return [*small, lambda path: path.write_bytes(bytes(64 * KIB))]

    def _gets(self, take: Callable[[Path], object]) -> bool:
        path = self._filling / f"new-{time.monotonic_ns()}"
        try:
            take(path)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            path.unlink(missing_ok=True)
            return False
        return True

    def _take_inodes(self) -> None:
        with suppress(OSError):
            while True:
                (self._filling / f"small-{time.monotonic_ns()}").touch(exist_ok=False)

    def release(self, name: str) -> None:
        """End its lease so that not one inode comes free by it; a full btrfs takes nothing but a removal."""
        try:
            (self.cache / name / ".lease").rename(self.cache / name / "done")
        except OSError:
            (self.cache / name / ".lease").unlink()

    def free_bytes(self) -> int:
        space = os.statvfs(self.cache)
        return space.f_bavail * space.f_frsize


@pytest.fixture(params=["tmpfs", "xfs", "btrfs", "overlay", "fuse-overlayfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    kind = request.param
    if kind in {"tmpfs", "xfs", "btrfs"}:
        make: MakeFilesystem = request.getfixturevalue(kind)
        if kind == "tmpfs":
            return Disk(make(64 << 20, "nr_inodes=1000"))
        # Where a btrfs as small as this is full of data, nothing else has room, and the kernel refuses each rename.
        return Disk(make(LEAST_BYTES["btrfs"], "metadata_ratio=1") if kind == "btrfs" else make())
    layers = Overlay(above := request.getfixturevalue("ext4")(64 << 20, "-N", "1000"), above)
    if kind == "overlay":
        overlay: MakeOverlay = request.getfixturevalue("overlay")
        return Disk(overlay(layers))
    serve: Serve = request.getfixturevalue("fuse")
    # It makes a file in each directory that is renamed, so without an inode there it can't.
    return Disk(serve(tmp_path / "served", "fuse-overlayfs", "-f", "-o", layers.options).mount, inodes=False)


def test_it_evicts_where_nobody_gets_anything_and_starts_there_again(disk: Disk, tmp_path: Path) -> None:
    config = {"roots": [root(disk.cache, lease={"settle": 0})]}
    for number, name in enumerate(FOLDERS[:2]):
        with Sidecar(tmp_path, config) as sidecar:
            eventually(lambda: sidecar.metric("gcsidecar_root_role", role="active"), "it acts")
            disk.fill()
            before = disk.free_bytes()
            disk.release(name)
            eventually(lambda: name not in names(disk.cache), f"{name} goes")  # noqa: B023
            eventually(lambda: disk.free_bytes() > before + FILES * FILE_BYTES // 2, "its space comes back")  # noqa: B023
            assert names(disk.cache) == set(FOLDERS[number + 1 :])
            assert not sidecar.events("eviction-failed")
            disk.fill()
    for name in FOLDERS[2:]:
        assert len(list((disk.cache / name).iterdir())) == FILES + 1

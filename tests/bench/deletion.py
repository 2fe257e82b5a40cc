"""The deletion of a folder at full speed, beside `rm -rf` and `shutil.rmtree`, each on a tree of its own in turn."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.places import directory
from bench.process import BenchError
from bench.row import LeftOut, Row, peer
from bench.samples import seconds
from gcsidecar.cache.eviction.removal import remove_tree
from gcsidecar.cache.syscalls import FILESYSTEM_NAMES, filesystem_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.ground import Ground

# At most so many times as long as `rm -rf` takes.
GOAL_RATIO = 1.1
RUNS = 5
DISK_IN_MEMORY = "temporary directories are in memory; TMPDIR names another place"
_TMPFS_BYTES = 6 * 2**30


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree of one kind."""

    what: str
    key: str
    folders: int
    files: int
    file_bytes: int

    def scaled(self, share: float) -> Tree:
        """With fewer directories."""
        return replace(self, folders=max(1, round(self.folders * share)))

    def make(self, top: Path) -> None:
        """Make it, and see that all of it is written."""
        top.mkdir()
        for number in range(self.folders):
            folder = top / f"folder-{number:04}"
            folder.mkdir()
            self._fill(folder)
        os.sync()  # or what was written would be on its way to the disk while it is deleted

    def _fill(self, folder: Path) -> None:
        folder_fd = os.open(folder, os.O_RDONLY)
        for number in range(self.files):
            fd = os.open(f"file-{number:04}", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=folder_fd)
            os.posix_fallocate(fd, 0, self.file_bytes)
            os.close(fd)
        os.close(folder_fd)


# On disk a file takes ten times as long as in memory, whoever deletes it.
_TREES = (Tree("1 KiB", "small", 500, 100, 1024), Tree("4 MiB", "large", 10, 100, 4 << 20))


def rows_in_memory(ground: Ground) -> Iterator[Row]:
    """Small and large files, on a tmpfs."""
    with ground.memory(_TMPFS_BYTES) as path:
        yield from (_row(tree.scaled(ground.share), path, "tmpfs") for tree in _TREES)


def rows_on_disk(ground: Ground) -> Iterator[Row | LeftOut]:
    """The same where temporary directories are."""
    with directory() as path:
        kind = filesystem_name(path)
        if kind == "tmpfs":
            yield LeftOut("deleting on disk", DISK_IN_MEMORY)
        else:
            yield from (_row(tree.scaled(ground.share), path, f"disk ({kind})") for tree in _TREES)


def _row(tree: Tree, place: Path, where: str) -> Row:
    taken: dict[str, list[float]] = {name: [] for name in _WAYS}
    for run in range(RUNS):
        ways = list(_WAYS.items())
        for name, delete in (*ways[run % len(ways) :], *ways[: run % len(ways)]):
            taken[name].append(_timed(tree, place / "tree", delete))
    ours, rm, rmtree = (seconds(taken[name]) for name in _WAYS)
    ratios = sorted(one / other for one, other in zip(ours.values, rm.values, strict=True))
    return Row(
        f"deleting {tree.files * tree.folders:,} files of {tree.what} in {tree.folders:,} directories, {where}",
        ours.median,
        "s",
        "median",
        None,
        ours.spread(),
        (peer("`rm -rf`", rm), peer("`shutil.rmtree`", rmtree)),
        f"in turn, each on a tree just made and synced; over the `rm -rf` of the same round {ratios[0]:.2f} to "
        f"{ratios[-1]:.2f}, median {statistics.median(ratios):.2f}",
        key=f"deletion-{tree.key}-{where.partition(' ')[0]}",
        goal_ratio=GOAL_RATIO,
    )


def _timed(tree: Tree, top: Path, delete: Callable[[Path], None]) -> float:
    tree.make(top)
    began = time.perf_counter()
    delete(top)
    took = time.perf_counter() - began
    if top.exists():
        raise BenchError(f"{top} is still there")
    return took


def _ours(top: Path) -> None:
    """As the sidecar does it once a folder is condemned: in the process that runs."""
    parent_fd = os.open(top.parent, os.O_RDONLY)
    remove_tree(parent_fd, top.name)
    os.close(parent_fd)


def _rm(top: Path) -> None:
    subprocess.run(("rm", "-rf", "--", top), check=True)


_WAYS: dict[str, Callable[[Path], None]] = {"ours": _ours, "rm": _rm, "rmtree": shutil.rmtree}


def filesystem_name(path: Path) -> str:
    """The filesystem that a path is on."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return FILESYSTEM_NAMES.get(filesystem_type(fd), "unknown")
    finally:
        os.close(fd)

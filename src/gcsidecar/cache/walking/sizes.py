"""The size of one tree as its deletion would give it back, and whether something in it forbids to delete it.

It is looked at in chunks, between which others may do other things; nothing is changed, and nothing decided.
"""

from __future__ import annotations

import ctypes
import threading
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.cache.walking.bulk import Bulk
from gcsidecar.cache.walking.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Generator

    from gcsidecar.cache.walking.figures import Figures

CHUNK = 256


@dataclass(frozen=True, slots=True)
class TreeSize:
    """What one tree takes, as of its measuring.

    Attributes:
        disk_bytes: Allocated, directories included; of a hard link its share, blocks over links.
        inodes: Of a hard link its share.
        apparent_bytes: Length of all that isn't a directory; of a hard link its share.
        newest_mtime: The newest of a regular file, in POSIX seconds; 0.0 where there is none.
        newest_atime: Likewise; 0.0 where it was not asked for.
        entries: How many were looked at, the tree itself included.
        obstacle: The first thing found for which it can't be deleted whole, with its path in the tree; none known.
        unreadable: Directories whose contents, or some of them, are not in these figures.
    """

    disk_bytes: int
    inodes: int
    apparent_bytes: int
    newest_mtime: float
    newest_atime: float
    entries: int
    obstacle: str | None
    unreadable: int

    @classmethod
    def of(cls, figures: Figures) -> TreeSize:
        """The size that a walk has come to, at its end or on the way."""
        return cls(*figures.totals())


def walk(dir_fd: int, name: str, *, atime: bool = False, chunk: int = CHUNK) -> Generator[int, None, TreeSize]:
    """Measure the directory `name` in `dir_fd`, bit by bit, all of it in one thread.

    One mount: what is mounted inside is neither entered nor counted. Symbolic links are not followed. What vanishes
    meanwhile is left out. Access times of directories are left alone where that is permitted.

    Args:
        dir_fd: The directory that it is in.
        name: Its name, relative.
        atime: Also find the newest access time.
        chunk: Entries between two yields, about.

    Yields:
        How many entries were looked at.

    Returns:
        The size. Closing the generator before its end lets go of the descriptors.

    Raises:
        OSError: The tree itself can't be opened, as `open_beneath` has it; there are no descriptors left.
    """
    measuring = Walk(atime=atime, bulk=bulk_here())
    with closing(measuring.begin(dir_fd, name)) as descent:
        yielded = 0
        while descent.levels:
            measuring.step(descent, chunk)
            if measuring.entries - yielded >= chunk:
                yielded = measuring.entries
                yield yielded
    return TreeSize.of(measuring.figures)


def measure(dir_fd: int, name: str, *, atime: bool = False) -> TreeSize:
    """Measure the directory `name` in `dir_fd` without a pause; as `walk`."""
    steps = walk(dir_fd, name, atime=atime)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            size: TreeSize = end.value
            return size


class _Here(threading.local):
    """What each thread has for itself: others run while the kernel answers."""

    def __init__(self) -> None:
        self.bulk: Bulk | None = None
        try:
            self.bulk = Bulk(ctypes.CDLL, CHUNK)
        except OSError:  # walks do without
            return


_here = _Here()


def bulk_here() -> Bulk | None:
    """What counts many entries at a time in this thread; none where this machine can't do that."""
    return _here.bulk

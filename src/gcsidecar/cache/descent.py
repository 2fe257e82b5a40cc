"""The way down through a tree of directories, and up again, with few descriptors at any depth.

It knows directories and how they were reached; what is looked at, counted or deleted in them is for its users.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import Generic, Protocol, TypeVar

# The descriptors of the first levels are kept (two each, with the stream of entries); of those below only the last two,
# which is enough to act in a directory and on its entry in the one above. So a tree 5,000 deep takes about 20.
HELD_LEVELS = 8
# Each level takes some 350 bytes of memory, and there are writers that make one after the other ahead of us.
MOST_LEVELS = 10_000
# A tree 5,000 deep has paths of up to a megabyte, which are no use in a log.
SHOWN_PATH = 1000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CLOSED = -1


class Entries(Iterator[os.DirEntry[str]], Protocol):
    """What `os.scandir` returns."""

    def close(self) -> None:
        """Let go of the directory."""


class Level:
    """One directory on the way down; no dataclass, which the process that measures would have to pay for.

    Attributes:
        name: Its name in the directory above.
        fd: Its descriptor, owned by the level; negative while it is put down.
        identity: Device and inode number, to know it again.
        entries: What is left to be read of it; none when it has been read to its end.
        waiting: Its subdirectories that were read and not yet entered.
    """

    __slots__ = ("entries", "fd", "identity", "name", "waiting")

    def __init__(self, name: str, fd: int, identity: tuple[int, int]) -> None:
        self.name, self.fd, self.identity = name, fd, identity
        self.entries: Entries | None = None
        self.waiting: list[str] = []

    def read(self) -> None:
        """Start reading its entries, from the first.

        Raises:
            OSError: It can't be read, or there are no descriptors left.
        """
        self.stop_reading()
        self.entries = os.scandir(self.fd)

    def take(self, count: int) -> list[os.DirEntry[str]]:
        """The next entries, fewer than `count` at the end only; after that, or an error, it is read no further.

        Raises:
            OSError: It can't be read.
        """
        try:
            taken = list(islice(self.entries or (), count))
        except OSError:
            self.stop_reading()
            raise
        if len(taken) < count:
            self.stop_reading()
        return taken

    def stop_reading(self) -> None:
        """Read no further."""
        if self.entries is not None:
            self.entries.close()
            self.entries = None

    def put_down(self) -> None:
        """Let go of its descriptors; what waits is kept."""
        self.stop_reading()
        if self.fd != _CLOSED:
            os.close(self.fd)
            self.fd = _CLOSED


L = TypeVar("L", bound=Level)


class Descent(Generic[L]):
    """The levels from the top to where one is now; whoever has it closes it.

    The last two levels are always open, the topmost `HELD_LEVELS` too. Going up to one that was put down is by `..`,
    and only where that leads to the very directory one came from: somebody may have moved what one is in.
    """

    def __init__(self, top: L) -> None:
        self.levels = [top]

    @property
    def here(self) -> L:
        """The directory one is in."""
        return self.levels[-1]

    @property
    def above(self) -> L | None:
        """The one above it, none at the top."""
        return self.levels[-2] if len(self.levels) > 1 else None

    @property
    def is_deep(self) -> bool:
        """Whether `here` will be put down further below: then it has to be read to its end before going on."""
        return len(self.levels) > HELD_LEVELS

    @property
    def is_full(self) -> bool:
        """Whether one may go down no further."""
        return len(self.levels) >= MOST_LEVELS

    def path(self, name: str = "") -> str:
        """The path of `name` in `here`, or of `here` itself, relative to the top; `.` is the top.

        It is for people: of one that is longer than any they would read the middle is left out.
        """
        names = [level.name for level in self.levels[1:]]
        path = "/".join([*names, name] if name else names) or "."
        return path if len(path) <= SHOWN_PATH else f"{path[: SHOWN_PATH // 2]} ... {path[-SHOWN_PATH // 2 :]}"

    def enter(self, level: L) -> None:
        """Go down into a subdirectory of `here`, just opened."""
        self.levels.append(level)
        if len(self.levels) - 2 > HELD_LEVELS:
            self.levels[-3].put_down()

    def climb(self) -> bool:
        """Open the level above again if it was put down; False where `..` doesn't lead there any more."""
        above = self.above
        if above is None or above.fd != _CLOSED:
            return True
        try:
            fd = os.open("..", _DIRECTORY, dir_fd=self.here.fd)
        except OSError:  # its permissions were changed, or it was deleted
            return False
        if identity_of(os.fstat(fd)) != above.identity:
            os.close(fd)
            return False
        above.fd = fd
        return True

    def leave(self) -> L:
        """Go up, to the nearest level that is open: the one above, after `climb` has found it.

        Returns:
            The level that was left, closed.
        """
        left = self.levels.pop()
        left.put_down()
        while self.levels and self.here.fd == _CLOSED:
            self.levels.pop()
        return left

    def close(self) -> None:
        """Let go of all descriptors."""
        while self.levels:
            self.levels.pop().put_down()


def identity_of(status: os.stat_result) -> tuple[int, int]:
    """What tells one file or directory from every other, as long as it exists."""
    return status.st_dev, status.st_ino

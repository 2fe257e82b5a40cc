"""The walk through one tree, step by step, so that its user may do other things between two of them.

It knows the way and what forbids to delete; how entries are listed and asked for is for `bulk` and `plain`.
"""

from __future__ import annotations

import errno
import os
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING

from gcsidecar.cache.descent import Descent, Level, identity_of
from gcsidecar.cache.obstacles import (
    FOREIGN_DIRECTORY,
    FOREIGN_ENTRY,
    IMMUTABLE,
    MOUNTED,
    MOVED,
    is_forbidden,
    is_sticky,
)
from gcsidecar.cache.syscalls import open_beneath
from gcsidecar.cache.walking.figures import Figures
from gcsidecar.cache.walking.plain import Plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsidecar.cache.walking.bulk import Bulk

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class Directory(Level):
    """A directory being measured.

    Attributes:
        uid: Whose it is.
        mtime: When its entries last changed, POSIX seconds.
        is_read: It was read to its end.
        is_forbidden: We may not delete in it, and not permit ourselves to.
        is_sticky: We may delete our own entries in it only.
        is_incomplete: Something in it could not be looked at.
    """

    __slots__ = ("is_forbidden", "is_incomplete", "is_read", "is_sticky", "mtime", "uid")

    def __init__(self, name: str, fd: int, status: os.stat_result) -> None:
        super().__init__(name, fd, identity_of(status))
        self.uid, self.mtime = status.st_uid, status.st_mtime
        self.is_forbidden, self.is_sticky = is_forbidden(fd, status), is_sticky(status)
        self.is_read = self.is_incomplete = False


class Window:
    """A span of time in which a change is of interest: of a file, or of the entries of a directory below the top.

    Args:
        after: It begins then, POSIX seconds.
        before: It ends then.
        ignored: Whether a name at the top is of none.
    """

    __slots__ = ("after", "before", "ignored")

    def __init__(self, after: float, before: float, ignored: Callable[[str], bool]) -> None:
        self.after, self.before, self.ignored = after, before, ignored

    def has(self, mtime: float) -> bool:
        """Whether a change falls in it."""
        return self.after < mtime < self.before


class Walk:
    """One measuring under way: a step is a chunk of entries, the way into a subdirectory, or the end of a directory.

    Args:
        atime: Also find the newest access time.
        window: Also find out whether anything changed in that time.
        bulk: Counts many entries at a time, where that can be.

    Attributes:
        figures: What was found so far.
        is_changing: Whether something changed in the window.
        wants_atime: The newest access time is asked for.
        is_curious: Each entry has to be looked at closer.
    """

    def __init__(self, *, atime: bool, window: Window | None = None, bulk: Bulk | None = None) -> None:
        self.figures = Figures()
        self.is_changing = False
        self.wants_atime, self.is_curious = atime, window is not None
        self._window = window
        self._reader = bulk or Plain()
        self._euid = os.geteuid()
        self._no_atime = os.O_NOATIME
        self._descent: Descent[Directory] | None = None

    @property
    def entries(self) -> int:
        """How many were looked at."""
        return self.figures.entries

    def begin(self, dir_fd: int, name: str) -> Descent[Directory]:
        """Open the tree.

        Returns:
            The way down: the walk ends where it has no levels any more. Whoever began closes it.

        Raises:
            OSError: It can't be opened, as `open_beneath` has it.
        """
        self._descent = descent = Descent(self._open(dir_fd, name))
        self._look_at(descent.here)
        return descent

    def step(self, descent: Descent[Directory], chunk: int) -> None:
        """Go on by one step, of so many entries about.

        Raises:
            OSError: There are no descriptors left.
        """
        directory = descent.here
        if not directory.is_read and (descent.is_deep or not directory.waiting):
            try:
                self._reader.count(self, directory, chunk)
            except OSError:
                directory.is_read = directory.is_incomplete = True
        elif directory.waiting:
            self._enter(descent, directory, directory.waiting.pop())
        else:
            self._finish(descent, directory)

    def count(self, directory: Directory, name: str, status: os.stat_result) -> None:
        """Count an entry that isn't a directory."""
        self.figures.add(status.st_nlink, status.st_blocks, status.st_size)
        self.look_closer(directory, name, status.st_mode, status.st_uid, status.st_mtime, status.st_atime)

    def count_again(self, directory: Directory, name: str) -> None:
        """Count an entry that could not be looked at before: it is gone, most likely."""
        try:
            status = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError:  # one may list it, but not enter it; or the filesystem is damaged
            directory.is_incomplete = True
            return
        if S_ISDIR(status.st_mode):
            directory.waiting.append(name)
        else:
            self.count(directory, name, status)

    def look_closer(self, directory: Directory, name: str, mode: int, uid: int, mtime: float, atime: float) -> None:
        """See when an entry was used, and whether it may be deleted."""
        if S_ISREG(mode):
            self.figures.newest_mtime = max(self.figures.newest_mtime, mtime)
            if self.wants_atime:
                self.figures.newest_atime = max(self.figures.newest_atime, atime)
            if self._window is not None and self._window.has(mtime):
                self.is_changing |= not (self._is_at_top and self._window.ignored(name))
        if directory.is_sticky and uid != self._euid:
            self.note(name, FOREIGN_ENTRY)

    def note(self, name: str, obstacle: str) -> None:
        """Remember what forbids to delete the tree whole: an entry of the directory one is in, or that itself."""
        if self.figures.obstacle is None and self._descent is not None:
            self.figures.obstacle = f"{self._descent.path(name)}: {obstacle}"

    @property
    def _is_at_top(self) -> bool:
        return self._descent is not None and self._descent.above is None

    def _open(self, dir_fd: int, name: str) -> Directory:
        """Open a directory to count what is in it, and count it."""
        fd = self._open_quietly(dir_fd, name)
        try:
            status = os.fstat(fd)
            directory = Directory(name, fd, status)
            self._reader.begin(directory)
        except OSError:
            os.close(fd)
            raise
        self.figures.add_directory(status.st_blocks)
        return directory

    def _open_quietly(self, dir_fd: int, name: str) -> int:
        """Open without leaving a trace in the access time, where that is permitted: on what is ours, or to root."""
        try:
            return open_beneath(dir_fd, name, _DIRECTORY | self._no_atime)
        except PermissionError:
            if not self._no_atime:
                raise
        fd = open_beneath(dir_fd, name, _DIRECTORY)
        self._no_atime = 0  # the rest is likely somebody else's too, and each refusal costs four calls
        return fd

    def _look_at(self, directory: Directory) -> None:
        if self._reader.is_immutable(directory.fd):
            self.note("", IMMUTABLE)

    def _enter(self, descent: Descent[Directory], directory: Directory, name: str) -> None:
        if descent.is_full:
            self.figures.unreadable += 1
            return
        try:
            below = self._open(directory.fd, name)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            self._count_unopened(directory, name, error)
            return
        descent.enter(below)
        self.is_changing |= self._window is not None and self._window.has(below.mtime)
        if directory.is_sticky and below.uid != self._euid:
            self.note("", FOREIGN_ENTRY)
        self._look_at(below)

    def _count_unopened(self, directory: Directory, name: str, refusal: OSError) -> None:
        """Count a directory that could not be entered, itself only."""
        if refusal.errno == errno.EXDEV:
            self.note(name, MOUNTED)
            return
        if refusal.errno in (errno.ENOTDIR, errno.ELOOP):  # it was swapped, and may be a directory once more by now
            return
        try:
            status = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
        except OSError:  # gone meanwhile, most likely
            return
        if S_ISDIR(status.st_mode):  # what was swapped the next measuring will count
            self.figures.add_directory(status.st_blocks)
            self.figures.unreadable += 1
            if status.st_uid != self._euid:
                self.note(name, FOREIGN_DIRECTORY)

    def _finish(self, descent: Descent[Directory], directory: Directory) -> None:
        self.figures.unreadable += directory.is_incomplete
        if not descent.climb():
            self.figures.unreadable += 1
            self.note("", MOVED)
        descent.leave()

"""The deletion of one tree: everything in it, nothing outside of it, and a report of what would not go.

Whether it may be deleted at all is decided elsewhere; here nobody asks for leases.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE, S_IRWXU
from typing import TYPE_CHECKING

from gcsidecar.cache.descent import Descent, Level, identity_of
from gcsidecar.cache.obstacles import MOUNTED
from gcsidecar.cache.syscalls import open_beneath, rename_exclusive

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK_ENTRIES = 64  # deleted between two questions whether to stop
_SHOWN_FAILURES = 10
# Some filesystems pass over entries when others are deleted while they list; and somebody may still be writing. With
# half of them passed over each time, 64 passes delete more than any directory holds.
_PASSES = 64
# What is met in later passes may come to as much as what was there in the first, and to so many entries more: a writer
# that adds to the tree for as long as it is being deleted must not hold us there.
_LATE_ENTRIES = 100_000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
# What a directory's name gives that was swapped for something else before it was opened.
_NO_DIRECTORY = frozenset({errno.ENOTDIR, errno.ELOOP})
_REASONS = {
    errno.EXDEV: MOUNTED,
    errno.ESTALE: "it was moved or replaced while it was being deleted",
    errno.ENOTEMPTY: "new entries kept coming while it was being deleted",
    errno.EOVERFLOW: "it lies too deep for one go",
}


@dataclass(frozen=True, slots=True)
class RemovalFailure:
    """One thing that could not be deleted.

    Attributes:
        path: Which, relative to the tree; `.` is the tree itself.
        errno: Why, as the system's number.
        reason: Why, in words.
    """

    path: str
    errno: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Removal:
    """What a deletion came to.

    Attributes:
        entries: How many entries were deleted, the tree itself included.
        failures: The first of those that could not be.
        failed: How many could not be.
        complete: The tree is gone.
        stopped: It was told to stop before its end; what is left can be deleted by another call.
    """

    entries: int
    failures: tuple[RemovalFailure, ...]
    failed: int
    complete: bool
    stopped: bool


def never() -> bool:
    """The answer of who lets a deletion run to its end."""
    return False


def remove_tree(parent_fd: int, name: str, *, stop: Callable[[], bool] = never, dir_fd: int | None = None) -> Removal:
    """Delete the directory `name` in `parent_fd` with all that is in it; a file or link of that name is unlinked.

    No symbolic link is followed and no mount entered, whatever others do to the tree meanwhile. Directories of our own
    that we may not write in are made writable first. What can't be deleted is reported, and the rest goes on.

    Args:
        parent_fd: The directory that it is in.
        name: One component.
        stop: Asked before every 64 entries or fewer; once it says yes, nothing more is deleted. It may take its time:
            that is how to pace a deletion.
        dir_fd: The directory itself, where it is already open (and locked). It stays open. If `name` names anything
            else, nothing is deleted.

    Raises:
        ValueError: `name` holds a NUL.
    """
    return _Remover(parent_fd, name, stop, dir_fd).run()


class _Directory(Level):
    """A directory being emptied.

    Attributes:
        passes: How often it was read.
        changed: In this pass something in it went, or was found to be other than it was read.
        kept: Something in it can't be deleted, so neither can it.
        late: It came while the one above was being deleted, or was passed over in that one's first pass, or lay too
            deep.
    """

    __slots__ = ("changed", "kept", "late", "passes")

    def __init__(self, name: str, fd: int, identity: tuple[int, int]) -> None:
        super().__init__(name, fd, identity)
        self.late = False
        self.passes = 0
        self.changed = self.kept = False

    def start_pass(self) -> None:
        """Read it, once more."""
        self.passes += 1
        self.changed = False
        self.read()

    @property
    def is_late(self) -> bool:
        """Whether what is met in it now is late."""
        return self.late or self.passes > 1

    @property
    def is_worth_another_pass(self) -> bool:
        """Whether reading it again may get it empty, where it was not after all in it was deleted."""
        return self.passes == 1 or (self.changed and self.passes < _PASSES)


class _Remover:
    """One deletion under way: a step is a chunk of entries, the way into a subdirectory, or the end of a directory."""

    def __init__(self, parent_fd: int, name: str, stop: Callable[[], bool], dir_fd: int | None) -> None:
        self._parent_fd, self._name, self._dir_fd = parent_fd, name, dir_fd
        self._stop = stop
        self._gone = self._stopped = False
        self._entries = self._failed = 0
        self._early = self._late = 0  # how many entries were met
        self._failures: list[RemovalFailure] = []
        self._lifted: set[str] = set()

    def run(self) -> Removal:
        if (top := self._open_top()) is not None:
            with closing(Descent(top)) as descent:
                self._start_pass(descent, top)
                self._empty(descent)
        return Removal(self._entries, tuple(self._failures), self._failed, self._gone, self._stopped)

    def _empty(self, descent: Descent[_Directory]) -> None:
        while descent.levels:
            if self._stop():
                self._stopped = True
                return
            directory = descent.here
            if directory.entries is not None and (descent.is_deep or not directory.waiting):
                self._delete_some(descent, directory)
            elif directory.waiting:
                self._enter(descent, directory, directory.waiting.pop())
            else:
                self._finish(descent, directory)

    @property
    def _is_overrun(self) -> bool:
        """Whether more has come late than may."""
        return self._late > self._early + _LATE_ENTRIES

    def _delete_some(self, descent: Descent[_Directory], directory: _Directory) -> None:
        """Unlink the next entries; subdirectories among them have to wait."""
        try:
            entries = directory.take(_CHUNK_ENTRIES)
        except OSError as error:
            self._keep(descent, directory, "", error)
            return
        if directory.is_late:
            self._late += len(entries)
        else:
            self._early += len(entries)
        self._unlink_all(descent, directory, entries)

    def _unlink_all(self, descent: Descent[_Directory], directory: _Directory, entries: list[os.DirEntry[str]]) -> None:
        # Runs once for each file there is, so all it needs is at hand, and sums are made at the end.
        unlink, fd, waiting, deleted, vanished = os.unlink, directory.fd, directory.waiting, 0, False
        for entry in entries:
            name = entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name)
                else:
                    unlink(name, dir_fd=fd)
                    deleted += 1
            except FileNotFoundError:
                vanished = True
            except IsADirectoryError:  # it was none when it was read
                waiting.append(name)
            except OSError as error:
                self._keep(descent, directory, name, error)
        self._entries += deleted
        directory.changed = directory.changed or vanished or deleted > 0

    def _enter(self, descent: Descent[_Directory], directory: _Directory, name: str) -> None:
        if descent.is_full:
            self._lift(descent, directory, name)
            return
        try:
            below = _open(directory.fd, name)
        except FileNotFoundError:
            directory.changed = True
        except OSError as error:
            self._delete_unopened(descent, directory, name, error)
        else:
            below.late = directory.is_late or name in self._lifted
            descent.enter(below)
            self._start_pass(descent, below)

    def _lift(self, descent: Descent[_Directory], directory: _Directory, name: str) -> None:
        """Move what lies too deep up to the top of the tree, and go on with it from there."""
        top, lifted = descent.levels[0], f".gcsidecar-{secrets.token_hex(8)}"
        if self._is_overrun:
            self._keep(descent, directory, name, OSError(errno.EOVERFLOW, ""))
            return
        try:
            rename_exclusive(directory.fd, name, top.fd, lifted)
        except FileNotFoundError:
            directory.changed = True
        except OSError as error:
            self._keep(descent, directory, name, error)
        else:
            self._lifted.add(lifted)
            top.waiting.append(lifted)
            directory.changed = True

    def _delete_unopened(
        self, descent: Descent[_Directory], directory: _Directory, name: str, refusal: OSError
    ) -> None:
        """Delete what could not be entered: a link by now, or somebody's directory that may be empty."""
        swapped = refusal.errno in _NO_DIRECTORY
        try:
            (os.unlink if swapped else os.rmdir)(name, dir_fd=directory.fd)
        except (FileNotFoundError, IsADirectoryError):
            directory.changed = True  # the next pass sees what it is now
        except OSError as error:
            self._keep(descent, directory, name, error if swapped else refusal)
        else:
            self._entries += 1
            directory.changed = True

    def _finish(self, descent: Descent[_Directory], directory: _Directory) -> None:
        """Remove a directory in which nothing is left to be done, and go up."""
        if not descent.climb():
            self._keep(descent, directory, "", OSError(errno.ESTALE, ""))
        elif not directory.kept and not self._remove(descent, directory):
            self._start_pass(descent, directory)
            return
        descent.leave()
        if descent.levels and directory.kept:
            descent.here.kept = True

    def _remove(self, descent: Descent[_Directory], directory: _Directory) -> bool:
        """Remove an emptied directory, or keep it; False where it is not empty and worth another pass."""
        above = descent.above
        try:
            if above is None and not self._is_named(directory):
                return True
            os.rmdir(directory.name, dir_fd=self._parent_fd if above is None else above.fd)
            self._entries += 1
        except (FileNotFoundError, NotADirectoryError):
            pass  # deleted, moved or swapped by somebody; the pass above sees to what has its name now
        except OSError as error:
            if error.errno == errno.ENOTEMPTY and directory.is_worth_another_pass and not self._is_overrun:
                self._late += 1
                return False
            self._keep(descent, directory, "", error)
            return True
        if above is None:
            self._gone = True
        else:
            above.changed = True
        return True

    def _start_pass(self, descent: Descent[_Directory], directory: _Directory) -> None:
        try:
            directory.start_pass()
        except OSError as error:
            self._keep(descent, directory, "", error)

    def _open_top(self) -> _Directory | None:
        try:
            top = _open(self._parent_fd, self._name) if self._dir_fd is None else _reopen(self._name, self._dir_fd)
            if self._is_named(top):
                return top
            top.put_down()
        except FileNotFoundError:
            self._gone = True
        except OSError as error:
            if error.errno in _NO_DIRECTORY and self._dir_fd is None:
                self._unlink_top()
            else:
                self._fail(".", error)
        return None

    def _unlink_top(self) -> None:
        try:
            os.unlink(self._name, dir_fd=self._parent_fd)
            self._entries += 1
        except FileNotFoundError:
            pass
        except OSError as error:
            self._fail(".", error)
            return
        self._gone = True

    def _is_named(self, top: _Directory) -> bool:
        """Whether the tree's name still names it; nothing else of that name is touched."""
        try:
            status = os.stat(self._name, dir_fd=self._parent_fd, follow_symlinks=False)
        except FileNotFoundError:
            self._gone = True
            return False
        if identity_of(status) == top.identity:
            return True
        self._fail(".", OSError(errno.ESTALE, ""))
        return False

    def _keep(self, descent: Descent[_Directory], directory: _Directory, name: str, error: OSError) -> None:
        directory.kept = True
        self._failed += 1
        if len(self._failures) < _SHOWN_FAILURES:  # a path from far below is long, and there may be a million of them
            self._tell(descent.path(name), error)

    def _fail(self, path: str, error: OSError) -> None:
        self._failed += 1
        self._tell(path, error)

    def _tell(self, path: str, error: OSError) -> None:
        code = error.errno or errno.EIO
        self._failures.append(RemovalFailure(path, code, _REASONS.get(code, os.strerror(code))))


def _open(dir_fd: int, name: str) -> _Directory:
    """Open a directory to delete what is in it; one of ours is made readable and writable."""
    try:
        fd = open_beneath(dir_fd, name, _DIRECTORY)
    except PermissionError:
        fd = _open_locked(dir_fd, name)
    return _Directory(name, fd, identity_of(_make_writable(fd)))


def _open_locked(dir_fd: int, name: str) -> int:
    """Open a directory whose mode forbids even its owner to."""
    # With O_PATH it needs no permission of its own; and what is changed then is the very directory that was opened.
    locked_fd = open_beneath(dir_fd, name, os.O_PATH | os.O_DIRECTORY)
    try:
        _make_writable(locked_fd)
        return open_beneath(locked_fd, ".", _DIRECTORY)
    finally:
        os.close(locked_fd)


def _reopen(name: str, dir_fd: int) -> _Directory:
    """Open anew what is open: the place up to which it was read belongs to whoever opened it first."""
    status = _make_writable(dir_fd)
    return _Directory(name, os.open(".", _DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd), identity_of(status))


def _make_writable(fd: int) -> os.stat_result:
    """See to it that we may list, enter and change a directory, if it is ours; its status from before."""
    status = os.fstat(fd)
    if status.st_mode & S_IRWXU != S_IRWXU and status.st_uid == os.geteuid():
        # Where even that isn't permitted (`chattr +i`), deleting fails, and that is what is reported. The way through
        # /proc serves descriptors opened with O_PATH, too.
        with suppress(OSError):
            Path(f"/proc/self/fd/{fd}").chmod(S_IMODE(status.st_mode) | S_IRWXU)
    return status

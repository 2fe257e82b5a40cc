"""The calls of one actor: each stopped before it is made where it may meet another actor's, and noted after it.

Which these are stands in `reach.py`; who has the next turn is for the scheduler.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import stat
import sys
from typing import TYPE_CHECKING, Any, Protocol, Self

from interleave.reach import ELSEWHERE, FOLDER, OURS, Reach, plain
from interleave.wrapping import REAL

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

_CHANGES = frozenset(
    {"chmod", "fchmod", "ftruncate", "link", "mkdir", "pwrite", "remove", "rename", "renameat2", "replace", "rmdir"}
    | {"symlink", "unlink", "write"}
)


class KilledError(BaseException):
    """The process ends here: no `except Exception` sees it, and what runs on the way out can do nothing any more."""


class Caller(Protocol):
    """Whose calls they are.

    Attributes:
        name: Of the actor.
        is_dead: Whether it was killed, and is on its way out.
        shares: Which of the state directory another sidecar looks into, too.
        is_sidecar: Whether it looks into the state directory at all.
        heeds_modes: Whether it asks for more than the identity of what it has open.
        has_lock_file: Whether the lock on the state directory can be refused to it.
        has_locks: Whether the filesystem knows locks.
    """

    name: str
    is_dead: bool
    shares: frozenset[str]
    is_sidecar: bool
    heeds_modes: bool
    has_lock_file: bool
    has_locks: bool

    def stop(self, call: str) -> None:
        """Wait for the turn; `KilledError` where it never comes."""

    def wait_for_lock(self) -> None:
        """Have no turn until something has changed."""

    def note(self, *result: Hashable) -> None:
        """Remember what a call gave: that decides what this actor does next."""

    def label_of(self, status: os.stat_result) -> Hashable:
        """What a file or directory is called, whatever its number is in this run."""

    def made(self, status: os.stat_result) -> None:
        """It has made a file or a directory."""

    def changed(self) -> None:
        """Something is other than it was."""


class Calls:
    """Makes the calls of one actor, and lets go of all it has when it is killed.

    Args:
        caller: Whose.
        root: The path of the root.
    """

    def __init__(self, caller: Caller, root: str) -> None:
        self._caller, self._root = caller, root
        self._reach = Reach(root, caller.shares, is_sidecar=caller.is_sidecar, heeds_modes=caller.heeds_modes)
        self._pending: tuple[str, tuple[Any, ...], dict[str, Any]] | None = None
        self._locked: set[int] = set()
        self._tokens = 0
        self._slept_seconds = 0.0

    def make(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Make a call when its turn has come."""
        if name == "close":
            return self._close(args[0])
        if self._caller.is_dead:
            raise KilledError
        self._pending = name, args, keywords
        if name == "flock":
            return self._flock(*args)
        meets = self._reach.meets(name, args, keywords)
        if meets:
            self._caller.stop(_shown(name, args[:3] if name == "openat2" else args, self._root))
        tells = meets or self._reach.tells(name, args, keywords)
        try:
            result = REAL[name](*args, **keywords)
        except OSError as error:
            if tells:
                self._caller.note(name, error.errno)
            raise
        if name in _CHANGES or (name == "open" and args[1] & os.O_CREAT):
            self._caller.changed()
        told = self._told(name, result, args, keywords)
        if tells:
            self._caller.note(name, *told)
        return _Entries(result, self._caller) if name == "scandir" else result

    def is_apart(self, others: Iterable[Calls]) -> bool:
        """Whether nobody can see what it is about to do, whatever they do before."""
        return self._pending is not None and self._reach.is_apart(*self._pending, (other._reach for other in others))

    def takes(self, fd: int) -> None:
        """It has had this folder open since before the run."""
        self._reach.has(fd)

    def let_go(self) -> None:
        """Close what is still open, as the kernel does at a process's end."""
        for fd in list(self._reach.kinds):
            with contextlib.suppress(OSError):
                REAL["close"](fd)
            self._reach.closed(fd)
        self._locked.clear()

    def token_hex(self, _count: int | None = None) -> str:
        """Never the same twice in a run, and the same in each run."""
        self._tokens += 1
        return f"{self._caller.name}{self._tokens:x}"

    def urandom(self, count: int) -> bytes:
        """As `token_hex`."""
        return hashlib.shake_128(self.token_hex().encode()).digest(count)

    def sleep(self, seconds: float) -> None:
        """Time passes for this actor alone."""
        if self._caller.is_dead:
            raise KilledError
        self._pending = None
        self._caller.stop("sleep")
        self._slept_seconds += seconds

    def monotonic(self) -> float:
        """The clock that `sleep` moves."""
        return 1000.0 + self._slept_seconds

    def _told(self, name: str, result: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Hashable, ...]:
        """All of a result that may decide what comes next."""
        if name in {"open", "dup", "openat2"}:
            return (self._opened(name, result, args, keywords),)
        if name in {"stat", "lstat", "fstat"}:
            return self._status(name, result)
        if name == "mkdir":
            self._caller.made(REAL["stat"](args[0], dir_fd=keywords.get("dir_fd")))
        if name == "link":
            self._reach.named(args[0])
        if name == "getdents" and result > 0:
            return tuple(sorted(_names(ctypes.string_at(args[1], result))))
        return (_value(result),)

    def _opened(self, name: str, fd: int, args: tuple[Any, ...], keywords: dict[str, Any]) -> Hashable:
        if fd < 0:
            return ctypes.get_errno()
        path, dir_fd = (args[2], args[1]) if name == "openat2" else (args[0], keywords.get("dir_fd"))
        status = self._reach.opened(fd, path, dir_fd)
        if status is None:
            return self._reach.kinds[fd]
        if name == "open" and (args[1] & os.O_EXCL or not status.st_nlink):
            self._caller.made(status)
        return self._caller.label_of(status)

    def _status(self, name: str, status: os.stat_result) -> tuple[Hashable, ...]:
        label, is_directory = self._caller.label_of(status), stat.S_ISDIR(status.st_mode)
        if name == "fstat" and not self._caller.heeds_modes and not self._caller.is_sidecar:
            return label, is_directory
        return label, status.st_mode, status.st_nlink > 0, is_directory or status.st_size > 0

    def _close(self, fd: int) -> None:
        self._pending = "close", (fd,), {}
        if fd in self._locked and not self._caller.is_dead:
            self._caller.stop("close, and let go of the lock")
        self._reach.closed(fd)
        REAL["close"](fd)
        if fd in self._locked:
            self._locked.discard(fd)
            self._caller.changed()

    def _flock(self, file: Any, operation: int) -> None:
        fd, caller = file if isinstance(file, int) else file.fileno(), self._caller
        kind = self._reach.kinds.get(fd, FOLDER)
        if kind in OURS and not caller.has_lock_file:
            return
        while True:
            if kind not in OURS and kind != ELSEWHERE:
                caller.stop(f"flock {_lock_name(operation)}")
            if not caller.has_locks:
                raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
            try:
                REAL["flock"](fd, operation | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if operation & fcntl.LOCK_NB:
                    caller.note("flock", error.errno)
                    raise
                caller.wait_for_lock()
            else:
                break
        if kind not in OURS:
            (self._locked.discard if operation & fcntl.LOCK_UN else self._locked.add)(fd)
        caller.changed()
        caller.note("flock", operation)


class _Entries:
    """What `os.scandir` gives, each entry noted as it is read."""

    def __init__(self, real: Any, caller: Caller) -> None:
        self._real, self._caller = real, caller

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> os.DirEntry[str]:
        if self._caller.is_dead:
            raise KilledError
        entry: os.DirEntry[str] = next(self._real)
        self._caller.note("entry", plain(entry.name))
        return entry

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self._real.close()


def _names(records: bytes) -> Iterable[str]:
    """The names in what `getdents64(2)` gives: a record's length is at 16, and its name at 19 up to a NUL."""
    at = 0
    while at < len(records):
        end = at + int.from_bytes(records[at + 16 : at + 18], sys.byteorder)
        yield plain(os.fsdecode(records[at + 19 : end].partition(b"\0")[0]))
        at = end


def _value(result: Any) -> Hashable:
    if isinstance(result, list):
        return tuple(sorted(plain(entry) for entry in result))
    if isinstance(result, bytes):
        return len(result) > 0
    # Of the C library.
    return ctypes.get_errno() if result == -1 else None


def _lock_name(operation: int) -> str:
    kind = {fcntl.LOCK_SH: "shared", fcntl.LOCK_EX: "exclusive", fcntl.LOCK_UN: "none"}[operation & ~fcntl.LOCK_NB]
    return kind if operation & (fcntl.LOCK_NB | fcntl.LOCK_UN) else f"{kind}, waiting"


def _shown(name: str, args: tuple[Any, ...], root: str) -> str:
    """A call without what differs from run to run: descriptors, and what is written."""
    above = os.path.dirname(root)
    names = [
        plain(os.fsdecode(arg).replace(root, "").replace(above, "..")) for arg in args if isinstance(arg, (str, bytes))
    ]
    return name if "write" in name else " ".join([name, *names])

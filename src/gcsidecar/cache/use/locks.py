"""Locks that tools keep themselves: whether one holds a folder now, or did a moment ago.

A lock file means nothing by being there: it holds while some process has it locked, in either of the two kinds.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import stat
import struct
from typing import TYPE_CHECKING

from gcsidecar.cache.globs import directories, literal, names
from gcsidecar.cache.syscalls import open_beneath
from gcsidecar.cache.use.lease import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcsidecar.gc.clock import Clock

LOCKED = "locked"

_flock = struct.Struct("@hhqqi4x")  # l_type, l_whence, l_start, l_len, l_pid of <fcntl.h>
# Of the whole file, exclusive: any other lock stands in the way of that.
_WHOLE = _flock.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_NOW, _NEVER = math.inf, -math.inf


class ToolLocks:
    """The locks of tools on the folders of one root.

    Args:
        patterns: Relative to the root, each with `{folder}` once, as the config has checked them.
        grace_seconds: How long a lock counts after it was last held: tools let go between two files.
        clock: Both clocks.
    """

    def __init__(self, patterns: Sequence[str], grace_seconds: float, clock: Clock) -> None:
        self._patterns = tuple(patterns)
        self._grace = grace_seconds
        self._clock = clock
        self._held_at: dict[str, float] = {}  # by the clock that doesn't jump

    def hold(self, root_fd: int, folder_fd: int, name: str) -> bool:
        """Whether one holds a folder, wherever that is now, or did so within the grace.

        Asked only of a folder that is about to go: a `flock` can only be tried, and who wants it just then without
        waiting is refused it.

        Raises:
            OSError: One can't be looked at: then the folder is in use.
        """
        last = max(self._signs(root_fd, folder_fd, name), default=_NEVER)
        ago = max(0.0, self._clock.time() - last)
        if last == _NOW or ago < self._grace:
            self._remember(name, self._clock.monotonic() - ago)
        return last == _NOW or self.seconds_left(name) > 0

    def seconds_left(self, name: str) -> float:
        """How long a lock that was seen held still counts if it isn't seen again; 0 where there is none."""
        held_at = self._held_at.get(name)
        return 0.0 if held_at is None else max(0.0, held_at + self._grace - self._clock.monotonic())

    def _remember(self, name: str, held_at: float) -> None:
        held_at = max(held_at, self._held_at.get(name, _NEVER))
        self._held_at = {known: at for known, at in self._held_at.items() if self.seconds_left(known) > 0}
        self._held_at[name] = held_at

    def _signs(self, root_fd: int, folder_fd: int, name: str) -> Iterator[float]:
        for pattern in self._patterns:
            inside = pattern.removeprefix(f"{PLACEHOLDER}/")
            if inside != pattern:
                found = _signs(folder_fd, inside.split("/"), own="/" in inside)
            else:
                own = PLACEHOLDER in pattern.rpartition("/")[0]
                found = _signs(root_fd, pattern.replace(PLACEHOLDER, literal(name)).split("/"), own=own)
            for sign in found:
                yield sign
                if sign == _NOW:
                    return


def _signs(dir_fd: int, parts: Sequence[str], *, own: bool) -> Iterator[float]:
    """When locks were held, as far as can be seen, POSIX seconds.

    Some tools write to a lock file when they take it, others delete it when they let go: that is seen in the directory,
    if it is there for the locks of one folder alone (`own`).
    """
    *above, last = parts
    for _, fd in directories(dir_fd, above, strict=True):
        yield from (_sign(fd, lock) for lock in names(fd, last))
        if own:
            yield os.fstat(fd).st_mtime


def _sign(dir_fd: int, name: str) -> float:
    try:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            # To open a device or a pipe may do something, and behind a link anything may lie.
            raise OSError(errno.EINVAL, "neither a file nor a directory, so nobody can say whether it is locked", name)
        fd = open_beneath(dir_fd, name, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return _NEVER
    try:
        return _NOW if _is_held(fd) else status.st_mtime
    finally:
        # This lets go of what was tried. It would drop POSIX locks of our own on that file, too: there are none.
        os.close(fd)


def _is_held(fd: int) -> bool:
    """Whether anybody has a lock on a file; a shared `flock` isn't seen.

    Raises:
        OSError: This filesystem can't tell.
    """
    # Asked for an open file and not for this process, it tells of this process's own locks, too.
    if _flock.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _WHOLE))[0] != fcntl.F_UNLCK:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False

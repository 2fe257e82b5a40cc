"""What is mounted where, from `/proc/self/mountinfo` (see `proc(5)`).

By path, since a directory doesn't know what is mounted below it; a mount in another container's namespace isn't seen.
"""

from __future__ import annotations

import os
import re
import select
import threading
from bisect import bisect_left

_OCTAL = re.compile(rb"\\([0-7]{3})")


class Mounts:
    """All mounts below a directory that this process sees, read anew only when the kernel says that some have changed.

    Thread-safe. The kernel takes a microsecond a mount to write the table, and a machine may have hundreds; it is asked
    for each folder that is to go.

    Args:
        top_fd: That directory, open for as long as this is.
    """

    def __init__(self, top_fd: int) -> None:
        self._top_fd = top_fd
        self._lock = threading.Lock()
        self._fd = -1
        self._changes = select.poll()
        self._points: list[bytes] = []

    def is_below(self, fd: int) -> bool:
        """Whether something is mounted on an entry below an open directory, which is the top or lies below it.

        Raises:
            OSError: `/proc` can't tell where the directory is, or what is mounted.
        """
        with self._lock:
            self._refresh()
            if not self._points:  # as nearly always
                return False
            here = _path(fd)
            first = bisect_left(self._points, here)
            return first < len(self._points) and self._points[first].startswith(here)

    def close(self) -> None:
        """Let go of the table."""
        with self._lock:
            self._close()

    def _refresh(self) -> None:
        if self._fd < 0:
            self._fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
            self._changes.register(self._fd, select.POLLPRI)
        elif not self._changes.poll(0):
            return
        try:
            top = _path(self._top_fd)
            self._points = sorted(point for point in _points(self._fd) if point.startswith(top))
        except OSError:
            self._close()  # a change is told of only once
            raise

    def _close(self) -> None:
        if self._fd >= 0:
            self._changes.unregister(self._fd)
            os.close(self._fd)
        self._fd = -1


def _path(fd: int) -> bytes:
    """Where a directory is, with a slash at its end."""
    return os.readlink(f"/proc/self/fd/{fd}".encode()).rstrip(b"/") + b"/"


def _points(fd: int) -> list[bytes]:
    os.lseek(fd, 0, os.SEEK_SET)
    text = b"".join(iter(lambda: os.read(fd, 1 << 16), b""))
    fields = [line.split(b" ", 5)[4] for line in text.splitlines()]
    return [_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), point) for point in fields]

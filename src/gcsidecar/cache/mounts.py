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
    """All mounts that this process sees, read anew only when the kernel says that they have changed. Thread-safe.

    The kernel takes a microsecond a mount to write the table, and a machine may have hundreds; it is asked for each
    folder that is to go.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fd = -1
        self._changes = select.poll()
        self._points: list[bytes] = []

    def is_below(self, fd: int) -> bool:
        """Whether something is mounted on an entry below an open directory.

        Raises:
            OSError: `/proc` can't tell where the directory is, or what is mounted.
        """
        here = os.readlink(f"/proc/self/fd/{fd}".encode()).rstrip(b"/") + b"/"
        with self._lock:
            self._refresh()
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
            self._points = sorted(_points(self._fd))
        except OSError:
            self._close()  # a change is told of only once
            raise

    def _close(self) -> None:
        if self._fd >= 0:
            self._changes.unregister(self._fd)
            os.close(self._fd)
        self._fd = -1


def _points(fd: int) -> list[bytes]:
    os.lseek(fd, 0, os.SEEK_SET)
    text = b"".join(iter(lambda: os.read(fd, 1 << 16), b""))
    fields = [line.split(b" ", 5)[4] for line in text.splitlines()]
    return [_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), point) for point in fields]

"""The thread that reads what the kernel tells of watched directories: watchdog's, without its own tables of watches.

An entry of these takes 460 bytes for each directory, and each event there an object and two locks. What was read is for
`inotify` to make out; this is the only module that imports watchdog.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

from watchdog.observers.inotify_c import InotifyFD, inotify_add_watch, inotify_rm_watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from watchdog.observers.inotify_c import WatchDescriptor

# About 2,000 events: an eighth of the queue that the kernel gives an instance unless told otherwise.
BUFFER_BYTES = 96 * 1024
# Under a stream of events each is not worth waking up for: they are gathered for so long. The first is read at once.
GATHER_SECONDS = 0.005

_DESCRIPTORS = ("_inotify_fd", "_kill_r", "_kill_w")
_SPARE = Path(os.devnull)


class Reader(InotifyFD):
    """One inotify instance and its thread, not started.

    Attributes:
        hear: Called with what was read; must be set before the start, and never raise, which would end the thread.

    Raises:
        OSError: The kernel gives no instance, or there are no descriptors left.
    """

    hear: Callable[[bytes], None]

    def __init__(self) -> None:
        with _SPARE.open("rb"), _SPARE.open("rb"), _SPARE.open("rb"):
            pass  # with fewer than three descriptors left it would fail half-way, and leak the first one for good
        super().__init__()
        self.name = "gcsidecar-watch"
        self._read = self._read_event_buffer  # where there is no such thing any more that shows here, not in the thread
        # It is made without IN_CLOEXEC: a program that we start would inherit it.
        fcntl.fcntl(self._inotify_fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)

    def add(self, path: bytes, mask: int) -> int:
        """Watch a directory; the descriptor of its watch.

        Raises:
            OSError: The kernel refuses.
        """
        descriptor: int = inotify_add_watch(self._inotify_fd, path, mask)
        if descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
        return descriptor

    def remove(self, descriptor: int) -> None:
        """Watch a directory no longer; nothing happens where the kernel has ended the watch already."""
        inotify_rm_watch(self._inotify_fd, cast("WatchDescriptor", descriptor))

    def run(self) -> None:
        """Read until it is stopped."""
        while self.should_keep_running():
            told = self._read(BUFFER_BYTES)
            self.hear(told)
            if len(told) < BUFFER_BYTES // 2:
                time.sleep(GATHER_SECONDS)

    def close_unstarted(self) -> None:
        """Close what its thread would have closed, which could not be started."""
        for name in _DESCRIPTORS:
            os.close(vars(self)[name])

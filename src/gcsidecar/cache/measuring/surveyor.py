"""Measures many folders of one root, besides all else that is done: it is told names, and gives back sizes.

Which folders, and what their sizes are good for, is for others.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from gcsidecar.cache.measuring.sizes import CHUNK, TreeSize, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# It lingers so long for more names, before its memory is given back.
LINGER_SECONDS = 1.0
CLOSING_SECONDS = 1.0


class Measured(NamedTuple):
    """A folder that was measured.

    Attributes:
        name: The folder.
        size: Its size; none where it can't be measured now.
        at: When that began, POSIX seconds.
    """

    name: str
    size: TreeSize | None
    at: float


def _unheard() -> None:
    """Nobody wants to know."""


class Surveyor:
    """Measures folders of one root. Thread-safe.

    At rest it has no thread and no process.

    Args:
        root_fd: The root; it is duplicated.
        atime: Also find newest access times.
        idle: Take only what nobody else wants of processor and disk; else, be nice.
        entries_per_second: A pace to keep; none: as fast as it goes.
        processes: At most so many at once; none: two where there are two cores.
        wake: Called from a thread of the surveyor when there is something to take.
    """

    def __init__(
        self,
        root_fd: int,
        *,
        atime: bool = False,
        idle: bool = False,
        entries_per_second: float | None = None,
        processes: int | None = None,
        wake: Callable[[], None] = _unheard,
    ) -> None:
        self._root_fd = os.dup(root_fd)
        self._atime, self._idle, self._pace, self._wake = atime, idle, entries_per_second, wake
        self._processes = processes
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._names: deque[str] = deque()
        self._found: list[Measured] = []
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def measure(self, names: Iterable[str]) -> None:
        """Measure these, in this order, after those that wait already."""
        with self._changed:
            before = len(self._names)
            self._names.extend(names)
            self._waiting += len(self._names) - before
            if self._names and self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="surveyor", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def take(self) -> list[Measured]:
        """What was found since the last time."""
        with self._lock:
            found, self._found = self._found, []
            self._waiting -= len(found)
            return found

    def forget(self) -> list[str]:
        """Take back the names that nothing was done about yet."""
        with self._lock:
            names = list(self._names)
            self._names.clear()
            self._waiting -= len(names)
            return names

    @property
    def waiting(self) -> int:
        """How many names were given and have not been taken."""
        return self._waiting

    def close(self) -> None:
        """End at once; what was not taken is lost."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(CLOSING_SECONDS)
        os.close(self._root_fd)

    def _run(self) -> None:
        while (name := self._next()) is not None:
            found = self._measure(name)
            with self._lock:
                self._found.append(found)
            self._wake()

    def _next(self) -> str | None:
        with self._changed:
            if not self._names and not self._closed:
                self._changed.wait(LINGER_SECONDS)
            if self._closed or not self._names:
                self._thread = None
                return None
            return self._names.popleft()

    def _measure(self, name: str) -> Measured:
        at, began, seen = time.time(), time.monotonic(), 0
        steps = walk(self._root_fd, name, atime=self._atime, chunk=CHUNK)
        while not self._closed:
            try:
                entries = next(steps)
            except StopIteration as end:
                return Measured(name, end.value, at)
            except OSError:
                break
            pause = time.monotonic() - began if self._pace is None else (entries - seen) / self._pace
            seen = entries
            time.sleep(pause)
            began = time.monotonic()
        return Measured(name, None, at)

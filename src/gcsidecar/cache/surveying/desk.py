"""Where names of folders to be measured are put down, and sizes are picked up. Thread-safe.

It keeps order and count; who measures is not its business.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gcsidecar.cache.walking.sizes import TreeSize


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


class Desk:
    """Names on the one side, sizes on the other.

    Args:
        wake: Called, from the thread of who measures, when there is something to take.

    Attributes:
        bell: Readable after something has changed on the side of the names, for `select`; owned by the desk.
        is_closed: Nothing is wanted any more.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._names: deque[str] = deque()
        self._found: list[Measured] = []
        self._waiting = 0
        self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.is_closed = False

    def __len__(self) -> int:
        """How many names nothing was done about yet."""
        return len(self._names)

    @property
    def waiting(self) -> int:
        """How many names were put down whose sizes have not been taken."""
        return self._waiting

    def add(self, names: Iterable[str]) -> None:
        """Put names down, after those that are there."""
        with self._lock:
            before = len(self._names)
            self._names.extend(names)
            self._waiting += len(self._names) - before
        self.ring()

    def next(self, count: int) -> list[str]:
        """Take away the next names, to measure them."""
        with self._lock:
            return [self._names.popleft() for _ in range(min(count, len(self._names)))]

    def put_back(self, names: Iterable[str]) -> None:
        """Put names that were taken away back in front, in their order."""
        with self._lock:
            self._names.extendleft(reversed(tuple(names)))

    def find(self, found: Iterable[Measured]) -> None:
        """Put down what was found."""
        with self._lock:
            self._found += found
        self._wake()

    def give_up(self) -> None:
        """None of the names that are there can be measured now."""
        now = time.time()
        self.find([Measured(name, None, now) for name in self.next(len(self))])

    def take(self) -> list[Measured]:
        """Pick up what was found since the last time."""
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

    def ring(self) -> None:
        """Have those who measure look up."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self.bell, 1)

    def hear(self) -> None:
        """The bell was heard."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.bell)

    def release(self) -> None:
        """Let go of the bell; nobody uses the desk any more."""
        os.close(self.bell)

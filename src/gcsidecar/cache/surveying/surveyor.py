"""Measures many folders of one root, besides all else that is done: it is told names, and gives back sizes.

Which folders, and what their sizes are good for, is for others.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from gcsidecar.cache.surveying.cores import cores, quota
from gcsidecar.cache.surveying.crew import Crew
from gcsidecar.cache.surveying.desk import Desk, Measured
from gcsidecar.cache.surveying.pace import Pace
from gcsidecar.cache.surveying.process import Orders, can_start
from gcsidecar.cache.walking.sizes import CHUNK, TreeSize, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Measured", "Surveyor"]

_log = logging.getLogger("gcsidecar.surveyor")

# Processes linger so long for more names, before their memory is given back.
LINGER_SECONDS = 1.0
# A process that shows no sign of life for so long is stuck in the kernel.
PATIENCE_SECONDS = 60.0
# After a process could not be started, or was killed, none is started for so long.
AGAIN_SECONDS = 60.0
CLOSING_SECONDS = 1.0
MOST_PROCESSES = 2
# Of a quota of the processor, what measuring may take: who has used it up stands still, and with it the sidecar.
QUOTA_SHARE = 0.5
# Of its time, and for how long at a time, a thread of this process may measure.
HERE_SHARE = 0.5
SHORTEST_REST_SECONDS = 0.005


def _unheard() -> None:
    """Nobody wants to know."""


class Surveyor:
    """Measures folders of one root, in processes of their own where that can be. Thread-safe.

    At rest it has no thread and no process. Where none can be started, or one was killed, it measures in its own
    thread, and rests as long as it works. Where one hangs, nothing that it was given can be measured now.

    Args:
        root_fd: The root; it is duplicated.
        atime: Also find newest access times.
        idle: Take only what nobody else wants of processor and disk; else, be nice.
        entries_per_second: A pace to keep; none: as fast as it goes.
        processes: At most so many at once; none: two where there are two cores, and one where there is a pace.
        wake: Called from a thread of the surveyor when there is something to take.
        patience_seconds: So long a process may be silent.
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
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._root_fd = os.dup(root_fd)
        self._desk = Desk(wake)
        self._atime, self._idle, self._entries_per_second = atime, idle, entries_per_second
        self._processes, self._patience_seconds = processes, patience_seconds
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._here_until = 0.0

    def measure(self, names: Iterable[str]) -> None:
        """Measure these, in this order, after those that wait already."""
        with self._lock:
            if self._desk.is_closed:
                return
            self._desk.add(names)
            if len(self._desk) and self._thread is None:
                self._start()

    def take(self) -> list[Measured]:
        """What was found since the last time."""
        return self._desk.take()

    def forget(self) -> list[str]:
        """Take back the names that nothing was done about yet."""
        return self._desk.forget()

    @property
    def waiting(self) -> int:
        """How many names were given and have not been taken."""
        return self._desk.waiting

    def close(self) -> None:
        """End at once, and wait a moment for that; what was not taken is lost."""
        with self._lock:
            if self._desk.is_closed:
                return
            self._desk.is_closed = True
            thread = self._thread
            if thread is None:
                self._release()
                return
            self._desk.ring()
        thread.join(CLOSING_SECONDS)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="surveyor", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads either: nobody may wait for what nobody does
            self._desk.give_up()
        else:
            self._thread = thread

    def _release(self) -> None:
        os.close(self._root_fd)
        self._desk.release()

    def _run(self) -> None:
        """The thread: it ends when there is nothing to do, and the last to leave lets go of the descriptors."""
        while True:
            try:
                self._work()
            except Exception:  # noqa: BLE001  the edge of this thread: whatever it is, the next names are measured
                _log.exception("surveyor-failed")
                self._desk.give_up()
            with self._lock:
                if self._desk.is_closed or not len(self._desk):
                    self._thread = None
                    if self._desk.is_closed:
                        self._release()
                    return

    def _work(self) -> None:
        if time.monotonic() < self._here_until or not can_start():
            self._work_here()
            return
        most, orders = self._how()
        crew = Crew(self._root_fd, orders, self._desk, most, self._patience_seconds)
        try:
            crew.run(LINGER_SECONDS)
        finally:
            crew.end()
        if crew.has_failed:
            self._here_until = time.monotonic() + AGAIN_SECONDS

    def _how(self) -> tuple[int, Orders]:
        """How many processes at most, and what each is told."""
        limit = quota()
        most = min(self._processes or MOST_PROCESSES, cores(), MOST_PROCESSES if limit is None else max(1, int(limit)))
        if self._entries_per_second is not None:
            most = 1
        share = 1.0 if limit is None else min(1.0, limit * QUOTA_SHARE / most)
        return most, Orders(self._atime, self._idle, self._entries_per_second, share)

    def _work_here(self) -> None:
        """Measure in this thread, one folder after the other."""
        pace = Pace(self._entries_per_second, HERE_SHARE, SHORTEST_REST_SECONDS, CHUNK)
        while not self._desk.is_closed and (names := self._desk.next(1)):
            at, size = time.time(), None
            try:
                size = self._measure_here(names[0], pace)
            finally:
                self._desk.find([Measured(names[0], size, at)])

    def _measure_here(self, name: str, pace: Pace) -> TreeSize | None:
        counted = 0
        with closing(walk(self._root_fd, name, atime=self._atime, chunk=pace.chunk)) as steps:
            while not self._desk.is_closed:
                try:
                    entries = next(steps)
                except StopIteration as end:
                    size: TreeSize = end.value
                    self._rest(pace.rest_seconds(size.entries - counted))
                    return size
                except (OSError, ValueError):
                    return None
                self._rest(pace.rest_seconds(entries - counted))
                counted = entries
        return None

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._desk.is_closed and (left_seconds := until - time.monotonic()) > 0:
            time.sleep(min(left_seconds, CLOSING_SECONDS / 10))

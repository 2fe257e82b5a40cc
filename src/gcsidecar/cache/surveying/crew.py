"""The processes that measure one root, and how its names are dealt out among them.

It starts them, feeds them, listens, and ends them; when they are wanted at all is for `surveyor`.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

from gcsidecar.cache.surveying.process import Process

if TYPE_CHECKING:
    from gcsidecar.cache.surveying.desk import Desk
    from gcsidecar.cache.surveying.process import Orders

# Names that a process has before it at most: work for some milliseconds. Towards the end it gets fewer, so that all of
# them end together.
WINDOW = 128


class Crew:
    """Some processes at work, in the thread that makes and runs it; whoever has it ends it.

    Args:
        root_fd: The root.
        orders: How to measure.
        desk: Where names come from, and sizes go.
        most: So many processes at once.
        patience_seconds: So long one may be silent.

    Attributes:
        has_failed: One could not be started, or has ended by itself.
    """

    def __init__(self, root_fd: int, orders: Orders, desk: Desk, most: int, patience_seconds: float) -> None:
        self._root_fd, self._orders, self._desk = root_fd, orders, desk
        self._most, self._patience_seconds = most, patience_seconds
        self._processes: list[Process] = []
        self.has_failed = False

    def run(self, linger_seconds: float) -> None:
        """Work until for so long there was nothing to do, or nobody is left to do it, or nothing is wanted any more."""
        while not self._desk.is_closed:
            self._hire()
            if not self._processes:
                return
            self._deal()
            is_busy = any(process.given for process in self._processes)
            if not self._listen(self._wait_seconds() if is_busy else linger_seconds) and not is_busy:
                return
            self._lose_patience()

    def end(self) -> None:
        """End all of them at once; what they had is put back."""
        for process in self._processes:
            self._desk.put_back(process.given)
            process.end()
        self._processes.clear()

    def _hire(self) -> None:
        """Start one more while there are names that nobody has."""
        while len(self._desk) and len(self._processes) < self._most and not self.has_failed:
            try:
                self._processes.append(Process(self._root_fd, self._orders))
            except OSError:  # no more processes, no memory, no interpreter where it was
                self.has_failed = True
                return
            self._deal()

    def _deal(self) -> None:
        for process in self._processes:
            window = min(WINDOW, max(2, len(self._desk) // (2 * self._most)))
            if len(process.given) <= window // 2 and (names := self._desk.next(window - len(process.given))):
                process.give(names)

    def _listen(self, seconds: float) -> bool:
        """Wait for something to happen, and see to it; False if nothing has."""
        poll = select.poll()
        poll.register(self._desk.bell, select.POLLIN)
        for process in self._processes:
            poll.register(process.answers_fd, select.POLLIN)
            if process.has_unsent:
                poll.register(process.names_fd, select.POLLOUT)
        ready = {fd for fd, _ in poll.poll(max(0.0, seconds) * 1000)}
        if self._desk.bell in ready:
            self._desk.hear()
        for process in tuple(self._processes):
            if process.names_fd in ready:
                process.send()
            if process.answers_fd in ready:
                self._hear(process)
        return bool(ready)

    def _hear(self, process: Process) -> None:
        found = process.receive()
        if found is None:
            # It was killed. What it had is for the others, in the old order, or for whoever measures without it.
            self.has_failed = True
            self._processes.remove(process)
            self._desk.put_back(process.given)
            process.end()
        elif found:
            self._desk.find(found)

    def _wait_seconds(self) -> float:
        """Until when the one that was silent longest may be so."""
        heard_at = min(process.heard_at for process in self._processes if process.given)
        return heard_at + self._patience_seconds - time.monotonic()

    def _lose_patience(self) -> None:
        """Give up where one hangs: so does the root's filesystem, and would everybody else who looks."""
        now = time.monotonic()
        for process in self._processes:
            if process.given and now >= process.heard_at + self._patience_seconds:
                if process.waits_for_a_core():
                    process.heard_at = now
                else:
                    self._give_up()
                    return

    def _give_up(self) -> None:
        self.end()
        self._desk.give_up()

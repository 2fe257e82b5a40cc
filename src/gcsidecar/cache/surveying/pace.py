"""How long who measures has to rest, to keep to so many entries a second and to a share of the time.

It counts; who rests, and how, is for its users.
"""

from __future__ import annotations

import time


class Pace:
    """What one who measures may take.

    Args:
        entries_per_second: At most so many; none: any number.
        share: Of the time, at most.
        shortest_seconds: It rests when so much rest is due: shorter ones cost more than they are worth.
        chunk: Entries between two looks at the clock, at most.

    Attributes:
        chunk: Entries between two looks at the clock.
    """

    def __init__(self, entries_per_second: float | None, share: float, shortest_seconds: float, chunk: int) -> None:
        self._seconds_per_entry = 0.0 if entries_per_second is None else 1 / entries_per_second
        self._rest_per_work = 1 / share - 1
        self._shortest_seconds = shortest_seconds
        self.chunk = chunk
        if entries_per_second is not None:
            self.chunk = max(1, min(chunk, int(entries_per_second * shortest_seconds)))
        self._since = time.monotonic()
        self._due_seconds = 0.0

    def begin(self) -> None:
        """Work begins now: the time before it was neither work nor rest."""
        self._since = time.monotonic()

    def rest_seconds(self, entries: int) -> float:
        """How long to rest after so many entries more; 0.0 while it isn't worth it."""
        now = time.monotonic()
        worked_seconds, self._since = now - self._since, now
        due_seconds = max(entries * self._seconds_per_entry - worked_seconds, worked_seconds * self._rest_per_work)
        self._due_seconds += due_seconds
        if self._due_seconds < self._shortest_seconds:
            return 0.0
        rest_seconds, self._due_seconds = self._due_seconds, 0.0
        self._since += rest_seconds
        return rest_seconds

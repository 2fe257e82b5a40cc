"""The look at what is about to go: it may be of another size than was planned with, in use after all, or used later.

It asks and puts in order; what becomes of it is for the execution to decide.
"""

from __future__ import annotations

import bisect
from dataclasses import replace
from typing import TYPE_CHECKING

from gcsidecar.gc.planning import ALL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gcsidecar.gc.clock import Clock
    from gcsidecar.gc.planning import Candidate
    from gcsidecar.gc.pressure import Threshold

# While something is scarce nobody can wait for the very least recently used one: after so long in search of it the
# least recently used of those that were looked at goes.
SEARCH_SECONDS = 0.050


class Looking:
    """The looks of one execution: each candidate is looked at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked_at: set[tuple[str, str]] = set()
        self._seconds = 0.0

    def at(self, candidate: Candidate) -> Candidate | None:
        """What is known of it after a look; none where there is nothing to be added to what was planned with."""
        look, name = getattr(candidate.subject, "look", None), (candidate.group, candidate.key)
        if look is None or name in self._looked_at:
            return None
        self._looked_at.add(name)
        began = self._clock.monotonic()
        found: Candidate | None = look(self._clock.time())
        self._seconds += self._clock.monotonic() - began
        if found is None:
            return None
        # That everything is to go is nothing that it knows of itself.
        return replace(found, subject=candidate.subject, due=ALL if candidate.due == ALL else found.due)

    @property
    def may_go_on(self) -> bool:
        """Whether there is time to look for one that was used less recently."""
        return self._seconds < SEARCH_SECONDS

    def went(self) -> None:
        """Something went: the search for the next one begins."""
        self._seconds = 0.0


class Reserve:
    """What is next after the steps of a plan, in order: its reserve, and what a look has put off.

    Args:
        candidates: The plan's reserve.
    """

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._planned = iter(candidates)
        self._next: Candidate | None = None  # read only when it is asked for: it may cost
        self._is_read = False
        self._put_off: list[Candidate] = []

    def put_off(self, candidate: Candidate) -> None:
        """It goes when its turn comes by what is known of it now."""
        bisect.insort(self._put_off, candidate, key=_turn)

    def take_put_off(self, scarce: Sequence[Threshold]) -> Candidate | None:
        """Of what was put off that which is to go first, and helps."""
        for number, candidate in enumerate(self._put_off):
            if any(candidate.helps(threshold) for threshold in scarce):
                return self._put_off.pop(number)
        return None

    def peek(self) -> Candidate | None:
        """What is next, or none."""
        if not self._is_read:
            self._next, self._is_read = next(self._planned, None), True
        if self._put_off and (self._next is None or not goes_later(self._put_off[0], self._next)):
            return self._put_off[0]
        return self._next

    def pop(self) -> Candidate | None:
        """What is next, and is there no longer."""
        found = self.peek()
        if found is self._next:
            self._is_read = found is None
        else:
            del self._put_off[0]
        return found


def is_known(candidate: Candidate) -> bool:
    """Whether all its sizes are: where one is not, neither is what was used in it."""
    return None not in candidate.sizes.values()


def goes_later(looked: Candidate, other: Candidate) -> bool:
    """Whether one that was looked at has its turn after another one."""
    return _turn(looked) > _turn(other)


def _turn(candidate: Candidate) -> tuple[int, float]:
    return candidate.priority, candidate.last_used

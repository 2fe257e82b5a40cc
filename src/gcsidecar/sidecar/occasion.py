"""Whether there is an occasion to plan: a plan costs time, and where nothing can go it is made anew only for a reason.

It only remembers what the last plan was made from; planning itself is pure and elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsidecar.gc.clock import Clock
    from gcsidecar.gc.planning import Plan, Want

# A plan in which nothing could go is made anew so often, whatever has changed or not.
REPLAN_SECONDS = 60.0
# What held a folder back only when it came to it (a lock, say) may end without any hint.
TRIED_SECONDS = 5.0
# Folders that go for being idle too long are looked for so many times in that span, within these bounds.
IDLE_CHECKS = 20
IDLE_BOUNDS_SECONDS = (1.0, 60.0)


class Occasion:
    """Of one filesystem.

    Args:
        inputs: All that a plan depends on beside measurements and time, as a value to be compared.
        shortest_idle_seconds: The shortest `max_idle` of the roots, or none.
        clock: Both clocks.
    """

    def __init__(self, inputs: Callable[[], object], shortest_idle_seconds: float | None, clock: Clock) -> None:
        self._inputs = inputs
        self._shortest_idle = shortest_idle_seconds
        self._clock = clock
        self._idle_at = 0.0
        self._fruitless: tuple[object, float] | None = None

    def arises(self, crossed: Sequence[Want]) -> bool:
        """Whether to plan now, with these thresholds crossed."""
        if self._is_time_for_idle():
            return True
        if not crossed or self._fruitless is None:
            return bool(crossed)
        made_from, until = self._fruitless
        return self._clock.monotonic() >= until or made_from != self._made_from(crossed)

    def was_fruitful(self) -> None:
        """Something went: the next plan may find more."""
        self._fruitless = None

    def was_fruitless(self, plan: Plan) -> None:
        """Nothing could go: no new plan until an input changes, or a reason to keep something ends by itself."""
        seconds = TRIED_SECONDS if plan.steps else REPLAN_SECONDS
        if plan.retry_at is not None:
            seconds = min(seconds, max(0.0, plan.retry_at - self._clock.time()))
        self._fruitless = (self._made_from(plan.wants), self._clock.monotonic() + seconds)

    def _is_time_for_idle(self) -> bool:
        monotonic = self._clock.monotonic()
        if self._shortest_idle is None or monotonic < self._idle_at:
            return False
        least, most = IDLE_BOUNDS_SECONDS
        self._idle_at = monotonic + max(least, min(most, self._shortest_idle / IDLE_CHECKS))
        return True

    def _made_from(self, crossed: Sequence[Want]) -> object:
        return self._inputs(), tuple((want.threshold.resource, want.threshold.group) for want in crossed)

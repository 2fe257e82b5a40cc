"""The jumps of the calendar's clock, seen by the clock that never jumps: no age and no idle time changes by one.

It tells of them; what follows for the times that are known is for others to see to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsidecar.gc.clock import Clock

# By less a clock is slewed, or whoever reads both of them is held up in between.
JUMP_SECONDS = 2.0


class Jumps:
    """From now on.

    Args:
        clock: Both clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked_at = (clock.time(), clock.monotonic())

    def look(self, told: Callable[[float], object]) -> float:
        """See whether there was one since the last look.

        Args:
            told: Told of it, in seconds, before the calendar is trusted again.

        Returns:
            By how many seconds; 0 for what it may have been slewed by.
        """
        (time_then, monotonic_then), now = self._looked_at, self._clock.time()
        monotonic = self._clock.monotonic()
        jumped = (now - time_then) - (monotonic - monotonic_then)
        if abs(jumped) < JUMP_SECONDS:
            jumped = 0.0
        else:
            told(jumped)
        self._looked_at = (now, monotonic)
        return jumped

    def trusted_now(self, now: float) -> float:
        """The time, but never ahead of the clock that doesn't jump: a clock jump must not empty a cache."""
        time_then, monotonic_then = self._looked_at
        return min(now, time_then + self._clock.monotonic() - monotonic_then)

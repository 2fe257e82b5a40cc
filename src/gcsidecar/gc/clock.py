"""The clocks that everything here is given, so that tests run the real code with a fake one."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: the one of the calendar, and the one that never jumps."""

    def time(self) -> float:
        """POSIX seconds; may jump."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""


class SystemClock:
    """The clocks of this machine."""

    def time(self) -> float:
        """POSIX seconds, as `time.time`."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, as `time.monotonic`."""
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()

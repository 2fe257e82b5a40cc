"""How long to go on trying; it waits, and says when it is over."""

from __future__ import annotations

import time

from gcsidecar.client.errors import LeaseTimeoutError

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.0005, 0.05


class Patience:
    """Waits a little longer each time, and not beyond its end.

    Args:
        path: What is waited for.
        seconds: For how long.
    """

    __slots__ = ("_path", "_pause_seconds", "_seconds", "_until")

    def __init__(self, path: str, seconds: float) -> None:
        self._path, self._seconds = path, seconds
        self._until = time.monotonic() + seconds
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    def pause(self, why: str) -> None:
        """Wait a moment.

        Args:
            why: What stood in the way, for the error.

        Raises:
            LeaseTimeoutError: It is over.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise LeaseTimeoutError(f"{self._path}: no lease within {self._seconds:g} s: {why}; try again later")
        time.sleep(min(self._pause_seconds, left))
        self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)

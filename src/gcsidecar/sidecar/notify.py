"""What systemd is told of a service of `Type=notify`: ready, reloading, stopping, a line of status, still alive.

The protocol of sd_notify(3), a datagram each; without NOTIFY_SOCKET it does nothing. It decides nothing either.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcsidecar.sidecar.web.pages import Readiness

_QUICK_SECONDS = 0.1
_NEVER = float("inf")


class Notifier:
    """Tells the service manager, where there is one.

    Args:
        environ: Where it says how to reach it: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._socket = (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) if self._address else None
        )
        # Half of the time after which it takes us for dead, as sd_watchdog_enabled(3) recommends.
        self._beat_seconds = _watchdog_seconds(environ) / 2
        self._beat_at = 0.0 if self._beat_seconds < _NEVER else _NEVER
        self._is_ready, self._status = False, ""

    def pause_seconds(self, longest: float) -> float:
        """How long the caller may do other things before its next `turn`."""
        if self._socket is None:
            return longest
        return min(longest, self._beat_seconds / 2, longest if self._is_ready else _QUICK_SECONDS)

    def turn(self, readiness: Callable[[], Readiness], alive: Callable[[], bool]) -> None:
        """Tell what has become true by now.

        Args:
            readiness: As `/readyz` says it.
            alive: Whether the process is to be left alone; asked when it is time for a sign of life.
        """
        if self._socket is None:
            return
        now = readiness()
        status = "; ".join(now.lines) or "all roots are kept"
        if now.ok and not self._is_ready:
            self._is_ready = self._say("READY=1", f"STATUS={status}")
        elif status != self._status:
            self._say(f"STATUS={status}")
        self._status = status
        if time.monotonic() >= self._beat_at and alive() and self._say("WATCHDOG=1"):
            self._beat_at = time.monotonic() + self._beat_seconds

    def reloading(self) -> None:
        """The config is being read anew; the next `turn` says when that is over."""
        if self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"):
            self._is_ready = False

    def stopping(self) -> None:
        """The process ends; nothing is said after this."""
        self._say("STOPPING=1")
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say(self, *lines: str) -> bool:
        """Whether it was taken; what was not is said again at the next turn, where that matters."""
        if self._socket is None:
            return False
        try:
            self._socket.sendto("\n".join(line.replace("\n", " ") for line in lines).encode(), self._address)
        except OSError:  # nobody there now, or too slow: it must not hold us up
            return False
        return True


def _address(text: str) -> str:
    """A path, or a name in the abstract namespace, which begins with NUL."""
    return f"\0{text[1:]}" if text.startswith("@") else text if text.startswith("/") else ""


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """After how long without a sign of life it takes us for dead; infinite where it doesn't, or means another one."""
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", "0"))
        pid = int(environ.get("WATCHDOG_PID") or os.getpid())
    except ValueError:
        return _NEVER
    return microseconds / 1e6 if microseconds > 0 and pid == os.getpid() else _NEVER

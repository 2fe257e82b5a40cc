"""The heartbeat of a lease: touches its file, so that it holds for its `ttl` once more.

Imported only where a lease has one: `threading` has its price.
"""

from __future__ import annotations

import os
import signal
import threading

_BEATS_A_TTL = 3


class Heartbeat:
    """Touches a lease file from a thread of its own until it is told to stop.

    By descriptor, so that it goes on wherever the folder is moved. A forked child has no such thread: only the process
    that took the lease keeps it alive.

    Args:
        lease_fd: The file.
        ttl_seconds: How long a touch lasts.
    """

    def __init__(self, lease_fd: int, ttl_seconds: float) -> None:
        self._fd = lease_fd
        # Longer than that no wait may be; about 292 years
        self._pause_seconds = min(ttl_seconds / _BEATS_A_TTL, threading.TIMEOUT_MAX)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="gcsidecar-heartbeat", daemon=True)
        # A thread inherits what is blocked. Signals are for others here, who may wait for them (`sigwait`).
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._thread.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def stop(self) -> None:
        """Stop it; afterwards the descriptor is touched no more."""
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(self._pause_seconds):
            try:
                os.utime(self._fd)
            except OSError:  # a network that is away for a moment: the next beat may get through
                pass

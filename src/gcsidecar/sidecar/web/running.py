"""A server's loop as it can be spoken to from another thread.

It carries calls over, and knows nothing of what they do.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsidecar.sidecar.web.reception import Reception

_CALL_SECONDS = 5.0


class Running:
    """A reception that is open, until it is told to stop; made within its loop."""

    def __init__(self, reception: Reception) -> None:
        self.reception = reception
        self._loop = asyncio.get_running_loop()
        self._stopping: asyncio.Future[float] = self._loop.create_future()
        self._pings = self._answers = 0

    def call(self, function: Callable[[], object]) -> None:
        """Have something done in the loop, and wait for its end.

        Raises:
            TimeoutError: The loop does not turn.
        """
        done: Future[None] = Future()

        def do() -> None:
            try:
                function()
            except BaseException as error:  # noqa: BLE001  it is the caller's
                done.set_exception(error)
            else:
                done.set_result(None)

        self._loop.call_soon_threadsafe(do)
        done.result(_CALL_SECONDS)

    def answers(self) -> bool:
        """Whether the loop has turned since this was asked the last time."""
        if self._pings != self._answers:
            return False
        self._pings += 1
        with contextlib.suppress(RuntimeError):  # it has ended: there will be no answer
            self._loop.call_soon_threadsafe(self._answer, self._pings)
        return True

    def stop(self, timeout_seconds: float) -> None:
        """Let `until_stopped` return."""
        with contextlib.suppress(RuntimeError):  # its loop has ended already
            self._loop.call_soon_threadsafe(self._stop, timeout_seconds)

    async def until_stopped(self) -> float:
        """How long answers under way may take, once it is to stop."""
        return await self._stopping

    def _answer(self, ping: int) -> None:
        self._answers = ping

    def _stop(self, timeout_seconds: float) -> None:
        if not self._stopping.done():
            self._stopping.set_result(timeout_seconds)

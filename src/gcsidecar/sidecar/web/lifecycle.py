"""`/-/reload`, as Prometheus has it: reads the config anew, for whoever was let do that when the sidecar was started.

The reading itself is the service's; here is only who may ask for it, and what is answered.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gcsidecar.sidecar.web.exchange import plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from gcsidecar.sidecar.web.exchange import Answer, Question

RELOAD_PATH = "/-/reload"
MOST_WAITING = 4
# Less than an answer may take.
PATIENCE_SECONDS = 20.0


class ReloadPage:
    """Has the config read anew.

    Args:
        reload: Asks for it; what comes is all that is wrong with the config, a line each. None: nobody may.
    """

    def __init__(self, reload: Callable[[], Future[tuple[str, ...]]] | None) -> None:
        self._reload, self._waiting = reload, 0

    async def __call__(self, question: Question) -> Answer:
        """What came of it."""
        if self._reload is None:
            return plain(403, "Lifecycle API is not enabled.", "start the sidecar with --web.enable-lifecycle")
        if is_from_elsewhere(question):
            return plain(403, "this is for programs and for pages of this server, not for those of another")
        if self._waiting >= MOST_WAITING:
            return plain(503, "others wait for this already; come again", headers={"Retry-After": "1"})
        self._waiting += 1
        try:
            problems = await asyncio.wait_for(asyncio.wrap_future(self._reload()), PATIENCE_SECONDS)
        except TimeoutError:
            return plain(503, "the config is not read yet; the log will say what came of it")
        finally:
            self._waiting -= 1
        return plain(500, "failed to reload config:", *problems) if problems else plain(200, "reloaded")


def is_from_elsewhere(question: Question) -> bool:
    """Whether a browser asks on behalf of another site's page; programs say nothing of the kind."""
    site = question.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = question.headers.get("Origin")
    if origin is None:
        return False
    return origin.partition("://")[2].lower() != question.headers.get("Host", "").lower()

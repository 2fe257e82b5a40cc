"""Reading a config anew: who asked for it, and what they, the log and the metrics are told of it.

What is read, and what follows from it, is the service's.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import TYPE_CHECKING

from gcsidecar.sidecar.log import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gcsidecar.sidecar.metrics import Metrics

_log = logging.getLogger("gcsidecar.service")


class Reload:
    """Told to read the config anew.

    Attributes:
        done: All that is wrong with it, a line each, once it is read.
    """

    def __init__(self) -> None:
        self.done: Future[tuple[str, ...]] = Future()


def carry_out(steps: Iterable[Callable[[], tuple[str, ...]]], asked: Iterable[Reload], metrics: Metrics) -> None:
    """Read anew what may have changed.

    Args:
        steps: Each reads something, and gives all that is wrong with it.
        asked: Those who are to be told.
        metrics: Where it is counted.
    """
    problems: tuple[str, ...] = ("it failed; the log says why",)
    try:
        problems = tuple(problem for step in steps for problem in step())
    finally:
        metrics.record_reload(ok=not problems)
        for problem in problems:
            _log.error("config-refused", extra=fields(problem=problem))
        for one in asked:
            if one.done.set_running_or_notify_cancel():
                one.done.set_result(problems)

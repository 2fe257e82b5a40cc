"""The survey of the roots on one filesystem: follows hints, reconciles, and has sizes measured, one thing at a time.

Long work is done in slices, so that a lease is seen at once even while a large folder is being measured.
"""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.cache.errors import RootUnavailableError
from gcsidecar.cache.measuring.measuring import Measuring
from gcsidecar.cache.spec import DEFAULT_MEASURE
from gcsidecar.gc.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from gcsidecar.cache.measuring.measuring import Progress
    from gcsidecar.cache.root import Root
    from gcsidecar.cache.spec import MeasureSpec
    from gcsidecar.cache.watching.hints import Hints

_log = logging.getLogger("gcsidecar.survey")
_ENDED = object()

RECONCILE_SECONDS = 60.0
# Without hints it reconciles more often, but only after so many times as long as that took.
RECONCILE_UNWATCHED_SECONDS = 5.0
RECONCILE_COST_FACTOR = 20.0
# Leases that were locked are asked so often whether they still are.
LOCKS_SECONDS = 1.0
# Many may have arrived together: they are not seen to one by one as each is young no longer.
GROW_UP_SECONDS = 0.25
SLICE_SECONDS = 0.010
# A history that does not answer is waited for that much longer.
AWAITED_SECONDS = 0.1


@dataclass(slots=True)
class Surveyed:
    """One root under survey, and what its last reconcile came to."""

    root: Root
    hints: Hints
    reconcile_at: float = 0.0
    reconciled_at: float = 0.0
    reconcile_ok: bool = False
    problem: str | None = None
    lost: bool = False


class Survey:
    """Surveys the roots of one filesystem; `run` is its thread.

    Args:
        roots: Which.
        watched: Whether hints can be relied on for now; without them it reconciles more often.
        publish: Called after something may have changed, from this thread; returns in how many seconds it is to be
            called again though nothing changes, or none.
        lost: Called when a root is not where it was, from this thread.
        spec: What measuring may cost.
        clock: Both clocks.
    """

    def __init__(
        self,
        roots: Sequence[Surveyed],
        *,
        watched: Callable[[], bool],
        publish: Callable[[], float | None],
        lost: Callable[[Root, str], None],
        spec: MeasureSpec = DEFAULT_MEASURE,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._watched, self._publish, self._lost, self._clock = watched, publish, lost, clock
        self._wake = threading.Event()
        self._stop = False
        self._roots = tuple(roots)
        self._job: Generator[None, None, None] | None = None
        self._measuring = Measuring([surveyed.root for surveyed in roots], spec, self.wake, clock)

    @property
    def progress(self) -> Progress:
        """What measuring has come to."""
        return self._measuring.progress

    def wake(self) -> None:
        """There is something to look at."""
        self._wake.set()

    def stop(self) -> None:
        """End soon."""
        self._stop = True
        self.wake()

    def run(self) -> None:
        """Survey until `stop`."""
        while not self._stop:
            try:
                self._round()
            except Exception:  # noqa: BLE001  the edge of this thread: whatever it is, the next round goes on
                _log.exception("survey-failed")
                self._job = None
                self._wake.wait(1.0)
        self.close()

    def close(self) -> None:
        """Let go of the processes that measure."""
        self._measuring.close()

    def _round(self) -> None:
        self._wake.clear()
        for surveyed in self._roots:
            self._follow(surveyed)
        self._measuring.take_in()
        if self._job is not None:
            self._measuring.hand_some_over()
        self._advance()
        publish_in = self._publish()
        if self._job is None and not self._stop:
            self._wake.wait(self._rest_seconds(publish_in))

    def _rest_seconds(self, publish_in: float | None) -> float:
        """How long there is nothing to do, unless somebody wakes it."""
        rest = self._measuring.next_at() - self._clock.monotonic()
        for surveyed in self._roots:
            rest = min(rest, self._reconcile_in(surveyed), self._unhinted_in(surveyed.root))
        return max(0.0, rest if publish_in is None else min(rest, publish_in))

    def _unhinted_in(self, root: Root) -> float:
        """In how many seconds something may change of which there is no hint; infinity where nothing will."""
        grows_up_at = root.census.grow_up()
        grows_up_in = math.inf if grows_up_at is None else max(GROW_UP_SECONDS, grows_up_at - self._clock.time())
        return min(root.lookout.seconds_to_next(LOCKS_SECONDS), grows_up_in)

    def _follow(self, surveyed: Surveyed) -> None:
        """Look at what hints have named, at locks that were dropped, and at who is young no longer: no hint tells."""
        noted, root = surveyed.hints.take(), surveyed.root
        if noted.everything:
            surveyed.reconcile_at = 0.0
        for name in noted.gone:
            root.finder.gone(name)
        for name in noted.names:
            root.finder.refresh(name)
        if noted.beside:
            try:
                root.reconciling.look_beside()
            except OSError:
                surveyed.reconcile_at = 0.0
        self._measuring.heard(root, noted)
        root.finder.look_at_locks(LOCKS_SECONDS)
        root.census.grow_up()

    def _advance(self) -> None:
        """Do some of the long work: at least a step, or under a stream of hints it would never come to its end."""
        until = self._clock.monotonic() + SLICE_SECONDS
        while not self._stop:
            if self._job is None:
                self._job = self._next_job()
            if self._job is None:
                self._measuring.rest()
                return
            if next(self._job, _ENDED) is _ENDED:
                self._job = None
            if self._wake.is_set() or self._clock.monotonic() >= until:
                return

    def _reconcile_in(self, surveyed: Surveyed) -> float:
        """In how many seconds a root is to be reconciled; infinity where it isn't there."""
        if surveyed.lost:
            return math.inf
        seconds = surveyed.reconcile_at - self._clock.monotonic()
        # What the history is about to tell of folders need not be looked for; it wakes when it has.
        return max(seconds, AWAITED_SECONDS) if surveyed.root.chronicle.is_awaited() else seconds

    def _next_job(self) -> Generator[None, None, None] | None:
        for surveyed in self._roots:
            if self._reconcile_in(surveyed) <= 0:
                return self._reconcile(surveyed)
        return self._measuring.next_job()

    def _reconcile(self, surveyed: Surveyed) -> Generator[None, None, None]:
        began = self._clock.monotonic()
        surveyed.reconcile_at = began + RECONCILE_SECONDS
        try:
            surveyed.root.check()
            yield from surveyed.hints.try_again()
            yield from surveyed.root.reconciling.run()
        except RootUnavailableError as error:
            surveyed.lost, surveyed.reconcile_ok = True, False
            self._lost(surveyed.root, str(error))
        except OSError as error:
            surveyed.reconcile_ok = False
            surveyed.problem = f"can't list {surveyed.root.spec.path}: {error.strerror}; what was known stays"
        else:
            surveyed.reconcile_ok, surveyed.problem = True, None
            surveyed.reconciled_at = self._clock.time()
            yield from surveyed.root.adoption.watch_rest()
        if not self._watched():  # asked now: it may be this one that met the limit of watches
            pause = max(RECONCILE_UNWATCHED_SECONDS, (self._clock.monotonic() - began) * RECONCILE_COST_FACTOR)
            surveyed.reconcile_at = min(surveyed.reconcile_at, began + pause)

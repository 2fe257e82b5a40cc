"""The survey of the roots on one filesystem: follows hints, reconciles, and measures sizes, one thing at a time.

Long work is done in slices, so that a lease is seen at once even while a large folder is being measured.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gcsidecar.cache.errors import RootUnavailableError
from gcsidecar.cache.measuring.sizes import walk
from gcsidecar.gc.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.root import Root
    from gcsidecar.cache.watching.hints import Hints

_log = logging.getLogger("gcsidecar.survey")
_ENDED = object()

RECONCILE_SECONDS = 60.0
RECONCILE_UNWATCHED_SECONDS = 5.0
# Leases that were locked are asked so often whether they still are.
LOCKS_SECONDS = 1.0
# A new or changed folder is measured once it has been quiet for so long; one in use, now and then.
QUIET_SECONDS = 2.0
GROWING_SECONDS = 30.0
# A walk of a folder in use is repeated only after so many times its own length.
COST_FACTOR = 20.0
# Sizes older than this are measured again when nothing else is to do, so many entries a second.
STALE_SECONDS = 24 * 3600.0
SWEEP_ENTRIES_PER_SECOND = 500
SWEEP_LOOK_SECONDS = 60.0
SLICE_SECONDS = 0.010
IDLE_SECONDS = 0.25
CHUNK = 256


class Due(NamedTuple):
    """When a folder is to be measured, and until when at most that is put off (both monotonic)."""

    at: float
    latest: float


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
    due: dict[str, Due] = field(default_factory=dict)


class Survey:
    """Surveys the roots of one filesystem; `run` is its thread.

    Args:
        roots: Which.
        watched: Whether hints can be relied on for now; without them it reconciles more often.
        publish: Called after something may have changed, from this thread.
        lost: Called when a root is not where it was, from this thread.
        clock: Both clocks.
    """

    def __init__(
        self,
        roots: Sequence[Surveyed],
        *,
        watched: Callable[[], bool],
        publish: Callable[[], None],
        lost: Callable[[Root, str], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._watched, self._publish, self._lost, self._clock = watched, publish, lost, clock
        self._wake = threading.Event()
        self._stop = False
        self._roots = tuple(roots)
        self._job: Generator[None, None, None] | None = None
        self._sweeping: Generator[None, None, None] | None = None
        self._queue: list[tuple[float, int, Surveyed, str]] = []
        self._numbers = itertools.count()
        self._sweep_at = 0.0
        self._swept: set[tuple[int, str]] = set()

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
                self._job = self._sweeping = None
                self._wake.wait(1.0)

    def _round(self) -> None:
        self._wake.clear()
        for surveyed in self._roots:
            self._follow(surveyed)
        self._advance()
        self._publish()
        if self._job is None and not self._stop:
            self._wake.wait(IDLE_SECONDS)

    def _follow(self, surveyed: Surveyed) -> None:
        """Look at what hints have named, and for locks that were dropped, of which there is no hint."""
        noted, census = surveyed.hints.take(), surveyed.root.census
        if noted.everything:
            surveyed.reconcile_at = 0.0
        for name in noted.gone:
            census.gone(name)
        for name in noted.names:
            census.refresh(name)
        if noted.beside:
            try:
                census.refresh_beside()
            except OSError:
                surveyed.reconcile_at = 0.0
        for name, arrived in noted.changed.items():
            self._schedule(surveyed, name, 0.0 if arrived else QUIET_SECONDS)
        census.look_at_locks(LOCKS_SECONDS)
        census.grow_up()

    def _schedule(self, surveyed: Surveyed, name: str, delay_seconds: float) -> None:
        """Measure a folder after so long; what was to come earlier is put off while it changes, but not for ever."""
        monotonic = self._clock.monotonic()
        before = surveyed.due.get(name)
        latest = monotonic + max(delay_seconds, GROWING_SECONDS) if before is None else before.latest
        due = Due(min(monotonic + delay_seconds, latest), latest)
        surveyed.due[name] = due
        heapq.heappush(self._queue, (due.at, next(self._numbers), surveyed, name))

    def _advance(self) -> None:
        """Do some of the long work: at least a step, or under a stream of hints it would never come to its end."""
        until = self._clock.monotonic() + SLICE_SECONDS
        while not self._stop:
            if self._job is None:
                self._job = self._next_job()
            if self._job is None:
                self._sweep()
                return
            if next(self._job, _ENDED) is _ENDED:
                self._job = None
            if self._wake.is_set() or self._clock.monotonic() >= until:
                return

    def _next_job(self) -> Generator[None, None, None] | None:
        monotonic = self._clock.monotonic()
        for surveyed in self._roots:
            # What the history is about to tell of folders need not be looked for.
            if not (surveyed.lost or surveyed.reconcile_at > monotonic or surveyed.root.chronicle.is_awaited()):
                return self._reconcile(surveyed)
        while self._queue and self._queue[0][0] <= monotonic:
            at, _, surveyed, name = heapq.heappop(self._queue)
            due = surveyed.due.get(name)
            if due is None or due.at != at:
                continue
            del surveyed.due[name]
            folder = surveyed.root.census.get(name)
            if folder is not None:
                return self._measure(surveyed, folder)
        return None

    def _reconcile(self, surveyed: Surveyed) -> Generator[None, None, None]:
        every = RECONCILE_SECONDS if self._watched() else RECONCILE_UNWATCHED_SECONDS
        surveyed.reconcile_at = self._clock.monotonic() + every
        try:
            surveyed.root.check()
            surveyed.hints.try_again()
            yield from surveyed.root.census.reconcile()
        except RootUnavailableError as error:
            surveyed.lost, surveyed.reconcile_ok = True, False
            self._lost(surveyed.root, str(error))
        except OSError as error:
            surveyed.reconcile_ok = False
            surveyed.problem = f"can't list {surveyed.root.spec.path}: {error.strerror}; what was known stays"
        else:
            surveyed.reconcile_ok, surveyed.problem = True, None
            surveyed.reconciled_at = self._clock.time()
            yield from surveyed.root.census.adoption.watch_rest()

    def _measure(self, surveyed: Surveyed, folder: Folder) -> Generator[None, None, None]:
        """Measure one folder."""
        root, began = surveyed.root, self._clock.monotonic()
        size = None
        with contextlib.suppress(OSError):
            steps = walk(root.fd, folder.name, atime=root.spec.last_used == "atime", chunk=CHUNK)
            while size is None:
                try:
                    next(steps)
                except StopIteration as end:
                    size = end.value
                else:
                    yield
        if size is None:
            return
        root.census.measured(folder, size)
        if folder.leases:
            cost = self._clock.monotonic() - began
            self._schedule(surveyed, folder.name, max(GROWING_SECONDS, cost * COST_FACTOR))

    def _sweep(self) -> None:
        """When nothing else is to do, measure what has the oldest size, if that is stale: a chunk, then a pause."""
        monotonic = self._clock.monotonic()
        if monotonic < self._sweep_at:
            return
        if self._sweeping is None:
            self._sweeping = self._stalest()
        if self._sweeping is None:
            self._sweep_at = monotonic + SWEEP_LOOK_SECONDS
            return
        self._sweep_at = monotonic + CHUNK / SWEEP_ENTRIES_PER_SECOND
        if next(self._sweeping, _ENDED) is _ENDED:
            self._sweeping = None

    def _stalest(self) -> Generator[None, None, None] | None:
        limit = self._clock.time() - STALE_SECONDS
        stale = [
            (folder.measured_at, index, folder)
            for index, surveyed in enumerate(self._roots)
            for folder in surveyed.root.census.folders()
            if 0 < folder.measured_at < limit and (index, folder.name) not in self._swept
        ]
        if not stale:
            self._swept.clear()
            return None
        _, index, folder = min(stale, key=lambda item: item[0])
        # One that can't be measured now must not hold up the others.
        self._swept.add((index, folder.name))
        return self._measure(self._roots[index], folder)

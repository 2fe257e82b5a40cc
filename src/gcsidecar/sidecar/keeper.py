"""The keeper of one filesystem: one thread that measures it, plans, and executes, and another that surveys its roots.

It has no policy: when to collect stands in the thresholds, what goes in the plan. A filesystem that hangs holds up only
its own keeper.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from gcsidecar.cache.folders.folder import Folder
from gcsidecar.cache.survey import Survey, Surveyed
from gcsidecar.gc.clock import SYSTEM_CLOCK, Clock
from gcsidecar.gc.collector import GarbageCollector
from gcsidecar.gc.errors import CollectionError, MeasurementError
from gcsidecar.gc.pressure import Resource
from gcsidecar.sidecar import journal
from gcsidecar.sidecar.caretaker import RETRY_SECONDS, Caretaker
from gcsidecar.sidecar.gauges import gauges_of
from gcsidecar.sidecar.log import fields
from gcsidecar.sidecar.occasion import Occasion
from gcsidecar.sidecar.status import FilesystemStatus, HistoryStatus, RootStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gcsidecar.cache.regrets import Regret
    from gcsidecar.cache.root import Root
    from gcsidecar.cache.use.verdict import Reaped
    from gcsidecar.gc.collection import Collection, Eviction
    from gcsidecar.gc.disposable import Disposable
    from gcsidecar.gc.planning import Measurements, Plan
    from gcsidecar.gc.pressure import Threshold
    from gcsidecar.gc.source import DisposableSource
    from gcsidecar.sidecar.config import Config
    from gcsidecar.sidecar.metrics import Metrics

_log = logging.getLogger("gcsidecar.keeper")

STOP_SECONDS = 0.6
# Totals of a large root take a while to gather: at most a tenth of the time goes into publishing them.
PUBLISH_COST_FACTOR = 10.0
# At a start nothing goes before all folders are known; but a disk that fills can't wait for them for longer.
FIRST_LOOK_SECONDS = 5.0
# So often at most the figures of the filesystem are renewed in the middle of a collection, which may take minutes.
FIGURES_SECONDS = 1.0
# While something is scarce, leases that were locked are asked so often whether they still are.
LOCKS_SCARCE_SECONDS = 0.1


class Keeper:
    """Keeps one filesystem; started once, and replaced where its roots or the config change.

    Args:
        roots: The roots on it, open; the first in the config first.
        config: The config in force.
        metrics: Told of evictions and collections.
        watched: Whether hints can be relied on.
        lost: Called when a root is not where it was.
        about: What the lock files say of their holder.
        clock: Both clocks.
    """

    def __init__(
        self,
        roots: Sequence[Surveyed],
        config: Config,
        metrics: Metrics,
        *,
        watched: Callable[[], bool],
        lost: Callable[[Root, str], None],
        about: Mapping[str, object],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._surveyed, self._config, self._metrics, self._clock = tuple(roots), config, metrics, clock
        self._stopping = threading.Event()
        self._roots = tuple(one.root for one in roots)
        first = self._roots[0]
        self.status = FilesystemStatus(first.name, first.filesystem.kind, tuple(root.name for root in self._roots))
        self._published: dict[str, tuple[int, RootStatus]] = {}
        self._publish_at = self._figures_at = 0.0
        self._collector = GarbageCollector(
            gauges=gauges_of(self._roots, config, clock),
            clock=clock,
            settle_seconds=first.filesystem.reclaim_seconds,
            stop=self.stopping,
            on_eviction=self._evicted,
        )
        for root in self._roots:
            self._collector.add_source(root.census.source)
        idle = [float(root.spec.max_idle) for root in self._roots if root.spec.max_idle is not None]
        self._begin_at = clock.monotonic() + FIRST_LOOK_SECONDS
        self._occasion = Occasion(self._versions, min(idle, default=None), clock)
        self._patience = journal.Patience(clock)
        self._caretaker = Caretaker(self._roots, about, lost, clock)
        self._survey = Survey(
            roots, watched=watched, publish=self._publish_roots, lost=lost, spec=config.measure, clock=clock
        )
        self._threads = tuple(
            threading.Thread(target=target, name=f"{kind}-{first.name}", daemon=True)
            for kind, target in (("keeper", self._run), ("survey", self._survey.run))
        )

    # What roots need of it

    def add_source(self, source: DisposableSource) -> None:
        """Ask a root for its folders."""
        self._collector.add_source(source)

    def remove_source(self, source: DisposableSource) -> None:
        """Ask it no longer."""
        self._collector.remove_source(source)

    def unregister(self, disposable: Disposable) -> bool:
        """A folder is gone."""
        return self._collector.unregister(disposable)

    def stopping(self) -> bool:
        """Whether it is to end: deletions end early then, and go on after the next start."""
        return self._stopping.is_set()

    def wait(self, seconds: float) -> None:
        """Wait so long, or until it is to end."""
        self._stopping.wait(seconds)

    def wake(self) -> None:
        """There are hints to follow."""
        self._survey.wake()

    def regretted(self, regret: Regret) -> None:
        """A folder came back after its eviction; called from any thread."""
        self._metrics.record_regret(regret)
        journal.regretted(regret)

    def reaped(self, reaped: Reaped) -> None:
        """A lease had ended, and was removed; called from any thread."""
        self._metrics.record_reaped(reaped)
        journal.reaped(reaped)

    # Its life

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    @property
    def dead(self) -> tuple[str, ...]:
        """Threads that have ended although nobody told them to; one that hangs is alive."""
        if self._stopping.is_set():
            return ()
        return tuple(thread.name for thread in self._threads if thread.ident and not thread.is_alive())

    def begin_to_stop(self) -> None:
        """Let both threads end soon."""
        self._stopping.set()
        self._survey.stop()

    def stop(self, timeout_seconds: float) -> bool:
        """Await the end of both threads; False where one hangs (in a call on a dead mount), and is left behind."""
        self.begin_to_stop()
        until = self._clock.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, until - self._clock.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                seconds = self._round()
            except Exception:  # noqa: BLE001  the edge of this thread: whatever it is, the next round goes on
                _log.exception("keeper-failed", extra=fields(filesystem=self.status.name))
                seconds = RETRY_SECONDS
            if any(self._has_news(one) for one in self._surveyed):  # of this thread's doing, or of a history's
                self._survey.wake()
            self._stopping.wait(seconds)
        # Where that hangs so does this thread, and is seen to: then nothing more is begun on its filesystem.
        with contextlib.suppress(OSError):
            os.fstatvfs(self._roots[0].fd)

    # One round

    def _round(self) -> float:
        """Measure, and collect if need be; returns when to measure again, in seconds."""
        self._look_at_clock()
        if self._caretaker.look_after():
            self._survey.wake()
        try:
            measurements, thresholds = self._collector.measure()
            crossed = self._collector.wants(measurements, thresholds)
            if crossed:
                self._look_at_locks()
            self._publish(measurements, thresholds, scarce=bool(crossed))
            if self._knows_folders() and self._occasion.arises(crossed):
                self._plan_and_execute()
        except MeasurementError as error:
            self._unmeasured(error)
            return RETRY_SECONDS
        return self._collector.interval_seconds(measurements, thresholds)

    def _knows_folders(self) -> bool:
        """Whether all folders have been seen: what is the oldest of some need not be that of all."""
        known = all(root.census.complete for root in self._roots)
        return known or self._clock.monotonic() >= self._begin_at

    def _look_at_clock(self) -> None:
        for root in self._roots:
            if jumped := root.look_at_clock():
                journal.clock_jumped(root.name, jumped)

    def _look_at_locks(self) -> None:
        """What a dead holder kept may go at once; the kernel tells nobody that a lock was dropped."""
        for root in self._roots:
            root.finder.look_at_locks(LOCKS_SCARCE_SECONDS)

    def _plan_and_execute(self) -> None:
        plan = self._collector.plan()
        if plan.wants or plan.steps:
            journal.planned(self.status.name, plan, self._patience, dry_run=self._config.dry_run)
        if self._config.dry_run:
            self.status = replace(self.status, planned=len(plan.steps))
            self._occasion.was_fruitless(plan)
            return
        try:
            collection = self._collector.execute(plan)
        except CollectionError as error:
            collection = error.collection
        except MeasurementError as error:
            if error.collection is not None:
                self._record(plan, error.collection)
            raise
        self._record(plan, collection)

    def _record(self, plan: Plan, collection: Collection) -> None:
        self._metrics.record_collection(self.status.name, collection)
        journal.failed(collection.failures)
        journal.kept(collection.kept[len(plan.kept) :], self._patience)
        if collection.evictions:
            self._occasion.was_fruitful()
            journal.collected(self.status.name, collection)
        else:
            self._occasion.was_fruitless(plan)

    def _evicted(self, eviction: Eviction) -> None:
        self._metrics.record_eviction(self.status.name, eviction)
        journal.evicted(eviction)
        folder = eviction.subject
        for root in self._roots:
            if root.name == eviction.group and isinstance(folder, Folder):
                root.chronicle.evicted(eviction, folder)
        if self._clock.monotonic() >= self._figures_at:
            self._survey.wake()
            with contextlib.suppress(MeasurementError):  # the collection itself will say so
                self._publish(*self._collector.measure(), scarce=True)

    def _versions(self) -> tuple[int, ...]:
        return tuple(root.census.version for root in self._roots)

    def _unmeasured(self, error: MeasurementError) -> None:
        if self.status.measure_ok or not self.status.measured_at:
            _log.error("not-measured", extra=fields(filesystem=self.status.name, error=str(error)))
        self.status = replace(self.status, measure_ok=False)

    # What others may know

    def root_statuses(self) -> dict[str, RootStatus]:
        """The last status of each root."""
        return {name: status for name, (_, status) in list(self._published.items())}

    def _publish(self, measurements: Measurements, thresholds: Sequence[Threshold], *, scarce: bool) -> None:
        rates = {
            (reading.resource, reading.group): self._collector.fill_rate(reading.resource, reading.group)
            for reading in measurements.readings
        }
        if not self.status.measured_at:
            self._say_what_is_off(measurements)
        progress = self._survey.progress
        self._figures_at = self._clock.monotonic() + FIGURES_SECONDS
        self.status = replace(
            self.status,
            readings=measurements.readings,
            thresholds=tuple(thresholds),
            rates=rates,
            on_its_way=measurements.on_its_way,
            measured_at=measurements.at,
            measure_ok=True,
            paused=self._collector.paused,
            backed_off=self._collector.backed_off,
            planned=self.status.planned if scarce else 0,
            reclaimed_late_bytes=self._collector.reclaimed_late(Resource.DISK),
            entries_looked_at=progress.entries,
            to_be_measured=progress.waiting,
        )

    def _say_what_is_off(self, measurements: Measurements) -> None:
        wanted = any(self._config.thresholds_of(root.spec).inodes is not None for root in self._roots)
        counted = any(one.resource is Resource.INODES and one.capacity > 0 for one in measurements.readings)
        if wanted and not counted:
            journal.inodes_uncounted(self.status.name, self.status.kind)

    def _publish_roots(self) -> float | None:
        """Publish what is new; returns in how many seconds that may be done, where it may not yet."""
        began = self._clock.monotonic()
        news = [one for one in self._surveyed if self._has_news(one)]
        if not news:
            return None
        if began < self._publish_at:
            return self._publish_at - began
        for one in news:
            self._published[one.root.name] = (self._standing(one), self._root_status(one))
        ended = self._clock.monotonic()
        self._publish_at = ended + (ended - began) * PUBLISH_COST_FACTOR
        return None

    def _has_news(self, one: Surveyed) -> bool:
        published = self._published.get(one.root.name)
        return published is None or published[0] != self._standing(one)

    def _standing(self, one: Surveyed) -> int:
        """Stands for all that the status of a root is made of."""
        root, custody = one.root, one.root.custody
        seen = (root.census.version, one.reconciled_at, one.reconcile_ok, one.problem)
        acts = (custody.active, custody.parked, custody.condemned, self._caretaker.problem(root))
        return hash((*seen, *acts, _history_of(root)))

    def _root_status(self, one: Surveyed) -> RootStatus:
        root, problem = one.root, self._caretaker.problem(one.root)
        return RootStatus(
            root.name,
            self.status.name,
            self._role(root, problem),
            problem or one.problem,
            root.tally(),
            one.reconciled_at,
            one.reconcile_ok,
            len(root.custody.parked),
            root.custody.condemned,
            _history_of(root),
        )

    def _role(self, root: Root, problem: str | None) -> str:
        if root.custody.active:
            return "active"
        if self._config.dry_run:
            return "dry-run"
        return "standby" if problem is None else "blocked"


def _history_of(root: Root) -> HistoryStatus | None:
    recorder = root.chronicle.recorder
    if recorder is None:
        return None
    return HistoryStatus(recorder.healthy, recorder.size_bytes, recorder.dropped, recorder.set_aside)

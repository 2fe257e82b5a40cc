"""The garbage collector: measures, plans, and disposes of what the plan names, one at a time.

Counterpart of `gc.go` in taskcluster-worker's `runtime/gc`. It knows no folders, and it never decides: `plan` does.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from gcsidecar.gc.account import Account
from gcsidecar.gc.clock import SYSTEM_CLOCK, Clock
from gcsidecar.gc.errors import MeasurementError
from gcsidecar.gc.execution import Execution
from gcsidecar.gc.gauges import SpaceGauge
from gcsidecar.gc.memory import HostMemoryGauge
from gcsidecar.gc.ordering import in_order
from gcsidecar.gc.planning import ALL, Measurements, Plan, plan, wants
from gcsidecar.gc.pressure import Gauge, Level, Resource, Threshold
from gcsidecar.gc.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gcsidecar.gc.collection import Collection, Eviction
    from gcsidecar.gc.disposable import Disposable
    from gcsidecar.gc.planning import Candidate, Want
    from gcsidecar.gc.source import DisposableSource


def _never() -> bool:
    return False


def _nobody(_eviction: Eviction) -> None:
    """Nobody listens."""


class GarbageCollector:
    """Disposes of the least recently used resources when disk space, inodes or memory run low.

    All methods may be called from any thread. `register`, `unregister` and the resources' own `acquire` never wait for
    a running disposal; only `unregister` of the very resource that is being disposed of does.

    Args:
        storage_folder: A path on the filesystem whose space is watched.
        minimum_disk_space: Collection starts when fewer bytes are free there; 0 or none is off.
        minimum_memory: Collection starts when fewer bytes of the machine's memory are available; 0 or none is off.
        target_disk_space: Collection stops when so many bytes are free; the minimum, unless given.
        target_memory: The same for memory, in bytes.
        minimum_inodes: Collection starts when fewer inodes are free; 0 or none is off.
        target_inodes: The same for inodes.
        gauges: More to be measured, each with its threshold; for groups, cgroups, or in place of all the above. Two
            that measure the same resource of the same group are a `ValueError` when they are first asked.
        clock: Both clocks.
        statvfs: How the filesystem is measured.
        settle_seconds: How long the filesystem may take to give back what was deleted. Until then what was expected
            counts as on its way, and no more is disposed of for it.
        stop: Asked before each disposal; once it is true, the collection ends early.
        on_eviction: Told of each eviction as it happens, in the collecting thread.

    Raises:
        ValueError: A threshold for disk or inodes without a `storage_folder`, or a target below its minimum.
    """

    def __init__(
        self,
        storage_folder: str | os.PathLike[str] | None = None,
        minimum_disk_space: int | None = None,
        minimum_memory: int | None = None,
        *,
        target_disk_space: int | None = None,
        target_memory: int | None = None,
        minimum_inodes: int | None = None,
        target_inodes: int | None = None,
        gauges: Iterable[Gauge] = (),
        clock: Clock = SYSTEM_CLOCK,
        statvfs: Callable[[str | int], os.statvfs_result] = os.statvfs,
        settle_seconds: float = 0.0,
        stop: Callable[[], bool] = _never,
        on_eviction: Callable[[Eviction], None] = _nobody,
    ) -> None:
        self._clock = clock
        self._stop = stop
        self._on_eviction = on_eviction
        self._registry = Registry(clock)
        self._account = Account(clock, settle_seconds)
        self._collecting = threading.RLock()
        self._pursued: frozenset[tuple[Resource, str | None]] = frozenset()
        self._gauges: list[Gauge] = []
        for resource, minimum, target in (
            (Resource.DISK, minimum_disk_space, target_disk_space),
            (Resource.INODES, minimum_inodes, target_inodes),
        ):
            if minimum:
                if storage_folder is None:
                    raise ValueError(f"a minimum of {resource} needs a storage_folder to be measured; name one")
                where = os.fspath(storage_folder)
                levels = [_levels(resource, minimum, target)]
                self._gauges.append(SpaceGauge(resource, where, levels, clock=clock, statvfs=statvfs))
        if minimum_memory:
            low, high = _levels(Resource.MEMORY, minimum_memory, target_memory)
            self._gauges.append(HostMemoryGauge(low, high, clock=clock))
        self._gauges.extend(gauges)

    def register(self, disposable: Disposable) -> None:
        """Track `disposable`; registering it once more changes nothing. Never waits for a collection."""
        self._registry.register(disposable)

    def unregister(self, disposable: Disposable) -> bool:
        """Track `disposable` no longer.

        While it is being disposed of, this waits for the end of that (unless `dispose` itself calls it).

        One that a source had and has no longer is told of here, too: if it failed, that is forgotten.

        Returns:
            True where it was registered; False where it was not, say since it was disposed of meanwhile.
        """
        return self._registry.unregister(disposable)

    def add_source(self, source: DisposableSource) -> None:
        """Ask `source` for its disposables, too, in place of having each of them registered.

        What was registered with this collector should not come from a source as well. Once more changes nothing.
        """
        self._registry.add_source(source)

    def remove_source(self, source: DisposableSource) -> None:
        """Ask `source` no longer; a running collection may still dispose of what it had chosen."""
        self._registry.remove_source(source)

    @property
    def paused(self) -> bool:
        """Whether collection holds back, since what was disposed of brought much less than it should."""
        return self._account.paused

    @property
    def backed_off(self) -> int:
        """How many disposables failed and wait to be tried again."""
        return self._registry.backed_off

    def fill_rate(self, resource: Resource, group: str | None = None) -> float:
        """How fast a resource filled over the last minute or so, in units a second; 0 while it doesn't."""
        return self._account.rate(resource, group)

    def reclaimed_late(self, resource: Resource) -> int:
        """What disposals have brought later than right after each, so beside `Eviction.reclaimed`; only ever grows.

        Without `settle_seconds` nothing is expected to come late, and it stays 0.
        """
        return self._account.reclaimed_late(resource)

    def measure(self) -> tuple[Measurements, tuple[Threshold, ...]]:
        """Measure all gauges; cheap, as no disposable is asked for anything.

        Raises:
            MeasurementError: One of the gauges could not be measured.
        """
        measurements = self._readings()
        found = zip(self._gauges, measurements.readings, strict=True)
        held = [gauge.threshold(reading) for gauge, reading in found]
        return measurements, tuple(threshold for threshold in held if threshold is not None)

    def wants(self, measurements: Measurements, thresholds: Sequence[Threshold]) -> tuple[Want, ...]:
        """The thresholds that are crossed, and those for which the last collection ended short of the target."""
        return wants(measurements, thresholds, self._pursued)

    def interval_seconds(self, measurements: Measurements, thresholds: Sequence[Threshold]) -> float:
        """When to measure again: before the fastest writer could use up half of any headroom; 20 ms to 5 s."""
        return self._account.interval_seconds(measurements, thresholds)

    def plan(self) -> Plan:
        """Measure, and say what a collection would do now; nothing is disposed of.

        Raises:
            MeasurementError: One of the gauges could not be measured.
        """
        measurements, thresholds = self.measure()
        found = self._with_candidates(measurements, scarce=bool(self.wants(measurements, thresholds)))
        return plan(found, thresholds, measurements.at, pursued=self._pursued)

    def collect(self) -> Collection:
        """Dispose of the least recently used until every crossed threshold's target is met, or nothing more can go.

        Raises:
            MeasurementError: Something could not be measured; nothing (more) was disposed of. What had been done
                before is its `collection`.
            CollectionError: Some disposals raised. All others were made; the group holds every such error, and the
                result as `collection`.
        """
        with self._collecting:
            return self.execute(self.plan())

    def collect_all(self) -> Collection:
        """Dispose of all that isn't in use or kept for another reason, whatever is free; also of what is backed off.

        Raises:
            MeasurementError: As `collect`.
            CollectionError: As `collect`.
        """
        with self._collecting:
            measurements, thresholds = self.measure()
            found = self._with_candidates(measurements, with_backed_off=True)
            due = tuple(replace(candidate, due=ALL) for candidate in in_order(found, thresholds, measurements.at))
            return self.execute(plan(replace(measurements, candidates=due), (), measurements.at))

    def execute(self, chosen: Plan) -> Collection:
        """Carry out a plan: dispose of one, measure again, stop as soon as nothing is scarce any more.

        Raises:
            MeasurementError: As `collect`.
            CollectionError: As `collect`.
        """
        with self._collecting:
            run = Execution(
                chosen,
                self._registry,
                self._account,
                self._readings,
                self._clock,
                self._on_eviction,
                self._all_in_order,
            )
            self._pursued = frozenset()
            try:
                run.run(self._stop)
                self._pursued = run.pursued()
            except MeasurementError as error:
                error.collection = run.collection()
                raise
            return run.result()

    def _readings(self) -> Measurements:
        readings = tuple([gauge.measure() for gauge in self._gauges])
        on_its_way = self._account.saw(readings)
        return Measurements(self._clock.time(), readings, on_its_way=on_its_way)

    def _with_candidates(
        self, measurements: Measurements, *, scarce: bool = True, with_backed_off: bool = False
    ) -> Measurements:
        registry, now = self._registry, measurements.at
        candidates = registry.candidates(now, scarce=scarce, with_backed_off=with_backed_off)
        return replace(measurements, candidates=candidates, sources=registry.sources(with_backed_off=with_backed_off))

    def _all_in_order(self) -> Iterator[Candidate]:
        measurements, thresholds = self.measure()
        return in_order(self._with_candidates(measurements), thresholds, measurements.at)


def _levels(resource: Resource, minimum: int, target: int | None) -> tuple[Level, Level]:
    """Trigger and target; without a target, collection stops where it starts."""
    if target is not None and target < minimum:
        raise ValueError(f"{resource}: the target {target} is below the minimum {minimum}; raise the target")
    return Level(minimum), Level(minimum if target is None else target)

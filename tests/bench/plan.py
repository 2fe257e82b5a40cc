"""What a plan takes in the library: real folders of a real root, sizes made up, beside Python's own `sorted`."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.memory import TREES
from bench.process import forget
from bench.row import Point, Row, peer
from bench.samples import seconds
from gcsidecar.cache.root import Root
from gcsidecar.cache.spec import RootSpec, Seconds
from gcsidecar.cache.walking.sizes import TreeSize
from gcsidecar.gc.collector import GarbageCollector
from gcsidecar.gc.pressure import Measurement, Resource, Threshold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.ground import Ground
    from bench.samples import Samples

GOAL_SECONDS = 0.15
# The goal is for so many folders.
GOAL_FOLDERS = 100_000
RUNS = 15
PLOT = "plan"
FOLDER_BYTES = 1 << 20
# Of what the filesystem holds: where the default thresholds stop, or all of it.
OCCASIONS = {"the default thresholds are crossed": 0.05 / 0.80, "all must go": 1.0}


@dataclass(frozen=True, slots=True)
class _Scarce:
    """A gauge that shows a filesystem that holds nothing but the folders, of which a share has to go."""

    folders: int
    share: float

    def measure(self) -> Measurement:
        """Nothing is free."""
        return Measurement(Resource.DISK, self.folders * FOLDER_BYTES, 0, time.time())

    def threshold(self, _measurement: Measurement) -> Threshold:
        """Crossed, by so much."""
        missing = self.steps * FOLDER_BYTES
        return Threshold(Resource.DISK, missing, missing)

    @property
    def steps(self) -> int:
        """How many have to go."""
        return round(self.folders * self.share)


def rows(ground: Ground) -> Iterator[Row | Point]:
    """By number of folders, and by how many of them have to go."""
    for folders, files in TREES.items():
        root = ground.tree(folders, files)
        forget(root)
        for occasion, share in OCCASIONS.items():
            ours, plain = _plans(root, share)
            yield Point(PLOT, f"gcsidecar, {occasion}", ground.few(folders), ours.median)
            if folders == GOAL_FOLDERS:
                yield _row(ground.few(folders), occasion, ours, plain)
        yield Point(PLOT, "`sorted` of as many pairs", ground.few(folders), plain.median)


def _row(folders: int, occasion: str, ours: Samples, plain: Samples) -> Row:
    return Row(
        f"plan for {folders:,} folders, {occasion}",
        ours.median,
        "s",
        "median",
        GOAL_SECONDS,
        ours.spread(),
        (peer("`sorted` of as many pairs of time and name", plain),),
        "`GarbageCollector.plan()` of the library, in the benchmark's own process: folders as they are found on a "
        f"filesystem in memory, each with a size of {FOLDER_BYTES >> 20} MiB",
        key=f"plan-{'all' if occasion == 'all must go' else 'default'}",
    )


def _plans(path: Path, share: float) -> tuple[Samples, Samples]:
    gauge = _Scarce(sum(1 for _ in path.iterdir()), share)
    collector = GarbageCollector(gauges=[gauge])
    spec = RootSpec(name="bench", path=str(path), min_age=Seconds(0), history=None)
    with contextlib.closing(Root(spec, collector, dry_run=True)) as root:
        for _ in root.reconciling.run():
            pass
        for folder in root.census.folders():
            root.census.measured(folder, TreeSize(FOLDER_BYTES, 10, FOLDER_BYTES, 0.0, 0.0, 10, None, 0))
        taken = [(_plan(collector, gauge.steps), _sorted(root)) for _ in range(RUNS)]
    ours, plain = zip(*taken, strict=True)
    return seconds(ours), seconds(plain)


def _plan(collector: GarbageCollector, expected: int) -> float:
    began = time.perf_counter()
    plan = collector.plan()
    took = time.perf_counter() - began
    assert len(plan.steps) == expected, f"{len(plan.steps)} folders are to go and not {expected}"
    return took


def _sorted(root: Root) -> float:
    pairs = [(folder.last_used(), folder.name) for folder in root.census.folders()]
    began = time.perf_counter()
    sorted(pairs)
    return time.perf_counter() - began

"""The first scan of a root: from the start of the process to where the size of each folder is known, beside `du -s`.

What is held against `du` is all that the files cost: the time to all sizes, less the time to ready on an empty root.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import peers
from bench.process import STATE, forget, sidecar_on
from bench.row import Point, Row, peer
from bench.samples import Samples, seconds, written
from bench.start import start_on_nothing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.ground import Ground

# On two cores or more, and on one.
GOAL_RATIO, GOAL_RATIO_PINNED = 0.9, 1.6
RUNS = 5
# Of those that are only points of the plot.
RUNS_BESIDE = 3
FILES = 1_000_000
# Each of them is a point of the plot, with as many folders for each file as a million files have here.
ALL_FILES = (10_000, 100_000, FILES, 2_000_000)
FOLDERS = {files: files * 12 // 1000 for files in ALL_FILES}
PLOT = "scan"
# So often it is asked whether all is measured, which may have been so for as long; more often would be in its way.
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class _Scan:
    """One start on a root that no sidecar has seen before."""

    seconds: float
    ready_seconds: float
    cpu_seconds: float
    empty_seconds: float


@dataclass(frozen=True, slots=True)
class _Way:
    """With all cores, or pinned to one."""

    name: str
    key: str
    goal_ratio: float
    prefix: tuple[str, ...]
    bench_cores: frozenset[int]  # the questions are asked from these


def rows(ground: Ground) -> Iterator[Row | Point]:
    """By number of files, and by number of cores."""
    for files in ALL_FILES:
        with ground.borrowed(FOLDERS[files], files) as root:
            taken = _taken(root, RUNS if files == FILES else RUNS_BESIDE)
        for way in _ways():
            scans, du = zip(*taken[way.key], strict=True)
            yield Point(PLOT, f"gcsidecar, {way.name}", ground.few(files), _ours(scans).median)
            yield Point(PLOT, f"`du -s`, {way.name}", ground.few(files), _theirs(du).median)
            if files == FILES:
                yield _row(way, scans, du, ground)


def _taken(root: Path, runs: int) -> dict[str, list[tuple[_Scan, peers.Run]]]:
    folders = len([name for name in os.listdir(root) if name != STATE])
    taken: dict[str, list[tuple[_Scan, peers.Run]]] = {way.key: [] for way in _ways()}
    peers.du(root)  # so that all of it is in the kernel's caches
    for _ in range(runs):
        for way in _ways():
            with _staying_on(way.bench_cores):
                taken[way.key].append((_scan(root, folders, way), peers.du(root, way.prefix)))
    forget(root)
    return taken


def _row(way: _Way, scans: Sequence[_Scan], du: Sequence[peers.Run], ground: Ground) -> Row:
    ours = _ours(scans)
    whole, ready, empty = (
        seconds(values).median
        for values in (
            (scan.seconds for scan in scans),
            (scan.ready_seconds for scan in scans),
            (scan.empty_seconds for scan in scans),
        )
    )
    cpu, du_cpu = (seconds(run.cpu_seconds for run in runs).median for runs in (scans, du))
    return Row(
        f"first scan of {ground.few(FILES):,} files in {ground.few(FOLDERS[FILES]):,} folders, warm, {way.name}",
        ours.median,
        "s",
        "median",
        None,
        ours.spread(),
        (peer("`du -s`", _theirs(du)),),
        f"from the start of the process to all sizes on `/metrics` it takes {written(whole, 's')}, to ready "
        f"{written(ready, 's')}; what a start on an empty root takes to ready, {written(empty, 's')}, is taken off the "
        f"former. Processor time {written(cpu, 's')} in all, of `du` {written(du_cpu, 's')}",
        key=way.key,
        goal_ratio=way.goal_ratio,
    )


def _ours(scans: Sequence[_Scan]) -> Samples:
    return seconds(scan.seconds - scan.empty_seconds for scan in scans)


def _theirs(runs: Sequence[peers.Run]) -> Samples:
    return seconds(run.seconds for run in runs)


def _ways() -> Iterator[_Way]:
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        yield _Way(f"{len(cores)} cores", "scan", GOAL_RATIO, (), frozenset(cores))
    first, *others = sorted(cores)
    pinned = ("taskset", "--cpu-list", str(first))
    yield _Way("one core", "scan-one-core", GOAL_RATIO_PINNED, pinned, frozenset(others or cores))


@contextlib.contextmanager
def _staying_on(cores: frozenset[int]) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _scan(root: Path, folders: int, way: _Way) -> _Scan:
    empty = start_on_nothing(way.prefix)
    forget(root)
    began = time.perf_counter()
    with sidecar_on(root, prefix=way.prefix) as sidecar:
        sidecar.await_ready(_POLL_SECONDS)
        ready = time.perf_counter() - began
        sidecar.await_measured(folders, _POLL_SECONDS)
        return _Scan(time.perf_counter() - began, ready, sidecar.cpu_seconds(), empty)

"""A start where a sidecar has been before: from exec to ready, and what it knows of all sizes then, beside `du -s`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import peers
from bench.memory import TREES
from bench.process import STATE, BenchError, measured_sidecar, sidecar_on
from bench.row import Point, Row, peer
from bench.samples import Samples, seconds, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.ground import Ground

GOALS_SECONDS = {1_000: None, 10_000: 0.5, 100_000: 3.0}
RUNS = 5
PLOT = "restart"
# One folder in a hundred gets another file while no sidecar runs.
CHANGED_SHARE = 0.01
CHANGE = bytes(4096)
# What was measured is written down by then.
_NOTED_SECONDS = 5.0
_PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.02
# More often it would be kept from its work by the questions.
_READY_POLL_SECONDS = 0.005
_SIZES = ("gcsidecar_root_size_bytes", "gcsidecar_root_unmeasured_folders")


@dataclass(frozen=True, slots=True)
class _Start:
    """One start, and what was known once it was ready."""

    seconds: float
    wrong_bytes: float
    unmeasured: float


def rows(ground: Ground) -> Iterator[Row | Point]:
    """By number of folders."""
    roots = {folders: ground.tree(folders, files) for folders, files in TREES.items()}
    ground.settle()
    for folders, root in roots.items():
        with measured_sidecar(root):
            time.sleep(_NOTED_SECONDS)
        expected = peers.du_bytes(root)
        taken = [(_start(root, expected), peers.du(root)) for _ in range(RUNS)]
        starts, du = zip(*taken, strict=True)
        yield from _figures(folders, ground, starts, seconds(run.seconds for run in du))
        yield _after_changes(folders, ground, root)


def _figures(folders: int, ground: Ground, starts: Sequence[_Start], du: Samples) -> Iterator[Row | Point]:
    ours, count = seconds(start.seconds for start in starts), ground.few(folders)
    what = f"restart with {count:,} folders of {ground.few(TREES[folders]):,} files in all"
    wrong = [start.wrong_bytes for start in starts]
    yield Row(
        f"{what}: start to ready",
        ours.median,
        "s",
        "median",
        GOALS_SECONDS[folders],
        ours.spread(),
        (peer("`du -s` of the same", du),),
        f"from exec to `/readyz`, asked every {_READY_POLL_SECONDS * 1e3:.0f} ms; nothing has changed since the "
        "sidecar before was ended by SIGTERM",
        key=f"restart-{folders}",
    )
    yield Row(
        f"{what}: by how much all sizes together are wrong when it is ready",
        max(wrong),
        "B",
        "worst",
        0.0,
        f"{written(min(wrong), 'B')} to {written(max(wrong), 'B')}, n={len(wrong)}",
        remark="what `gcsidecar_root_size_bytes` shows at once after ready, held against `du -s --block-size=1`; at "
        f"most {max(start.unmeasured for start in starts):,.0f} folders had no size then",
        key=f"restart-right-{folders}",
    )
    yield Point(PLOT, "gcsidecar, to ready", count, ours.median)
    yield Point(PLOT, "`du -s` of the same", count, du.median)


def _start(root: Path, expected: int) -> _Start:
    began = time.perf_counter()
    with sidecar_on(root) as sidecar:
        sidecar.await_ready(_READY_POLL_SECONDS)
        took = time.perf_counter() - began
        known, unmeasured = sidecar.metrics(*_SIZES)
        return _Start(took, abs(known - expected), unmeasured)


def _after_changes(folders: int, ground: Ground, root: Path) -> Row:
    """How long it takes until all is right again where some folders have changed meanwhile."""
    changed = sorted(path for path in root.iterdir() if path.name != STATE)[:: round(1 / CHANGED_SHARE)]
    taken = seconds(_until_right(root, changed, f"changed-{run}") for run in range(RUNS))
    for folder in changed:
        for file in folder.glob("changed-*"):
            file.unlink()
    return Row(
        f"restart with {ground.few(folders):,} folders, {len(changed):,} of them changed: start to all sizes right",
        taken.median,
        "s",
        "median",
        None,
        taken.spread(),
        remark="each of those has got another file while no sidecar ran; it is ready long before",
        key=f"restart-changed-{folders}",
    )


def _until_right(root: Path, changed: Sequence[Path], file: str) -> float:
    for folder in changed:
        (folder / file).write_bytes(CHANGE)
    expected = [float(peers.du_bytes(root)), 0.0]
    began = time.perf_counter()
    with sidecar_on(root) as sidecar:
        sidecar.await_ready()
        while (found := sidecar.metrics(*_SIZES)) != expected:
            if time.perf_counter() - began > _PATIENCE_SECONDS:
                raise BenchError(f"sizes and unmeasured folders are {found} and not {expected}")
            time.sleep(_POLL_SECONDS)
        took = time.perf_counter() - began
        time.sleep(_NOTED_SECONDS)
        return took

"""What the process takes of a processor while nothing happens, by number of folders; beside it, `du -s` once a minute.

Sidecars on roots of all sizes rest at the same time: each takes so little that none is in another's way.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from bench import peers
from bench.memory import TREES
from bench.process import Sidecar, measured_sidecar
from bench.row import Peer, Point, Row
from bench.samples import Samples, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bench.ground import Ground

GOALS_PERCENT = {1_000: 0.2, 10_000: 0.3, 100_000: None}
# Beside this one `du` runs, and costs at least so many times as much.
BESIDE_DU = 10_000
GOAL_RATIO = 0.01
# Longer than a reconcile is apart from the next, so that each window has one in it; five minutes in all.
WINDOW_SECONDS = 61.0
WINDOWS = 5
PLOT = "rest"
# Each reconcile looks once more at what has changed in the two minutes before it: not at rest yet.
_SETTLE_SECONDS = 125.0


def rows(ground: Ground) -> Iterator[Row | Point]:
    """CPU at rest."""
    roots = {folders: ground.tree(folders, files) for folders, files in TREES.items()}
    window_seconds = ground.few(round(WINDOW_SECONDS))
    with contextlib.ExitStack() as stack:
        sidecars = {folders: stack.enter_context(measured_sidecar(root)) for folders, root in roots.items()}
        time.sleep(ground.few(round(_SETTLE_SECONDS)))
        windows = [_window(sidecars, window_seconds, roots[BESIDE_DU]) for _ in range(WINDOWS)]
    du = seconds(run.cpu_seconds for _, run in windows)
    for folders in TREES:
        spent = seconds(used[folders] for used, _ in windows)
        shares = Samples(tuple(100.0 * value / window_seconds for value in spent.values), "%")
        yield _share(folders, ground, shares, window_seconds)
        yield Point(PLOT, "gcsidecar", ground.few(folders), shares.median)
        if folders == BESIDE_DU:
            yield _beside_du(ground, spent, du, window_seconds)
    yield Point(PLOT, "`du -s` once a minute", ground.few(BESIDE_DU), 100.0 * du.median / window_seconds)


def _window(sidecars: Mapping[int, Sidecar], length_seconds: float, root: Path) -> tuple[dict[int, float], peers.Run]:
    """What each sidecar has run meanwhile, and one run of `du`, in seconds."""
    until = time.monotonic() + length_seconds
    before = {folders: sidecar.cpu_seconds() for folders, sidecar in sidecars.items()}
    du = peers.du(root)
    time.sleep(max(0.0, until - time.monotonic()))
    return {folders: sidecar.cpu_seconds() - before[folders] for folders, sidecar in sidecars.items()}, du


def _share(folders: int, ground: Ground, shares: Samples, window_seconds: float) -> Row:
    return Row(
        f"at rest with {ground.few(folders):,} folders of {ground.few(TREES[folders]):,} files in all, of one core",
        shares.median,
        "%",
        "median",
        GOALS_PERCENT[folders],
        shares.spread(),
        remark=f"run time of the process and its children, as the kernel's scheduler has it, in {WINDOWS} windows of "
        f"{window_seconds:.0f} s that follow on each other; each has a reconcile in it",
        key=f"rest-{folders}",
    )


def _beside_du(ground: Ground, ours: Samples, du: Samples, window_seconds: float) -> Row:
    whole = seconds([sum(ours.values)])
    return Row(
        f"at rest with {ground.few(BESIDE_DU):,} folders of {ground.few(TREES[BESIDE_DU]):,} files in all, for "
        f"{window_seconds * WINDOWS / 60:.2g} minutes",
        whole.median,
        "s",
        "sum",
        None,
        f"{ours.spread()} a minute",
        (Peer("`du -s` once a minute", sum(du.values), spread=f"{du.spread()} a minute"),),
        "processor time; `du` reads the same files in the same minutes, all of it from the kernel's caches",
        key="rest-beside-du",
        goal_ratio=GOAL_RATIO,
    )

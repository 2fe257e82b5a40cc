"""What the process and its children have in memory, by number of folders; beside it, bare imports."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from bench.process import Process, forget, running, sidecar_on
from bench.row import Point, Row, peer
from bench.samples import sizes, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.ground import Ground
    from bench.samples import Samples

MIB = 2**20
# So many folders, and files in them.
TREES = {1_000: 100_000, 10_000: 1_000_000, 100_000: 1_000_000}
SMALLEST = 1_000
GOALS_BYTES = {1_000: 45 * MIB, 10_000: 52 * MIB, 100_000: 115 * MIB}
RUNS = 5
SCRAPES = 20
PLOT = "memory"
# The layers of the four packages that a sidecar of this kind can't do without.
FOUR_PACKAGES = (
    "import prometheus_client, tornado.http1connection, tornado.iostream, watchdog.observers.inotify_c, yaml, asyncio"
)
_SETTLE_SECONDS = 2.0
_POLL_SECONDS = 0.05


def rows(ground: Ground) -> Iterator[Row | Point]:
    """RSS with so many folders."""
    bare, packages = ([_python(code) for _ in range(RUNS)] for code in ("pass", FOUR_PACKAGES))
    for folders, files in TREES.items():
        root = ground.tree(folders, files)
        taken = (_ours(root, ground.few(folders)) for _ in range(RUNS))
        settled, peaks = (sizes(values) for values in zip(*taken, strict=True))
        yield _row(folders, ground, settled, peaks, (sizes(bare), sizes(packages)))
        yield Point(PLOT, "gcsidecar", ground.few(folders), settled.median)
        yield Point(PLOT, "gcsidecar, most during its first scan", ground.few(folders), peaks.median)
        yield Point(PLOT, "Python that imports the four packages", ground.few(folders), sizes(packages).median)


def _row(folders: int, ground: Ground, ours: Samples, peaks: Samples, beside: Sequence[Samples]) -> Row:
    names = ("bare Python", "Python that imports the four packages")
    return Row(
        f"RSS with {ground.few(folders):,} folders",
        ours.median,
        "B",
        "median",
        GOALS_BYTES[folders],
        ours.spread(),
        tuple(peer(name, values) for name, values in zip(names, beside, strict=True)),
        f"VmRSS of the process and its children after its first scan, once all folders are measured and {SCRAPES} "
        f"scrapes were answered; the most that was seen during that scan, children included, is "
        f"{written(peaks.median, 'B')}",
        key=f"memory-{folders}",
    )


def _ours(root: Path, folders: int) -> tuple[int, int]:
    """What it has in the end, and the most that was seen on the way."""
    forget(root)
    most = 0
    with sidecar_on(root) as sidecar:
        sidecar.await_ready()
        while sidecar.metrics("gcsidecar_root_folders", "gcsidecar_root_unmeasured_folders") != [folders, 0.0]:
            sidecar.check()
            most = max(most, sidecar.rss_bytes())
            time.sleep(_POLL_SECONDS)
        for _ in range(SCRAPES):
            sidecar.get("/metrics")
        time.sleep(_SETTLE_SECONDS)
        settled = sidecar.rss_bytes()
        return settled, max(most, settled)


def _python(code: str) -> int:
    process = Process((sys.executable, "-c", f"{code}\nimport time; time.sleep(60)"))
    with running(process):
        time.sleep(_SETTLE_SECONDS)
        return process.rss_bytes()

"""What the process has in memory with 1,000 folders, all measured and after some scrapes; beside it, bare imports."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from bench.process import Process, measured_sidecar, running
from bench.row import Peer, Row
from bench.samples import sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

GOAL_BYTES = 45 * 2**20
FOLDERS = 1000
RUNS = 3
SCRAPES = 20
# The layers of the four packages that a sidecar of this kind can't do without.
FOUR_PACKAGES = (
    "import prometheus_client, tornado.http1connection, tornado.iostream, watchdog.observers.inotify_c, yaml, asyncio"
)
_SETTLE_SECONDS = 2.0


def rows() -> Iterator[Row]:
    """RSS with so many folders."""
    taken = [(_ours(), _python("pass"), _python(FOUR_PACKAGES)) for _ in range(RUNS)]
    ours, bare, packages = (sizes(values) for values in zip(*taken, strict=True))
    yield Row(
        f"RSS with {FOLDERS:,} folders",
        ours.median,
        "B",
        "median",
        GOAL_BYTES,
        ours.spread(),
        (Peer("bare Python", bare.median), Peer("Python that imports the four packages", packages.median)),
        f"VmRSS once all folders are measured and {SCRAPES} scrapes were answered",
    )


def _ours() -> int:
    with measured_sidecar(FOLDERS) as (sidecar, _):
        for _ in range(SCRAPES):
            sidecar.get("/metrics")
        time.sleep(_SETTLE_SECONDS)
        return sidecar.rss_bytes()


def _python(code: str) -> int:
    process = Process((sys.executable, "-c", f"{code}\nimport time; time.sleep(60)"))
    with running(process):
        time.sleep(_SETTLE_SECONDS)
        return process.rss_bytes()

"""What the process takes of a processor while nothing happens, with 1,000 folders that are all measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.process import Sidecar, measured_sidecar
from bench.row import Row
from bench.samples import Samples

if TYPE_CHECKING:
    from collections.abc import Iterator

GOAL_PERCENT = 0.2
FOLDERS = 1000
# Longer than a reconcile is apart from the next, so that each window has one in it.
WINDOW_SECONDS = 62.0
WINDOWS = 3
# Each reconcile looks once more at what has changed in the two minutes before it: not at rest yet.
_SETTLE_SECONDS = 125.0


def rows() -> Iterator[Row]:
    """CPU at rest."""
    with measured_sidecar(FOLDERS) as (sidecar, _):
        time.sleep(_SETTLE_SECONDS)
        taken = Samples(tuple(_window(sidecar) for _ in range(WINDOWS)), "%")
    yield Row(
        f"at rest with {FOLDERS:,} folders, of one core, windows of {WINDOW_SECONDS:.0f} s",
        taken.median,
        "%",
        "median",
        GOAL_PERCENT,
        taken.spread(),
        remark="run time of all its threads, as the kernel's scheduler has it; each window has a reconcile in it",
    )


def _window(sidecar: Sidecar) -> float:
    """The share of one core, in percent."""
    before, began = sidecar.cpu_seconds(), time.monotonic()
    time.sleep(WINDOW_SECONDS)
    return 100.0 * (sidecar.cpu_seconds() - before) / (time.monotonic() - began)

"""From the start of the process to `/readyz` saying yes, on an empty root; beside it, Python that only imports."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from bench.memory import FOUR_PACKAGES
from bench.places import directory
from bench.process import sidecar_on
from bench.row import Row, peer
from bench.samples import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.ground import Ground

GOAL_SECONDS = 0.4
RUNS = 15


def rows(ground: Ground) -> Iterator[Row]:
    """Start to ready."""
    start_on_nothing()  # so that all is compiled and in the page cache
    _python(FOUR_PACKAGES)
    taken = [(start_on_nothing(), _python("pass"), _python(FOUR_PACKAGES)) for _ in range(ground.few(RUNS))]
    ours, bare, packages = (seconds(values) for values in zip(*taken, strict=True))
    yield Row(
        "start to ready, empty root",
        ours.median,
        "s",
        "median",
        GOAL_SECONDS,
        ours.spread(),
        (peer("bare Python", bare), peer("Python that imports the four packages", packages)),
        "by `/readyz`, asked every millisecond or so; modules are compiled beforehand, as an installation has them",
        key="start",
    )


def start_on_nothing(prefix: Sequence[str] = ()) -> float:
    """The seconds to ready where there is nothing to look at."""
    with directory() as path:
        root = path / "root"
        root.mkdir()
        began = time.perf_counter()
        with sidecar_on(root, prefix=prefix) as sidecar:
            sidecar.await_ready()
            return time.perf_counter() - began


def _python(code: str) -> float:
    began = time.perf_counter()
    subprocess.run((sys.executable, "-c", code), check=True)
    return time.perf_counter() - began

"""From the start of the process to `/readyz` saying yes, on an empty root; beside it, Python that only imports."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from bench.memory import FOUR_PACKAGES
from bench.places import config, directory
from bench.process import Sidecar, running
from bench.row import Peer, Row
from bench.samples import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOAL_SECONDS = 0.4
RUNS = 15


def rows() -> Iterator[Row]:
    """Start to ready."""
    _start_once()  # so that all is compiled and in the page cache
    _python(FOUR_PACKAGES)
    taken = [(_start_once(), _python("pass"), _python(FOUR_PACKAGES)) for _ in range(RUNS)]
    ours, bare, packages = (seconds(values) for values in zip(*taken, strict=True))
    yield Row(
        "start to ready, empty root",
        ours.median,
        "s",
        "median",
        GOAL_SECONDS,
        ours.spread(),
        (Peer("bare Python", bare.median), Peer("Python that imports the four packages", packages.median)),
        "by `/readyz`, asked every millisecond or so; modules are compiled beforehand, as an installation has them",
    )


def _start_once() -> float:
    with directory() as path:
        root = path / "root"
        root.mkdir()
        return _start(path / "config.yaml", root)


def _start(file: Path, root: Path) -> float:
    port = config(file, root)
    began = time.perf_counter()
    sidecar = Sidecar(file, port)
    with running(sidecar):
        sidecar.await_ready()
        return time.perf_counter() - began


def _python(code: str) -> float:
    began = time.perf_counter()
    subprocess.run((sys.executable, "-c", code), check=True)
    return time.perf_counter() - began

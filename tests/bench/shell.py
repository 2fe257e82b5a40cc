"""What `gcsidecar lease run` adds to a command; beside it, the command alone, and Python that does nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from bench.places import directory
from bench.process import COMMAND
from bench.row import Row, peer
from bench.samples import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.ground import Ground

GOAL_SECONDS = 0.06
RUNS = 40
TRUE = shutil.which("true") or "true"


def rows(ground: Ground) -> Iterator[Row]:
    """`lease run true` over `true`."""
    with directory() as path:
        folder = str(path / "folder")
        commands = (
            (COMMAND, "lease", "run", folder, "--", TRUE),
            (TRUE,),
            (shutil.which("flock") or "flock", "-s", folder, TRUE),
            (sys.executable, "-c", "pass"),
        )
        _once(commands[0])  # so that all is compiled, and the folder is there
        taken = [tuple(map(_once, commands)) for _ in range(ground.few(RUNS))]
    added = seconds(ours - alone for ours, alone, *_ in taken)
    _, alone, flock, bare = (seconds(values) for values in zip(*taken, strict=True))
    peers = {"`true`": alone, "`flock -s FOLDER true`": flock, "bare Python": bare}
    yield Row(
        "`lease run FOLDER -- true`, over `true`",
        added.median,
        "s",
        "median",
        GOAL_SECONDS,
        added.spread(),
        tuple(peer(name, beside) for name, beside in peers.items()),
        "each run beside one of `true` alone, whose time is taken off; modules are compiled beforehand",
        key="lease-run",
    )


def _once(command: tuple[str, ...]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began

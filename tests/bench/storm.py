"""What the sidecar's processors pay for a client that writes many files deep in a folder that it has leased.

Counted is all that it runs from the lease on until it shows the right size after the lease's end.
"""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING

from bench import peers
from bench.places import fill, plant_folder
from bench.process import BenchError, Process, measured_sidecar, running
from bench.row import Row, peer
from bench.samples import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.ground import Ground
    from bench.process import Sidecar

GOAL_SECONDS = 0.005
RUNS = 5
FILES = 100_000
# Deep in the folder, in so many directories, over so long: as fast as an archive is unpacked.
DEPTH, DIRECTORIES = "a/b/c/d", 100
STORM_SECONDS = 10.0
# Around it are so many others.
FOLDERS = 1_000
# The goal is for so many files.
EACH = 1_000
_PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.1
_SETTLE_SECONDS = 3.0
_MEMORY_BYTES = 8 << 30
_SIZES = ("gcsidecar_root_size_bytes", "gcsidecar_root_unmeasured_folders")


def rows(ground: Ground) -> Iterator[Row]:
    """A storm beside the sidecar, one beside a watcher of the whole tree, and `du` of what was written, in turn."""
    files = ground.few(FILES, least=DIRECTORIES)
    with ground.memory(_MEMORY_BYTES) as place:
        root, other = place / "root", place / "other"
        root.mkdir()
        fill(root, ground.few(FOLDERS))
        with measured_sidecar(root) as sidecar:
            taken = [(_beside_sidecar(sidecar, root, files), *_beside_watcher(other, files)) for _ in range(RUNS)]
    ours, watcher, du = (seconds(value * EACH / files for value in values) for values in zip(*taken, strict=True))
    yield Row(
        f"{files:,} files written deep in a leased folder: CPU per {EACH:,} files",
        ours.median,
        "s",
        "median",
        GOAL_SECONDS,
        ours.spread(),
        (
            peer("watchdog's observer on the same tree, recursive", watcher),
            peer("`du -s` of the folder, once", du),
        ),
        f"{files // DIRECTORIES:,} files in each of {DIRECTORIES} directories below `{DEPTH}/`, in {STORM_SECONDS:.0f} "
        f"s, with {ground.few(FOLDERS):,} other folders at rest; counted until the size is right after the lease's end",
        key="storm",
    )


def _beside_sidecar(sidecar: Sidecar, root: Path, files: int) -> float:
    """What the sidecar has run for it, in seconds."""
    known = sidecar.metric("gcsidecar_root_size_bytes")
    before = sidecar.cpu_seconds()
    folder = root / "storm"
    folder.mkdir()
    lease = folder / ".lease"
    lease.touch()
    _write(folder, files)
    lease.unlink()
    _await_size(sidecar, known + peers.du_bytes(folder))
    spent = sidecar.cpu_seconds() - before
    shutil.rmtree(folder)
    _await_size(sidecar, known)
    return spent


def _beside_watcher(folder: Path, files: int) -> tuple[float, float]:
    """What a watcher has run for it, and `du` afterwards, in seconds."""
    folder.mkdir()
    watcher = Process((sys.executable, "-m", "bench.plain_watcher", str(folder)))
    with running(watcher):
        time.sleep(_SETTLE_SECONDS)
        before = watcher.cpu_seconds()
        _write(folder, files)
        time.sleep(_SETTLE_SECONDS)
        spent = watcher.cpu_seconds() - before
    du = peers.du(folder).cpu_seconds
    shutil.rmtree(folder)
    return spent, du


def _write(folder: Path, files: int) -> None:
    deep = folder / DEPTH
    deep.mkdir(parents=True)
    began, length_seconds = time.perf_counter(), STORM_SECONDS * files / FILES
    for number in range(DIRECTORIES):
        plant_folder(deep / f"{number:04}", files // DIRECTORIES)
        time.sleep(max(0.0, began + length_seconds * (number + 1) / DIRECTORIES - time.perf_counter()))


def _await_size(sidecar: Sidecar, size_bytes: float) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while (found := sidecar.metrics(*_SIZES)) != [size_bytes, 0.0]:
        if time.monotonic() > until:
            raise BenchError(f"sizes and unmeasured folders are {found} and not {size_bytes:.0f} and 0")
        time.sleep(_POLL_SECONDS)

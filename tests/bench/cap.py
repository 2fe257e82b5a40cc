"""A root with a budget of its own, one leased folder of which grows deep inside: how long it is over, and by how much.

What the root takes is what its filesystem has in use, as nothing else is on it.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from typing import TYPE_CHECKING

from bench.places import fill, plant
from bench.process import BenchError, sidecar_on
from bench.row import Peer, Row
from bench.samples import seconds, sizes, written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.ground import Ground
    from bench.samples import Samples

GOAL_SECONDS = 10.0
# The filesystem is so large that its own thresholds are not crossed.
SIZE_BYTES = 6 << 30
# So much is free below the cap, and so much may go.
ROOM_BYTES = 224 << 20
IDLE_FOLDERS, IDLE_BYTES = 40, 20 << 20
# The leased folder grows by so much, at each of these rates in bytes a second.
GROWN_BYTES, FILE_BYTES = 600 << 20, 1 << 20
RATES = (50e6, 200e6, math.inf)
# How many files it has before, and so many runs at each rate.
FOLDERS = {0: 2, 1_000_000: 2}
DEPTH = "a/b/c/d"
_SETTLE_SECONDS = 3.0
_POLL_SECONDS = 0.005
_PATIENCE_SECONDS = 90.0


def rows(ground: Ground) -> Iterator[Row]:
    """By how many files are in the folder already, all rates in one."""
    for files, runs in FOLDERS.items():
        taken = []
        for _, rate in itertools.product(range(ground.few(runs)), RATES):
            with ground.memory(SIZE_BYTES) as root:
                taken.append(_run(root, ground.few(files, least=0), rate))
        over_seconds, over_bytes = zip(*taken, strict=True)
        yield _row(ground.few(files, least=0), seconds(over_seconds), sizes(over_bytes))


def _row(files: int, longest: Samples, most: Samples) -> Row:
    return Row(
        f"`max_size`, and a leased folder of {files:,} files grows by {GROWN_BYTES >> 20} MiB within: over the cap",
        max(longest.values),
        "s",
        "worst",
        GOAL_SECONDS,
        f"median {written(longest.median, 's')}, {longest.spread()}; by at most {written(max(most.values), 'B')}",
        (Peer("kubelet looks at `sizeLimit` every", 10.0, measured=False),),
        f"files of {FILE_BYTES >> 20} MiB in `{DEPTH}/`, at 50 MB/s, 200 MB/s and full speed in turn, from "
        f"{ROOM_BYTES >> 20} MiB below the cap; {IDLE_FOLDERS} idle folders of {IDLE_BYTES >> 20} MiB may go. What the "
        f"filesystem has in use is asked after each file, and then every {_POLL_SECONDS * 1e3:.0f} ms",
        key=f"cap-{files}",
    )


def _run(root: Path, files: int, rate: float) -> tuple[float, float]:
    """How long at a stretch it was over the cap, and how far."""
    fill(root, IDLE_FOLDERS, files=1, file_bytes=IDLE_BYTES)
    folder = root / "growing"
    folder.mkdir()
    if files:
        plant(folder / "before", max(1, files // 100), files)
    (folder / DEPTH).mkdir(parents=True)
    cap_bytes = used_bytes(root) + ROOM_BYTES
    with sidecar_on(root, min_age="0s", max_size=cap_bytes) as sidecar:
        sidecar.await_ready()
        sidecar.await_measured(IDLE_FOLDERS + 1)
        (folder / ".lease").touch()
        time.sleep(_SETTLE_SECONDS)
        watch = _Overrun(root, cap_bytes)
        for _ in _writes(folder / DEPTH, rate):
            watch.look()
        until = time.monotonic() + _PATIENCE_SECONDS
        while watch.look():
            if time.monotonic() > until:
                raise BenchError(f"still over the cap after {_PATIENCE_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)
    return watch.longest_seconds, watch.most_bytes


def used_bytes(root: Path) -> int:
    """What the filesystem of a root has in use."""
    found = os.statvfs(root)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


class _Overrun:
    """How long what is in use was above the cap."""

    def __init__(self, root: Path, cap_bytes: int) -> None:
        self._root, self._cap_bytes = root, cap_bytes
        self._since: float | None = None
        self.longest_seconds = 0.0
        self.most_bytes = 0.0

    def look(self) -> bool:
        """Whether it is above it now."""
        now, over = time.monotonic(), used_bytes(self._root) - self._cap_bytes
        self.most_bytes = max(self.most_bytes, over)
        if over <= 0:
            self._since = None
        elif self._since is None:
            self._since = now
        else:
            self.longest_seconds = max(self.longest_seconds, now - self._since)
        return over > 0


def _writes(folder: Path, rate: float) -> Iterator[None]:
    content, due = bytes(FILE_BYTES), time.perf_counter()
    for number in range(GROWN_BYTES // FILE_BYTES):
        (folder / f"file-{number:04}").write_bytes(content)
        due += FILE_BYTES / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        yield

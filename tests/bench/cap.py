"""A root with a budget of its own, one leased folder of which grows deep inside: how long it is over, and by how much.

What the root takes is what its filesystem has in use, as nothing else is on it.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from typing import TYPE_CHECKING

from bench.places import fill
from bench.process import BenchError, sidecar_on
from bench.row import Peer, Row
from bench.samples import seconds, sizes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.ground import Ground

GOAL_SECONDS = 10.0
RUNS = 3
# The filesystem is so large that its own thresholds are not crossed.
SIZE_BYTES, CAP_BYTES = 4 << 30, 1 << 30
# So many may go; the leased one grows to so much, at each of these rates in bytes a second.
IDLE_FOLDERS, IDLE_BYTES = 40, 20 << 20
GROWN_BYTES, FILE_BYTES = 600 << 20, 1 << 20
RATES = (50e6, 200e6, math.inf)
DEPTH = "a/b/c/d"
_SETTLE_SECONDS = 3.0
_POLL_SECONDS = 0.005
_PATIENCE_SECONDS = 90.0


def rows(ground: Ground) -> Iterator[Row]:
    """By rate, all in one."""
    taken = []
    for _, rate in itertools.product(range(ground.few(RUNS)), RATES):
        with ground.memory(SIZE_BYTES) as root:
            taken.append(_run(root, rate))
    over_seconds, over_bytes = zip(*taken, strict=True)
    longest, most = seconds(over_seconds), sizes(over_bytes)
    what = f"`max_size: {CAP_BYTES >> 30}GiB`, and a leased folder grows by {GROWN_BYTES >> 20} MiB deep inside"
    yield Row(
        f"{what}: longest over the cap",
        max(longest.values),
        "s",
        "worst",
        GOAL_SECONDS,
        f"median {longest.median:.3g} s, {longest.spread()}",
        (Peer("kubelet looks at `sizeLimit` every", 10.0, measured=False),),
        f"files of {FILE_BYTES >> 20} MiB in `{DEPTH}/`, at 50 MB/s, 200 MB/s and full speed in turn; {IDLE_FOLDERS} "
        f"idle folders of {IDLE_BYTES >> 20} MiB may go. What the filesystem has in use is asked after each file, and "
        f"then every {_POLL_SECONDS * 1e3:.0f} ms",
        key="cap-seconds",
    )
    yield Row(
        f"{what}: most over the cap",
        max(most.values),
        "B",
        "worst",
        None,
        most.spread(),
        remark="of the same runs; at full speed all of it is written before anything can go",
        key="cap-bytes",
    )


def _run(root: Path, rate: float) -> tuple[float, float]:
    """How long at a stretch it was over the cap, and how far."""
    fill(root, IDLE_FOLDERS, files=1, file_bytes=IDLE_BYTES)
    folder = root / "growing"
    (folder / DEPTH).mkdir(parents=True)
    with sidecar_on(root, min_age="0s", max_size=CAP_BYTES) as sidecar:
        sidecar.await_ready()
        sidecar.await_measured(IDLE_FOLDERS + 1)
        (folder / ".lease").touch()
        time.sleep(_SETTLE_SECONDS)
        watch = _Overrun(root)
        for _ in _writes(folder / DEPTH, rate):
            watch.look()
        until = time.monotonic() + _PATIENCE_SECONDS
        while watch.look():
            if time.monotonic() > until:
                raise BenchError(f"still over the cap after {_PATIENCE_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)
    return watch.longest_seconds, watch.most_bytes


class _Overrun:
    """How long what is in use was above the cap."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._since: float | None = None
        self.longest_seconds = 0.0
        self.most_bytes = 0.0

    def look(self) -> bool:
        """Whether it is above it now."""
        now, found = time.monotonic(), os.statvfs(self._root)
        over = (found.f_blocks - found.f_bfree) * found.f_frsize - CAP_BYTES
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

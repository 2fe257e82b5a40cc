"""The decision on one folder, on a filesystem in memory: from opening it to where there is no way back (steps 1 to 6).

The sidecar's own code decides, in this process; the steps that it tells of say when a decision began and when it fell.
What the deletion takes is not in it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.places import fill_folder
from bench.row import LeftOut, Row
from bench.samples import seconds
from gcsidecar.cache.root import Root
from gcsidecar.cache.spec import RootSpec, Seconds
from gcsidecar.cache.use.leasefile import boot_id
from gcsidecar.contract import Holder
from gcsidecar.gc.collector import GarbageCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.ground import Ground
    from bench.samples import Samples

GOAL_SECONDS = 200e-6
FOLDERS = 1000
_MEMORY = "/dev/shm"


def rows(ground: Ground) -> Iterator[Row | LeftOut]:
    """Of folders without a lease, and with one whose holder is dead."""
    what = "decision on one folder (steps 1 to 6), tmpfs"
    if not os.path.isdir(_MEMORY):
        yield LeftOut(what, f"there is no {_MEMORY}")
        return
    kinds = (("no lease", "unleased", _nothing), ("a dead lease, which is reaped", "dead", _leave_a_lease))
    for kind, key, prepare in kinds:
        taken = _decisions(prepare, ground.few(FOLDERS))
        yield Row(
            f"{what}, {kind}",
            taken.median,
            "s",
            "median",
            GOAL_SECONDS,
            f"p99 {taken.quantile(0.99) * 1e6:.3g} us, {taken.spread()}",
            remark=f"{ground.few(FOLDERS):,} folders in /dev/shm; the deletion is not in it",
            key=f"decision-{key}",
        )


def _decisions(prepare: Callable[[Path], object], folders: int) -> Samples:
    watch = _Stopwatch()
    with tempfile.TemporaryDirectory(prefix="gcsidecar-bench-", dir=_MEMORY) as path:
        for number in range(folders):
            fill_folder(Path(path) / f"project-{number:06}", files=3, file_bytes=4096)
        spec = RootSpec(name="bench", path=path, min_age=Seconds(0), history=None)
        root = Root(spec, GarbageCollector(), step=watch.step)
        with contextlib.closing(root):
            root.custody.activate({})
            for _ in root.reconciling.run():
                pass
            for folder in root.census.folders():
                prepare(Path(path) / folder.name)  # a moment ago, so that the decision is the first to see it
                folder.dispose()
    return seconds(watch.taken)


class _Stopwatch:
    """Hears of the protocol's steps, each before it is made."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self._began = 0.0

    def step(self, name: str) -> None:
        """One of them."""
        now = time.perf_counter()
        if name == "open":
            self._began = now
        elif name == "delete":
            self.taken.append(now - self._began)


def _nothing(_folder: Path) -> None:
    """There is no lease."""


def _leave_a_lease(folder: Path) -> None:
    """As a client does that is killed: it says that it is locked, and nobody holds the lock."""
    holder = Holder(
        pid=os.getpid(),
        started=1,
        boot_id=boot_id() or "",
        device=folder.stat().st_dev,
        pid_namespace=1,
        mount_namespace=1,
        host="bench",
        purpose="decision",
        at=time.time(),
        ttl_seconds=None,
        locked=True,
    )
    (folder / ".lease.bench").write_bytes(holder.encoded())

"""From a threshold crossed to the first bytes freed, on a filesystem in memory that a client fills at various speeds.

What a client sees is timed: from the first `statvfs` that shows less free than the trigger, right after the write that
made it so, to the first one that shows more free than before. It writes nothing between the two, as that would hide the
rise.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import shutil
import time
from typing import TYPE_CHECKING

from bench.places import IS_ROOT, config, directory, tmpfs
from bench.process import BenchError, Sidecar, running
from bench.row import LeftOut, Peer, Row
from bench.samples import seconds

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

GOAL_SECONDS = 0.1
SIZE_BYTES = 512 * 2**20
# The default thresholds.
TRIGGER_SHARE, TARGET_SHARE = 0.20, 0.25
# About 1,000 folders fill it.
FILES, FILE_BYTES = 3, 128 * 1024
CROSSINGS = 240
# In turn: how fast a client fills it, in bytes a second (the last is as fast as it goes), and whether it begins with
# most of it free, where the sidecar looks less often.
OCCASIONS = ((25e6, False), (100e6, False), (400e6, False), (math.inf, False), (400e6, True), (math.inf, True))
AFAR_SHARE = 0.9
_POLL_SECONDS = 0.0002
_PATIENCE_SECONDS = 30.0
_REST_SECONDS = 0.05
# Between its own looks it may rest up to half a second with so much free.
_REST_AFAR_SECONDS = 0.5


def rows() -> Iterator[Row | LeftOut]:
    """Crossings."""
    what = "threshold crossed to first bytes freed"
    if not IS_ROOT:
        yield LeftOut(what, "it takes a filesystem that fills in no time; mounting one in memory needs root")
        return
    with directory() as path, tmpfs(SIZE_BYTES) as root:
        file = path / "config.yaml"
        sidecar = Sidecar(file, config(file, root, min_age="0s"))
        with running(sidecar):
            sidecar.await_ready()
            taken = seconds(_crossings(_Client(root)))
    yield Row(
        f"{what}, tmpfs of {SIZE_BYTES >> 20} MiB, about 1,000 folders",
        taken.quantile(0.99),
        "s",
        "p99",
        GOAL_SECONDS,
        f"median {taken.median * 1e3:.3g} ms, {taken.spread()}",
        (Peer("kubelet's eviction interval", 10.0, measured=False),),
        "a writer of 25, 100, 400 MB/s and at full speed in turn, which stops at the crossing; each third time it "
        f"begins with {AFAR_SHARE:.0%} free",
    )


def _crossings(client: _Client) -> Iterator[float]:
    chance = random.Random(1)
    client.fill_up_to(TARGET_SHARE)
    for rate, from_afar in itertools.islice(itertools.cycle(OCCASIONS), CROSSINGS):
        if from_afar:
            client.clear(AFAR_SHARE)
            time.sleep(chance.uniform(0.0, _REST_AFAR_SECONDS))
        yield client.cross(rate)
        client.await_target()
        time.sleep(chance.uniform(0.0, _REST_SECONDS))


class _Client:
    """Fills a root with folders, each under a lease while it is written; a client as the README asks for it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._numbers = itertools.count()
        self._content = bytes(FILE_BYTES)
        self._trigger = math.ceil(SIZE_BYTES * TRIGGER_SHARE)

    def fill_up_to(self, share: float) -> None:
        """Write at full speed until no more than this share is free."""
        writing = self._writes(math.inf)
        while self.free() > SIZE_BYTES * share:
            next(writing)
        writing.close()

    def clear(self, share: float) -> None:
        """Remove the oldest folders, as their owner may, until this share is free."""
        for folder in sorted(self._root.glob("project-*")):
            if self.free() >= SIZE_BYTES * share:
                return
            shutil.rmtree(folder, ignore_errors=True)

    def cross(self, rate: float) -> float:
        """Write until the trigger is crossed; returns after how many seconds something was freed."""
        writing = self._writes(rate)
        while (free := self.free()) >= self._trigger:
            next(writing)
        crossed = time.perf_counter()
        while self.free() <= free:
            if time.perf_counter() - crossed > _PATIENCE_SECONDS:
                raise BenchError(f"nothing was freed within {_PATIENCE_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)
        reacted = time.perf_counter() - crossed
        writing.close()
        return reacted

    def await_target(self) -> None:
        """Wait until the collection is over."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while self.free() < SIZE_BYTES * TARGET_SHARE:
            if time.monotonic() > until:
                raise BenchError(f"the target was not reached within {_PATIENCE_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    def free(self) -> int:
        """What an ordinary user may still take, in bytes."""
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize

    def _writes(self, rate: float) -> Generator[None, None, None]:
        """Write folder after folder at this rate, a file each step."""
        due = time.perf_counter()
        while True:
            folder = self._root / f"project-{next(self._numbers):06}"
            folder.mkdir()
            lease = folder / ".lease"
            lease.touch()
            try:
                for number in range(FILES):
                    (folder / f"file-{number}").write_bytes(self._content)
                    due += FILE_BYTES / rate
                    time.sleep(max(0.0, due - time.perf_counter()))
                    yield
            finally:
                lease.unlink()

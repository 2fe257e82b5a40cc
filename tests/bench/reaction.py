"""From a threshold crossed to the first bytes freed, on filesystems in memory that a client fills at various speeds."""

from __future__ import annotations

import itertools
import math
import random
import time
from typing import TYPE_CHECKING

from bench.filler import TARGET_SHARE, Client, Shape
from bench.places import directory, free_port, plant, write_config
from bench.process import Sidecar, forget, running, sidecar_on
from bench.row import Peer, Row
from bench.samples import seconds, written
from bench.scan import FILES, FOLDERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.ground import Ground
    from bench.samples import Samples

GOAL_SECONDS = 0.1
# About 1,000 folders fill it.
SHAPE = Shape(512 << 20, files=3, file_bytes=128 << 10)
CROSSINGS = 240
# In turn: how fast a client fills it, in bytes a second (the last is as fast as it goes), and whether it begins with
# most of it free, where the sidecar looks less often.
OCCASIONS = ((25e6, False), (100e6, False), (400e6, False), (math.inf, False), (400e6, True), (math.inf, True))
AFAR_SHARE = 0.9
_REST_SECONDS = 0.05
# Between its own looks it may rest up to half a second with so much free.
_REST_AFAR_SECONDS = 0.5
# During a scan: a million files take a fifth of this, the client's folders most of the rest.
SCAN_SHAPE = Shape(2 << 30, files=3, file_bytes=1 << 20)
# So many crossings are enough, and so many scans, whichever comes first.
CROSSINGS_IN_SCANS, SCANS = 150, 40
KUBELET = Peer("kubelet's eviction interval", 10.0, measured=False)


def rows(ground: Ground) -> Iterator[Row]:
    """At rest, and while a first scan runs."""
    count = ground.few(CROSSINGS, least=len(OCCASIONS))
    with ground.memory(SHAPE.size_bytes) as root, sidecar_on(root, min_age="0s") as sidecar:
        sidecar.await_ready()
        taken = seconds(_crossings(Client(root, SHAPE), count))
    remark = (
        "a writer of 25, 100, 400 MB/s and at full speed in turn, which stops at the crossing; each third time it "
        f"begins with {AFAR_SHARE:.0%} free"
    )
    yield _row(f", tmpfs of {SHAPE.size_bytes >> 20} MiB, about 1,000 folders", "reaction", taken, remark)
    with ground.memory(SCAN_SHAPE.size_bytes) as place:
        scans = list(_scans(place, ground))
    remark = (
        f"in {len(scans)} first scans of a root on the same filesystem ({ground.few(FOLDERS[FILES]):,} folders), up to "
        "the end of each; a client fills another root there at full speed, with folders of 3 MiB, and those go first"
    )
    what = f" during a first scan of {ground.few(FILES):,} files, tmpfs of {SCAN_SHAPE.size_bytes >> 30} GiB"
    yield _row(what, "reaction-scan", seconds(itertools.chain.from_iterable(scans)), remark)


def _row(what: str, key: str, taken: Samples, remark: str) -> Row:
    return Row(
        f"threshold crossed to first bytes freed{what}",
        taken.quantile(0.99),
        "s",
        "p99",
        GOAL_SECONDS,
        f"median {written(taken.median, 's')}, {taken.spread()}",
        (KUBELET,),
        remark,
        key=key,
    )


def _crossings(client: Client, count: int) -> Iterator[float]:
    chance = random.Random(1)
    client.fill_up_to(TARGET_SHARE)
    for rate, from_afar in itertools.islice(itertools.cycle(OCCASIONS), count):
        if from_afar:
            client.clear(AFAR_SHARE)
            time.sleep(chance.uniform(0.0, _REST_AFAR_SECONDS))
        yield client.cross(rate)
        client.await_target()
        time.sleep(chance.uniform(0.0, _REST_SECONDS))


def _scans(place: Path, ground: Ground) -> Iterator[list[float]]:
    """The crossings of one scan after the other."""
    million, jobs = place / "million", place / "jobs"
    plant(million, ground.few(FOLDERS[FILES]), ground.few(FILES))
    jobs.mkdir()
    client, found = Client(jobs, SCAN_SHAPE), 0
    client.fill_up_to(TARGET_SHARE)
    for _ in range(ground.few(SCANS, least=2)):
        forget(million)
        crossed = _scan(million, jobs, client)
        found += len(crossed)
        if crossed:
            yield crossed
        if found >= CROSSINGS_IN_SCANS:
            return


def _scan(million: Path, jobs: Path, client: Client) -> list[float]:
    """Crossings from ready on, up to the last that began before the end of the scan."""
    taken = []
    with directory() as path:
        file, port = path / "config.yaml", free_port()
        # What a client of the one root makes goes before anything of the other.
        specs = (
            {"name": root.name, "path": str(root), "min_age": "0s", "priority": priority}
            for root, priority in ((million, 1), (jobs, 0))
        )
        write_config(file, port, list(specs))
        sidecar = Sidecar(file, port)
        with running(sidecar):
            sidecar.await_ready()
            while sidecar.metric("gcsidecar_root_unmeasured_folders", f'root="{million.name}"'):
                taken.append(client.cross(math.inf))
                client.await_target()
    return taken

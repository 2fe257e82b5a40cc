"""A scrape of the default series, of 10,000, and while a scan runs; beside it prometheus-client's own server."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING

from bench.memory import SMALLEST, TREES
from bench.places import directory, fill
from bench.process import forget, measured_sidecar, sidecar_on
from bench.row import Point, Row, peer
from bench.samples import Samples, seconds, written
from bench.scan import FILES, FOLDERS
from bench.scraper import HEADERS, PAUSE_SECONDS, PLAIN_HEADERS, kept, plain_server, scrape, scrape_anew

if TYPE_CHECKING:
    import http.client
    from collections.abc import Iterator
    from pathlib import Path

    from bench.ground import Ground
    from bench.process import Sidecar

GOAL_SECONDS = 0.005
GOAL_RATIO = 1.2
GOAL_SCAN_SECONDS = 0.02
SCRAPES = 300
# Five roots, each with two series for as many folders as a root may show: 10,000 series.
ROOTS, TOP_FOLDERS = 5, 1_000
SCRAPES_OF_MANY = 100
SCANS = 5
PLOT = "scrape"
THEIRS = "prometheus-client's start_http_server, same series"


def rows(ground: Ground) -> Iterator[Row | Point]:
    """The default series by connections of their own and by one kept alive, then many series, then during a scan."""
    for folders, files in TREES.items():
        with measured_sidecar(ground.tree(folders, files)) as sidecar:
            found = list(_default(sidecar))
        yield Point(PLOT, "gcsidecar, kept alive", ground.few(folders), found[-1].value)
        yield Point(PLOT, "prometheus-client's own server", ground.few(folders), found[-1].peers[0].value)
        yield from found if folders == SMALLEST else ()
    yield from _many(ground)
    yield _while_scanning(ground)


def _default(sidecar: Sidecar) -> Iterator[Row]:
    exposition = sidecar.get("/metrics")
    with plain_server(exposition) as port, kept(sidecar.port) as connection:
        taken = [
            (scrape_anew(sidecar.port).seconds, _again(connection), scrape_anew(port).seconds) for _ in range(SCRAPES)
        ]
    fresh, alive, theirs = (seconds(values) for values in zip(*taken, strict=True))
    for way, key, ours in (("a new connection each", "new", fresh), ("kept alive", "kept", alive)):
        yield Row(
            f"scrape of the default series ({_series(exposition)}), {way}",
            ours.median,
            "s",
            "median",
            GOAL_SECONDS,
            f"p99 {written(ours.quantile(0.99), 's')}, {ours.spread()}",
            (peer(THEIRS, theirs),),
            "OpenMetrics and gzip, as Prometheus asks for them; prometheus-client's server keeps no connection alive",
            key=f"scrape-default-{key}",
        )


def _many(ground: Ground) -> Iterator[Row]:
    with directory() as path:
        roots = [path / f"root-{number}" for number in range(ROOTS)]
        for root in roots:
            root.mkdir()
            fill(root, ground.few(TOP_FOLDERS), files=1)
        with sidecar_on(*roots, top_folders=TOP_FOLDERS) as sidecar:
            sidecar.await_ready()
            sidecar.await_measured(ROOTS * ground.few(TOP_FOLDERS))
            exposition = sidecar.get("/metrics")
            for name, headers in (("not compressed", PLAIN_HEADERS), ("gzip", HEADERS)):
                yield _beside_theirs(sidecar, exposition, name, headers)


def _beside_theirs(sidecar: Sidecar, exposition: bytes, name: str, headers: dict[str, str]) -> Row:
    with plain_server(exposition) as port:
        taken = [
            (scrape_anew(sidecar.port, headers).seconds, scrape_anew(port, headers).seconds)
            for _ in range(SCRAPES_OF_MANY)
        ]
    ours, theirs = (seconds(values) for values in zip(*taken, strict=True))
    ratios = Samples(tuple(one / other for one, other in taken), "x")
    return Row(
        f"scrape of {_series(exposition):,} series, {name}",
        ours.median,
        "s",
        "median",
        None,
        f"p99 {written(ours.quantile(0.99), 's')}, {ours.spread()}",
        (peer(THEIRS, theirs),),
        f"OpenMetrics, a new connection each, in pairs whose ratios are {ratios.spread()}, median {ratios.median:.3g}; "
        "theirs holds its samples ready, ours makes them from what it knows",
        key=f"scrape-many-{name.rpartition(' ')[2]}",
        goal_ratio=GOAL_RATIO,
    )


def _while_scanning(ground: Ground) -> Row:
    with ground.borrowed(FOLDERS[FILES], FILES) as root:
        taken = seconds(value for _ in range(SCANS) for value in _scan(root, ground.few(FOLDERS[FILES])))
        forget(root)
    return Row(
        f"scrape of the default series while a first scan of {ground.few(FILES):,} files runs",
        taken.quantile(0.99),
        "s",
        "p99",
        GOAL_SCAN_SECONDS,
        f"median {written(taken.median, 's')}, {taken.spread()}",
        remark=f"in {SCANS} scans, from the first answer after the start on until all is measured, a new connection "
        f"each, {written(PAUSE_SECONDS, 's')} after the last",
        key="scrape-scan",
    )


def _scan(root: Path, folders: int) -> Iterator[float]:
    """All scrapes of one scan."""
    forget(root)
    with sidecar_on(root) as sidecar:
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                answer = scrape_anew(sidecar.port)
                if _is_measured(answer.text, folders):
                    return
                yield answer.seconds
            sidecar.check()


def _is_measured(text: str, folders: int) -> bool:
    there, unmeasured = (
        sum(map(float, re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE)))
        for name in ("gcsidecar_root_folders", "gcsidecar_root_unmeasured_folders")
    )
    return there == folders and not unmeasured


def _again(connection: http.client.HTTPConnection) -> float:
    time.sleep(PAUSE_SECONDS)
    return scrape(connection).seconds


def _series(exposition: bytes) -> int:
    return sum(not line.startswith(b"#") for line in exposition.splitlines())

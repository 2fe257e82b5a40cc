"""What a scrape of the default series takes, beside prometheus-client's own server with the very same series."""

from __future__ import annotations

import contextlib
import http.client
import sys
import time
from typing import TYPE_CHECKING

from bench.places import free_port
from bench.process import BenchError, Process, Sidecar, measured_sidecar, running
from bench.row import Peer, Row
from bench.samples import Samples, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOAL_SECONDS = 0.005
FOLDERS = 1000
SCRAPES = 300
# A scraper comes now and then; one that comes at once again would find the caches warm, and a thread awake.
PAUSE_SECONDS = 0.005
# What Prometheus asks for, so that it is the same answer that is timed.
HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "Accept-Encoding": "gzip",
}


def rows() -> Iterator[Row]:
    """The scrape, by connections of their own and by one kept alive."""
    with measured_sidecar(FOLDERS) as (sidecar, path):
        yield from _compare(sidecar, path / "series.txt")


def _compare(sidecar: Sidecar, text: Path) -> Iterator[Row]:
    text.write_bytes(sidecar.get("/metrics"))
    series = sum(not line.startswith("#") for line in text.read_text().splitlines())
    port = free_port()
    peer = Process((sys.executable, "-m", "bench.plain_server", str(port), str(text)))
    with running(peer), _kept(sidecar.port) as kept:
        _await(port, peer)
        taken = [(_fresh(sidecar.port), _scrape(kept), _fresh(port)) for _ in range(SCRAPES)]
    fresh, alive, theirs = (seconds(values) for values in zip(*taken, strict=True))
    for way, ours in (("a new connection each", fresh), ("kept alive", alive)):
        yield from _rows(f"scrape of the default series ({series}), {way}", ours, theirs)


def _rows(what: str, ours: Samples, theirs: Samples) -> Iterator[Row]:
    yield Row(
        what,
        ours.median,
        "s",
        "median",
        GOAL_SECONDS,
        f"p99 {ours.quantile(0.99) * 1e3:.3g} ms, {ours.spread()}",
        (Peer("prometheus-client's start_http_server, same series", theirs.median),),
        "OpenMetrics and gzip, as Prometheus asks for them; prometheus-client's server keeps no connection alive, its "
        f"p99 is {theirs.quantile(0.99) * 1e3:.3g} ms",
    )


@contextlib.contextmanager
def _kept(port: int) -> Iterator[http.client.HTTPConnection]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        yield connection


def _fresh(port: int) -> float:
    time.sleep(PAUSE_SECONDS)
    began = time.perf_counter()
    with _kept(port) as connection:
        _ask(connection)
    return time.perf_counter() - began


def _scrape(connection: http.client.HTTPConnection) -> float:
    time.sleep(PAUSE_SECONDS)
    began = time.perf_counter()
    _ask(connection)
    return time.perf_counter() - began


def _ask(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/metrics", headers=HEADERS)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != http.HTTPStatus.OK or not body:
        raise BenchError(f"a scrape was answered with {answer.status} and {len(body)} bytes")


def _await(port: int, process: Process) -> None:
    for _ in range(100):
        process.check()
        with contextlib.suppress(OSError):
            _fresh(port)
            return
        time.sleep(0.1)
    raise BenchError("prometheus-client's own server does not answer")

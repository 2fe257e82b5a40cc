"""A scraper as Prometheus is one, and prometheus-client's own server to scrape beside the sidecar."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.places import directory, free_port
from bench.process import BenchError, Process, running

if TYPE_CHECKING:
    from collections.abc import Iterator

# A scraper comes now and then; one that comes at once again would find the caches warm, and a thread awake.
PAUSE_SECONDS = 0.005
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
# What Prometheus asks for, so that it is the same answer that is timed; and the same but not compressed.
HEADERS = {"Accept": OPENMETRICS, "Accept-Encoding": "gzip"}
PLAIN_HEADERS = {"Accept": OPENMETRICS, "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came, and after how long."""

    seconds: float
    body: bytes
    encoding: str

    @property
    def text(self) -> str:
        """The exposition."""
        return (gzip.decompress(self.body) if self.encoding == "gzip" else self.body).decode()


@contextlib.contextmanager
def kept(port: int) -> Iterator[http.client.HTTPConnection]:
    """A connection for many scrapes."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        yield connection


def scrape(connection: http.client.HTTPConnection, headers: dict[str, str] = HEADERS, path: str = "/metrics") -> Answer:
    """By a connection that is there, or is made now.

    Raises:
        BenchError: It was refused.
    """
    began = time.perf_counter()
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    took = time.perf_counter() - began
    if answer.status != http.HTTPStatus.OK or not body:
        raise BenchError(f"a scrape was answered with {answer.status} and {len(body)} bytes")
    return Answer(took, body, answer.headers.get("Content-Encoding", ""))


def scrape_anew(port: int, headers: dict[str, str] = HEADERS) -> Answer:
    """By a connection of its own, which is part of what is timed."""
    time.sleep(PAUSE_SECONDS)
    with kept(port) as connection:
        return scrape(connection, headers)


@contextlib.contextmanager
def plain_server(exposition: bytes) -> Iterator[int]:
    """prometheus-client's own server, with the same series; gives its port."""
    port = free_port()
    with directory() as path:
        text = path / "series.txt"
        text.write_bytes(exposition)
        process = Process((sys.executable, "-m", "bench.plain_server", str(port), str(text)))
        with running(process):
            _await(port, process)
            yield port


def _await(port: int, process: Process) -> None:
    for _ in range(100):
        process.check()
        with contextlib.suppress(OSError):
            scrape_anew(port)
            return
        time.sleep(0.1)
    raise BenchError("prometheus-client's own server does not answer")

"""Servers to try things on, and clients that behave, or don't."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily

from gcsidecar.sidecar.web.access import Access
from gcsidecar.sidecar.web.pages import Health, Readiness
from gcsidecar.sidecar.web.server import WebServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.core import Metric


# So long a test waits for what is to happen; on a busy machine that takes its time.
PATIENCE_SECONDS = 20.0


class Listening(Protocol):
    """What clients need to know of a server."""

    @property
    def ports(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Made:
    """A collector of one gauge whose making is up to the test."""

    def __init__(self, make: Callable[[], None] = lambda: None, label_bytes: int = 1) -> None:
        self._make, self._label = make, "x" * label_bytes

    def describe(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("gcsidecar_made", "Made.")

    def collect(self) -> Iterator[Metric]:
        self._make()
        metric = GaugeMetricFamily("gcsidecar_made", "Made.", labels=["long"])
        metric.add_metric([self._label], 1)
        yield metric


def registry_of(*collectors: Made) -> CollectorRegistry:
    registry = CollectorRegistry()
    for name in ("free", "capacity"):
        Gauge(f"gcsidecar_filesystem_{name}_bytes", f"What is {name}.", ["filesystem"], registry=registry).labels(
            "jobs"
        ).set(4096)
    for collector in collectors:
        registry.register(collector)
    return registry


@contextlib.contextmanager
def serving(registry: CollectorRegistry | None = None, *addresses: str, **options: Any) -> Iterator[WebServer]:
    settings: dict[str, Any] = {"health": lambda: Health(ok=True), "ready": lambda: Readiness(ok=True)} | options
    if tls := settings.pop("ssl_options", None):
        settings["access"] = Access(tls=tls)
    server = WebServer(addresses or ["127.0.0.1:0"], registry=registry or registry_of(), version="1.2.3", **settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def connection(server: Listening, tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
    if tls:
        return http.client.HTTPSConnection("localhost", server.ports[0], timeout=PATIENCE_SECONDS, context=tls)
    return http.client.HTTPConnection("127.0.0.1", server.ports[0], timeout=PATIENCE_SECONDS)


def over(
    client: http.client.HTTPConnection,
    target: str = "/metrics",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    client.request(method, target, headers=headers or {})
    response = client.getresponse()
    return Reply(response.status, response.headers, response.read())


def ask(
    server: Listening,
    target: str = "/metrics",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Reply:
    with contextlib.closing(connection(server, tls)) as client:
        return over(client, target, method, headers)


def silent(server: Listening, says: bytes = b"", receive_bytes: int | None = None) -> socket.socket:
    """A client that says so much, and then neither speaks nor reads."""
    client = socket.socket()
    if receive_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(PATIENCE_SECONDS)
    try:
        client.connect(("127.0.0.1", server.ports[0]))
        client.sendall(says)
    except OSError:
        client.close()
        raise
    return client


def is_gone(client: socket.socket) -> bool:
    """Whether the server hung up, whatever it had sent before; waits no longer than the client's timeout."""
    try:
        while client.recv(1 << 20):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def is_gone_soon(client: socket.socket, seconds: float = 0.2) -> bool:
    client.settimeout(seconds)
    return is_gone(client)


def until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True

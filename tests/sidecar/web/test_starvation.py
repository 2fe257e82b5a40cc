"""No client that is slow, silent or greedy keeps a scraper from its metrics, or takes a thread or memory for long."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from gcsidecar.sidecar.web.limits import WebLimits
from sidecar.web.serving import (
    PATIENCE_SECONDS,
    Made,
    ask,
    connection,
    is_gone,
    is_gone_soon,
    over,
    registry_of,
    serving,
    silent,
    until,
)

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterator

    from gcsidecar.sidecar.web.server import WebServer

HALF_A_REQUEST = b"GET /metrics HTTP/1.1\r\nHost: "
HALF_A_HANDSHAKE = bytes.fromhex("16 0301 0200 01 0001fc 0303")
METRICS = b"GET /metrics HTTP/1.1\r\n\r\n"
READERS = 3  # of those who besiege it
LONG = 8_000_000  # more than the kernel's buffers on both sides take


@dataclass(frozen=True)
class Speech:
    """How the server is spoken to in a test, plain or by TLS."""

    server: ssl.SSLContext | None
    client: ssl.SSLContext | None

    def silent(self, server: WebServer, says: bytes = b"", receive_bytes: int | None = None) -> socket.socket:
        client = silent(server, b"", receive_bytes)
        if self.client:
            client = self.client.wrap_socket(client, server_hostname="localhost")
        client.sendall(says)
        return client


@pytest.fixture(params=["plain", "tls"])
def speech(request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> Speech:
    return Speech(server_tls, client_tls) if request.param == "tls" else Speech(None, None)


@contextlib.contextmanager
def besieged(server: WebServer, speech: Speech) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as closing:
        clients = [closing.enter_context(silent(server)) for _ in range(25)]
        clients += [closing.enter_context(speech.silent(server)) for _ in range(25)]
        clients += [closing.enter_context(silent(server, HALF_A_HANDSHAKE)) for _ in range(20)]
        clients += [closing.enter_context(speech.silent(server, HALF_A_REQUEST)) for _ in range(20)]
        clients += [closing.enter_context(speech.silent(server, METRICS, 4096)) for _ in range(READERS)]
        yield clients


def test_a_scrape_is_answered_at_once_whoever_else_is_connected_and_no_thread_comes_of_them(speech: Speech) -> None:
    before = threading.active_count()
    # Whoever waited for one of them would wait for longer than a client does.
    limits = WebLimits(request_seconds=100 * PATIENCE_SECONDS, answer_seconds=100 * PATIENCE_SECONDS)
    with (
        serving(registry_of(Made(label_bytes=LONG)), ssl_options=speech.server, limits=limits) as server,
        besieged(server, speech) as clients,
    ):
        reply = ask(server, "/metrics?name[]=gcsidecar_filesystem_free_bytes", tls=speech.client)
        assert (reply.status, reply.text.splitlines()[-1]) == (
            200,
            'gcsidecar_filesystem_free_bytes{filesystem="jobs"} 4096.0',
        )
        assert len(ask(server, tls=speech.client).body) > LONG
        assert threading.active_count() - before <= 3
        assert not any(is_gone_soon(client, 0.001) for client in clients[:-READERS]), "none had to go for it"


def test_all_of_them_are_gone_when_their_time_is_up(speech: Speech) -> None:
    # Long enough for a handshake on a busy machine.
    limits = WebLimits(request_seconds=2.0, answer_seconds=2.0)
    with serving(registry_of(Made(label_bytes=LONG)), ssl_options=speech.server, limits=limits) as server:
        with besieged(server, speech) as clients:
            # Only those that were to read are read from, since reading is what they must not have done until now.
            time.sleep(limits.answer_seconds + 1.0)
            assert [is_gone(client) for client in clients] == [True] * len(clients)
        assert ask(server, "/healthz", tls=speech.client).status == 200


def test_headers_that_drip_do_not_put_the_end_off(speech: Speech) -> None:
    limits = WebLimits(request_seconds=1.0)
    with serving(ssl_options=speech.server, limits=limits) as server, speech.silent(server, HALF_A_REQUEST) as client:
        started = time.monotonic()
        with pytest.raises(OSError, match=r".*"):  # noqa: PT012
            while time.monotonic() - started < PATIENCE_SECONDS:
                client.sendall(b"x")
                time.sleep(0.05)


def test_a_body_that_never_comes_does_not_put_the_end_off() -> None:
    says = b"GET /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc"
    with serving(limits=WebLimits(request_seconds=0.3)) as server, silent(server, says) as client:
        assert is_gone(client)


def test_an_answer_that_is_read_in_drips_does_not_put_the_end_off() -> None:
    with (
        serving(registry_of(Made(label_bytes=LONG)), limits=WebLimits(answer_seconds=2.0)) as server,
        silent(server, METRICS, 4096) as client,
    ):
        end, read = time.monotonic() + 3.0, 0
        with contextlib.suppress(ConnectionResetError):
            while time.monotonic() < end:
                read += len(client.recv(100))
                time.sleep(0.02)
        rest = drained(client)
    assert read > 0
    assert read + rest < LONG


def drained(client: socket.socket) -> int:
    total = 0
    with contextlib.suppress(OSError):
        while piece := client.recv(1 << 20):
            total += len(piece)
    return total


def test_one_who_has_asked_may_idle_for_longer_than_one_who_has_not() -> None:
    limits = WebLimits(request_seconds=0.2, idle_seconds=0.8)
    with serving(limits=limits) as server, contextlib.closing(connection(server)) as client:
        over(client, "/healthz")
        assert client.sock
        assert not is_gone_soon(client.sock, 0.5)
        assert is_gone_soon(client.sock, 2)


def test_where_there_are_too_many_the_silent_ones_go_first_and_those_longest_there_first_of_them() -> None:
    with (
        serving(limits=WebLimits(connections=8)) as server,
        contextlib.closing(connection(server)) as scraper,
        contextlib.ExitStack() as closing,
    ):
        over(scraper, "/healthz")
        kept = scraper.sock
        clients = []
        for _ in range(30):
            clients.append(closing.enter_context(silent(server)))
            time.sleep(0.002)
        assert until(lambda: is_gone_soon(clients[22], 0.02))
        assert [is_gone_soon(client, 0.02) for client in clients] == [True] * 23 + [False] * 7
        assert over(scraper).status == 200
        assert scraper.sock is kept
        assert ask(server).status == 200


def test_of_too_many_answers_that_nobody_reads_the_oldest_are_dropped() -> None:
    says = b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n"
    limits = WebLimits(unsent_answers=2, scrape_threads=1)
    with serving(registry_of(Made(label_bytes=LONG)), limits=limits) as server, contextlib.ExitStack() as closing:
        clients = []
        for _ in range(4):
            clients.append(closing.enter_context(silent(server, says, 1 << 16)))
            clients[-1].recv(1)  # so that its answer is on its way before the next one asks
        # An answer of the server's own thread: whom the last one pushed out is out by now.
        assert ask(server, "/healthz").status == 200
        assert [drained(client) > LONG for client in clients] == [False, False, True, True]
        assert len(ask(server).body) > LONG


def test_requests_one_after_the_other_without_reading_answers_do_not_pile_up() -> None:
    limits = WebLimits(answer_seconds=0.4)
    with (
        serving(registry_of(Made(label_bytes=LONG)), limits=limits) as server,
        silent(server, METRICS * 1000, 4096) as client,
    ):
        assert ask(server, "/healthz").status == 200
        time.sleep(1)
        assert is_gone_soon(client)


@dataclass(frozen=True)
class Elsewhere:
    """A server in another process."""

    ports: tuple[int, ...]


OUT_OF_DESCRIPTORS = """
import resource, socket, sys, time
sys.path.insert(0, sys.argv[1])
from gcsidecar.sidecar.log import configure
from sidecar.web.serving import ask, serving

configure("info", "logfmt")
with serving() as server:
    ask(server)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), hard))
    print(server.ports[0], flush=True)
    sys.stdin.readline()
    print(time.process_time(), flush=True)
    sys.stdin.readline()
    print(time.process_time(), flush=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(40, int(sys.argv[2])), hard))
    sys.stdin.readline()
"""


@pytest.mark.parametrize("descriptors", [40, 3])  # some for clients; none, for as long as that lasts
def test_out_of_descriptors_it_goes_on_answering_and_neither_spins_nor_floods_the_log(
    descriptors: int, pytestconfig: pytest.Config
) -> None:
    command = [sys.executable, "-c", OUT_OF_DESCRIPTORS, str(pytestconfig.rootpath / "tests"), str(descriptors)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        elsewhere = Elsewhere((int(process.stdout.readline()),))
        figures = []
        with contextlib.ExitStack() as clients:
            for _ in range(100):
                clients.enter_context(silent(elsewhere))
            for _ in range(2):
                process.stdin.write("\n")
                process.stdin.flush()
                figures.append(float(process.stdout.readline()))
                time.sleep(1)
        assert until(lambda: ask(elsewhere, "/healthz").status == 200)
        _, log = process.communicate("\n")
    assert figures[1] - figures[0] < 0.3
    assert "clients turned away" in log
    assert len(log.splitlines()) == 1

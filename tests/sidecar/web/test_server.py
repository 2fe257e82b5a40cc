from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from gcsidecar.errors import GcsidecarError
from gcsidecar.sidecar.config.addresses import AddressError
from gcsidecar.sidecar.web.limits import WebLimits
from gcsidecar.sidecar.web.listening import WebError
from gcsidecar.sidecar.web.pages import Health
from sidecar.web.serving import Made, ask, connection, is_gone, over, registry_of, serving, silent, until

if TYPE_CHECKING:
    import ssl


def test_it_answers_as_soon_as_start_returns() -> None:
    with serving() as server:
        assert ask(server).status == 200


def test_one_connection_serves_many_requests() -> None:
    with serving() as server, contextlib.closing(connection(server)) as client:
        over(client)
        kept = client.sock
        assert [over(client, path).status for path in ("/metrics", "/healthz", "/", "/none")] == [200, 200, 200, 404]
        assert client.sock is kept


def test_a_client_of_http_1_0_gets_its_answer_and_the_end() -> None:
    with serving() as server, silent(server, b"GET /healthz HTTP/1.0\r\n\r\n") as client:
        received = b"".join(iter(lambda: client.recv(4096), b""))
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n\r\nok\n")


def test_several_addresses_are_served_at_once() -> None:
    with serving(None, "127.0.0.1:0", "127.0.0.2:0", "localhost:0") as server:
        # Of two hosts both may have been given the same port.
        places = list(zip(("127.0.0.1", "127.0.0.2", "127.0.0.1"), server.ports, strict=True))
        assert len(set(places)) == 3
        for place in places:
            socket.create_connection(place).close()


def test_a_port_without_a_host_is_served_over_ipv4_and_ipv6() -> None:
    with serving(None, ":0") as server:
        socket.create_connection(("127.0.0.1", server.ports[0])).close()
        if socket.has_dualstack_ipv6() and has_ipv6_loopback():
            socket.create_connection(("::1", server.ports[0])).close()


def has_ipv6_loopback() -> bool:
    with socket.socket(socket.AF_INET6) as probe, contextlib.suppress(OSError):
        probe.bind(("::1", 0))
        return True
    return False


def test_over_tls_it_answers_alike(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    with serving(ssl_options=server_tls) as server, contextlib.closing(connection(server, client_tls)) as client:
        assert over(client).text.startswith("# HELP gcsidecar_filesystem_free_bytes")
        assert over(client, "/healthz").text == "ok\n"


def test_plain_http_on_a_tls_port_is_hung_up_on(server_tls: ssl.SSLContext) -> None:
    with serving(ssl_options=server_tls) as server, silent(server, b"GET /metrics HTTP/1.1\r\n\r\n") as client:
        assert is_gone(client)


def test_a_taken_address_is_an_error_that_names_it_and_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(WebError) as caught, serving(None, "127.0.0.1:0", taken):
            pass
    assert isinstance(caught.value, GcsidecarError)
    assert str(caught.value) == (
        f"can't listen on '{taken}': Address already in use; stop what listens there, or choose another port"
    )


def test_where_one_address_is_taken_the_others_are_let_go() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, socket.create_server(("127.0.0.1", 0)) as probe:
        free, taken = probe.getsockname()[1], other.getsockname()[1]
        probe.close()
        with pytest.raises(WebError), serving(None, f"127.0.0.1:{free}", f"127.0.0.1:{taken}"):
            pass
        socket.create_server(("127.0.0.1", free)).close()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("192.0.2.1:0", "choose an address that this machine has"),
        ("no-such-host.invalid:0", "choose a name that resolves"),
    ],
)
def test_an_address_of_elsewhere_is_an_error(address: str, words: str) -> None:
    with pytest.raises(WebError, match=words), serving(None, address):
        pass


def test_what_is_no_address_is_refused_before_anything_is_bound() -> None:
    with pytest.raises(AddressError), serving(None, "10977"):
        pass


def test_the_port_can_be_taken_again_at_once_after_a_stop() -> None:
    with serving() as server:
        port = server.ports[0]
        ask(server)
    with serving(None, f"127.0.0.1:{port}") as server:
        assert ask(server).status == 200


def test_a_body_is_refused() -> None:
    with (
        serving(limits=WebLimits(body_bytes=10)) as server,
        silent(server, b"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n") as client,
    ):
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert is_gone(client)


@pytest.mark.parametrize("sent", [b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000, b"x" * 20_000, b"no HTTP\r\n\r\n"])
def test_what_is_no_request_or_too_long_a_one_is_hung_up_on(sent: bytes) -> None:
    with serving() as server:
        with silent(server, sent) as client:
            assert is_gone(client)
        assert ask(server).status == 200


def test_a_stop_takes_less_than_a_second_whatever_clients_there_are() -> None:
    making = threading.Event()

    def hang() -> None:
        making.set()
        time.sleep(1.2)

    with contextlib.ExitStack() as clients:
        server = clients.enter_context(serving(registry_of(Made(hang))))
        for says in (b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\n\r\n"):
            clients.enter_context(silent(server, says))
        kept = clients.enter_context(contextlib.closing(connection(server)))
        over(kept, "/healthz")
        assert making.wait(2)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 1
        assert not [thread for thread in threading.enumerate() if thread.name == "web"]
        with pytest.raises(ConnectionRefusedError):
            silent(server)


def test_a_stop_lets_an_answer_under_way_be_sent_and_waits_for_nobody_else() -> None:
    making = threading.Event()

    def take_a_while() -> None:
        making.set()
        time.sleep(0.15)

    with serving(registry_of(Made(take_a_while))) as server, silent(server), silent(server) as scraper:
        scraper.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert making.wait(2)
        started = time.monotonic()
        server.stop(timeout_seconds=2)
        assert time.monotonic() - started < 1
        received = b"".join(iter(lambda: scraper.recv(1 << 16), b""))
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b"gcsidecar_made" in received


def test_a_second_stop_and_a_stop_without_a_start_do_nothing() -> None:
    with serving() as server:
        server.stop()
        server.stop()


def test_a_request_is_logged_for_debugging_only(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as server:
        with caplog.at_level(logging.INFO):
            ask(server)
        assert not caplog.records
        with caplog.at_level(logging.DEBUG, "gcsidecar"):
            ask(server, "/none?secret=1")
            assert until(lambda: caplog.records[-1:] != [] and "/none" in str(caplog.records[-1].__dict__["fields"]))
    record = caplog.records[-1]
    said = record.__dict__["fields"]
    assert (record.message, said["path"], said["status"], said["client"]) == ("request", "/none", 404, "127.0.0.1")


def test_it_can_move_to_other_addresses_and_keeps_those_that_stay() -> None:
    with serving(None, "127.0.0.1:0", "127.0.0.2:0") as server:
        first, second = server.ports
        server.move(["127.0.0.2:0", "127.0.0.3:0"])
        assert server.ports[0] == second
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", first))
        for host, port in zip(("127.0.0.2", "127.0.0.3"), server.ports, strict=True):
            socket.create_connection((host, port)).close()


def test_it_can_move_to_the_same_port_on_another_interface() -> None:
    with serving(None, "127.0.0.1:0") as server:
        server.move([f"0.0.0.0:{server.ports[0]}"])
        assert ask(server).status == 200


def test_where_it_cannot_move_to_it_stays_where_it_was() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, serving(None, "127.0.0.1:0", "127.0.0.2:0") as server:
        ports = server.ports
        with pytest.raises(WebError, match="in use"):
            server.move([f"127.0.0.1:{other.getsockname()[1]}", "127.0.0.2:0"])
        assert server.ports == ports
        assert ask(server).status == 200


def test_who_is_connected_has_to_come_anew_once_it_has_moved() -> None:
    with serving() as server, contextlib.closing(connection(server)) as client:
        over(client)
        server.move(["127.0.0.2:0"])
        assert client.sock
        assert is_gone(client.sock)


def test_it_tells_whether_its_thread_is_at_work() -> None:
    stuck = threading.Event()

    def hang() -> Health:
        stuck.wait(5)
        return Health(ok=True)

    with serving(health=hang) as server:
        for _ in range(3):
            assert server.answers()
            time.sleep(0.05)
        with silent(server, b"GET /healthz HTTP/1.1\r\n\r\n"):
            time.sleep(0.1)
            assert [server.answers(), server.answers(), server.answers()] == [True, False, False]
            stuck.set()
            assert until(server.answers)
    assert [server.answers(), server.answers()] == [True, False]

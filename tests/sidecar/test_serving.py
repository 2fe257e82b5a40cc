"""The web config as it is followed: who has to come anew when it changes, and who need not."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from certificates import Authority, client_context
from gcsidecar.sidecar.config import ConfigError
from gcsidecar.sidecar.serving import Serving, WebOptions
from gcsidecar.sidecar.web.listening import WebError
from gcsidecar.sidecar.web.pages import Health, Readiness
from sidecar.web.serving import ask, connection, is_gone_soon, over, registry_of

if TYPE_CHECKING:
    import http.client
    from collections.abc import Iterator
    from pathlib import Path

TLS = {"cert_file": "server.crt", "key_file": "server.key"}
REQUIRED = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.crt"}
PLAIN = {"http_server_config": {"http2": True}}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path)
    authority.issue("server")
    return authority


def write(directory: Path, content: dict[str, Any]) -> str:
    path = directory / "web.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@contextlib.contextmanager
def serving(options: WebOptions, *configured: str) -> Iterator[Serving]:
    serving = Serving(
        options,
        configured or ("127.0.0.1:0",),
        registry=registry_of(),
        health=lambda: Health(ok=True),
        ready=lambda: Readiness(ok=True),
        reload=Future,
    )
    serving.start()
    try:
        yield serving
    finally:
        serving.stop(0.1)


def is_kept(client: http.client.HTTPConnection) -> bool:
    assert client.sock
    return not is_gone_soon(client.sock)


@pytest.mark.parametrize(
    ("before", "after", "keeps"),
    [
        (PLAIN, {"tls_server_config": TLS}, False),
        ({"tls_server_config": TLS}, PLAIN, False),
        ({"tls_server_config": TLS}, {"tls_server_config": TLS | REQUIRED}, False),
        ({"tls_server_config": TLS | REQUIRED}, {"tls_server_config": TLS | REQUIRED}, False),
        ({"tls_server_config": TLS}, {"tls_server_config": TLS} | PLAIN, True),
        (PLAIN, {"http_server_config": {"http2": False}}, True),
    ],
)
def test_who_was_let_in_by_what_holds_no_more_has_to_come_anew(
    tmp_path: Path,
    authority: Authority,
    before: dict[str, Any],
    after: dict[str, Any],
    keeps: bool,  # noqa: FBT001  pytest hands it over by name
) -> None:
    options = WebOptions(config_file=write(tmp_path, before))
    own = client_context(authority, authority.issue("client")) if "tls_server_config" in before else None
    with serving(options) as server, contextlib.closing(connection(server, own)) as client:
        assert over(client).status == 200
        write(tmp_path, after)
        assert server.reload() == ()
        assert is_kept(client) is keeps
        if keeps:
            assert over(client).status == 200


def test_a_web_config_that_is_wrong_is_told_and_the_one_before_stays(tmp_path: Path) -> None:
    options = WebOptions(config_file=write(tmp_path, {"http_server_config": {"headers": {"X-Frame-Options": "deny"}}}))
    with serving(options) as server:
        path = write(tmp_path, {"http_server_config": {"headers": {"X-Frame-Options": "maybe"}}})
        [problem] = server.reload()
        assert problem.startswith(f'{path}:3: http_server_config.headers.X-Frame-Options: is "maybe"')
        assert not server.ok
        assert not server.has_changed()
        assert ask(server).headers["X-Frame-Options"] == "deny"
        write(tmp_path, {"http_server_config": {"headers": {"X-Frame-Options": "sameorigin"}}})
        assert [server.has_changed(), server.has_changed()] == [False, True]
        assert server.reload() == ()
        assert server.ok
        assert ask(server).headers["X-Frame-Options"] == "sameorigin"


def test_a_file_that_it_names_and_that_comes_later_is_heard_of(tmp_path: Path, authority: Authority) -> None:
    options = WebOptions(config_file=write(tmp_path, PLAIN))
    with serving(options) as server:
        write(tmp_path, {"tls_server_config": TLS | {"cert_file": "later.crt"}})
        assert server.reload()
        (tmp_path / "later.crt").write_bytes((tmp_path / "server.crt").read_bytes())
        assert [server.has_changed(), server.has_changed()] == [False, True]
        assert server.reload() == ()
        assert ask(server, tls=client_context(authority)).status == 200


def test_a_web_config_that_is_wrong_at_the_start_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="is no header that can be set"),
        serving(WebOptions(config_file=write(tmp_path, {"http_server_config": {"headers": {"Server": "x"}}}))),
    ):
        pass


def test_it_listens_where_the_config_says_unless_the_command_line_does() -> None:
    with serving(WebOptions(), "127.0.0.2:0") as server:
        server.move(["127.0.0.3:0"])
        assert server.addresses == ("127.0.0.3:0",)
        with pytest.raises(WebError):
            server.move(["192.0.2.1:0"])
        assert server.addresses == ("127.0.0.3:0",)
    with serving(WebOptions(listen_addresses=("127.0.0.1:0",)), "192.0.2.1:0") as server:
        server.move(["192.0.2.2:0"])
        assert ask(server).status == 200

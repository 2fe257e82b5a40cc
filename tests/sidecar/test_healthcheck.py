"""`gcsidecar healthcheck` against real servers, whatever they speak and whoever may ask them."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from certificates import Authority
from gcsidecar.sidecar.cli import main
from gcsidecar.sidecar.healthcheck import Target, UnhealthyError, check_health, target_of
from gcsidecar.sidecar.web.loader import load_access
from gcsidecar.sidecar.web.pages import Health
from sidecar.web.serving import serving

if TYPE_CHECKING:
    from pathlib import Path

    from gcsidecar.sidecar.web.access import Access

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
TLS = {"cert_file": "server.crt", "key_file": "server.key"}
REQUIRED = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.crt"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    Authority(directory).issue("server", "DNS:a-name-that-nobody-asks-by")
    return directory


def access(directory: Path, content: dict[str, Any]) -> Access:
    path = directory / "web.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_access(str(path))


ACCESSES: dict[str, dict[str, Any]] = {
    "plain": {"http_server_config": {"http2": True}},
    "a password": {"basic_auth_users": {"alice": HASH}},
    "TLS": {"tls_server_config": TLS},
    "TLS 1.2": {"tls_server_config": TLS | {"max_version": "TLS12"}},
    "TLS and a password": {"tls_server_config": TLS, "basic_auth_users": {"alice": HASH}},
    "client certificates": {"tls_server_config": TLS | REQUIRED},
    "client certificates, TLS 1.2": {"tls_server_config": TLS | REQUIRED | {"max_version": "TLS12"}},
    "client certificates for some pages": {"tls_server_config": TLS | REQUIRED, "auth_excluded_paths": ["/metrics"]},
}


@pytest.mark.parametrize("name", ACCESSES)
def test_a_healthy_one_is_healthy_whatever_it_speaks_and_asks_for(directory: Path, name: str) -> None:
    with serving(access=access(directory, ACCESSES[name])) as server:
        for _ in range(3):
            check_health(Target("127.0.0.1", server.ports[0]), 5)


@pytest.mark.parametrize("excluded", [["/healthz"], []])
@pytest.mark.parametrize("name", ACCESSES)
def test_an_unhealthy_one_is_told_wherever_its_health_can_be_read(
    directory: Path, name: str, excluded: list[str]
) -> None:
    content = ACCESSES[name] | {"auth_excluded_paths": excluded}
    can_be_read = bool(excluded) or name in {"plain", "TLS", "TLS 1.2"}
    sick = Health(ok=False, lines=("a thread has ended", "so has another"))
    with serving(access=access(directory, content), health=lambda: sick) as server:
        target = Target("127.0.0.1", server.ports[0])
        if not can_be_read:
            check_health(target, 5)
            return
        with pytest.raises(UnhealthyError) as caught:
            check_health(target, 5)
    assert str(caught.value) == f"{target} says 503: unhealthy; a thread has ended; so has another"


def test_nobody_there_is_unhealthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(UnhealthyError, match="Connection refused"):
        check_health(Target("127.0.0.1", port), 5)


@pytest.mark.parametrize("tls", [None, True, False])
def test_one_that_accepts_and_says_nothing_is_unhealthy_when_the_time_is_up(tls: bool | None) -> None:  # noqa: FBT001
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(UnhealthyError, match=r"does not answer within 0\.3 s"):
            check_health(Target("127.0.0.1", silent.getsockname()[1], tls), 0.3)
        assert time.monotonic() - began < 3


def test_a_url_says_whether_it_is_tls(directory: Path) -> None:
    with serving(access=access(directory, ACCESSES["TLS"])) as server:
        check_health(target_of(f"https://127.0.0.1:{server.ports[0]}"), 5)
        with pytest.raises(UnhealthyError):
            check_health(target_of(f"http://127.0.0.1:{server.ports[0]}/"), 5)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:1", Target("127.0.0.1", 1, tls=False)),
        ("https://localhost", Target("localhost", 443, tls=True)),
        ("http://[::1]:10977/", Target("::1", 10977, tls=False)),
        (None, Target("127.0.0.1", 10977)),
    ],
)
def test_urls_are_taken_apart(url: str | None, target: Target) -> None:
    assert target_of(url) == target


@pytest.mark.parametrize("url", ["127.0.0.1:1", "ftp://x", "http://", "http://a@b", "http://a:b", "http://a/metrics"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UnhealthyError, match="is no URL of a sidecar"):
        target_of(url)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("roots: []", Target("127.0.0.1", 10977)),
        ('listen: ":1"', Target("127.0.0.1", 1)),
        ('listen: "0.0.0.0:1"', Target("127.0.0.1", 1)),
        ('listen: "[::]:1"', Target("::1", 1)),
        ('listen: ["10.0.0.1:1", ":2"]', Target("10.0.0.1", 1)),
        ('listen: "${ADDRESS:-localhost}:${PORT}"', Target("localhost", 4242)),
        ("listen: [", Target("127.0.0.1", 10977)),
        ("listen: 3", Target("127.0.0.1", 10977)),
        ("[]", Target("127.0.0.1", 10977)),
        ("\x00", Target("127.0.0.1", 10977)),
        ("[" * 100_000, Target("127.0.0.1", 10977)),
    ],
)
def test_the_config_says_where_even_if_the_rest_of_it_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, target: Target
) -> None:
    monkeypatch.setenv("PORT", "4242")
    path = tmp_path / "gcsidecar.yaml"
    path.write_text(text)
    assert target_of(config=str(path)) == target


def test_without_the_config_it_asks_at_the_default_port(tmp_path: Path) -> None:
    assert target_of(config=str(tmp_path / "none")) == Target("127.0.0.1", 10977)


def test_the_command_says_why_on_one_line_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gcsidecar.yaml"
    with serving(health=lambda: Health(ok=False, lines=("stuck",))) as server:
        path.write_text(f'listen: ":{server.ports[0]}"')
        assert main(["healthcheck", "--config", str(path)]) == 1
        said = capsys.readouterr()
        assert said.err == f"gcsidecar: 127.0.0.1:{server.ports[0]} says 503: unhealthy; stuck\n"
        assert said.out == ""
    with serving() as server:
        assert main(["healthcheck", "--url", f"http://127.0.0.1:{server.ports[0]}"]) == 0
    assert capsys.readouterr() == ("", "")


def test_it_loads_nothing_that_takes_long(tmp_path: Path) -> None:
    path = tmp_path / "gcsidecar.yaml"
    with serving() as server:
        path.write_text(f'listen: ":{server.ports[0]}"')
        code = (
            "import sys; from gcsidecar.sidecar.cli import main; "
            f"status = main(['healthcheck', '--config', {str(path)!r}]); "
            "print(status, *sorted({name.partition('.')[0] for name in sys.modules}))"
        )
        run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    status, *modules = run.stdout.split()
    assert status == "0"
    assert not {"ssl", "http", "email", "msgspec", "tornado", "prometheus_client", "asyncio", "bcrypt"} & set(modules)

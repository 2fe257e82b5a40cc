"""Who may ask a real sidecar, and what it tells its supervisor: TLS, passwords, probes, reloads, systemd."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest
import yaml

from certificates import Authority, client_context
from e2e.harness import Sidecar, eventually
from e2e.prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certificates import Certificate

pytestmark = pytest.mark.e2e

PASSWORD = "correct horse"
TLS = {"cert_file": "server.crt", "key_file": "server.key"}
REQUIRED = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.crt"}
# It takes 16 s to see that this is the hash of another password.
SLOW_HASH = "$2y$18$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
ALICE = {"Authorization": "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()}


def users() -> dict[str, Any]:
    return {"basic_auth_users": {"alice": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(6)).decode()}}


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "cache").mkdir()
    return {"roots": [{"name": "jobs", "path": str(tmp_path / "cache")}]}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path)
    authority.issue("server")
    return authority


def write(directory: Path, content: dict[str, Any] | str) -> str:
    """A web config, put in the place of the one before in one step."""
    path, new = directory / "web.yaml", directory / "web.yaml.new"
    new.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    new.rename(path)
    return str(path)


def shown(sidecar: Sidecar) -> bytes:
    """The certificate that it shows now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", sidecar.port)) as plain, context.wrap_socket(plain) as secured:
        return secured.getpeercert(binary_form=True) or b""


def der(certificate: Certificate) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())


def healthcheck(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "gcsidecar.sidecar.cli", "healthcheck", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.returncode, run.stderr


def reloads(sidecar: Sidecar) -> tuple[float | None, float | None]:
    """How many were refused, and whether the last one was taken."""
    refused = sidecar.metric("gcsidecar_config_reload_failures_total")
    return refused, sidecar.metric("gcsidecar_config_last_reload_successful")


def test_prometheus_scrapes_by_certificate_and_password_and_misses_nothing_while_the_certificate_is_renewed(
    tmp_path: Path, config: dict[str, Any], authority: Authority
) -> None:
    own = authority.issue("prometheus", "DNS:prometheus.example.org")
    tls = TLS | REQUIRED | {"client_allowed_sans": ["prometheus.example.org"]}
    web = write(tmp_path, {"tls_server_config": tls} | users())
    (tmp_path / "password").write_text(PASSWORD)
    scrape = {
        "scheme": "https",
        "tls_config": {"ca_file": str(authority.cert), "cert_file": str(own.cert), "key_file": str(own.key)},
        "basic_auth": {"username": "alice", "password_file": str(tmp_path / "password")},
    }
    flags = ("--web.config.file", web)
    with (
        Sidecar(tmp_path, config, flags=flags, tls=client_context(authority, own), headers=ALICE) as sidecar,
        Prometheus(tmp_path, sidecar.port, scrape=scrape) as prometheus,
    ):
        eventually(lambda: prometheus.has("up == 1"), "it is scraped")
        renewed = authority.issue("server")
        eventually(lambda: shown(sidecar) == der(renewed), "it shows the new certificate")
        assert sidecar.get("/metrics", {"Authorization": "Basic x"})[0] == 401
        sidecar.tls = client_context(authority)
        with pytest.raises(OSError, match=r"(?i)alert|reset|eof|closed"):
            sidecar.get("/metrics")
        scraped = prometheus.value("count_over_time(up[1m])")
        eventually(lambda: prometheus.value("count_over_time(up[1m])") > scraped + 1, "more scrapes")
        assert prometheus.value("min_over_time(up[1m])") == 1
        assert prometheus.has('gcsidecar_root_role{role="active"} == 1')


def test_metrics_can_be_public_while_the_rest_is_not(tmp_path: Path, config: dict[str, Any]) -> None:
    web = write(tmp_path, users() | {"auth_excluded_paths": ["/metrics", "/readyz"]})
    with (
        Sidecar(tmp_path, config, flags=("--web.config.file", web)) as sidecar,
        Prometheus(tmp_path, sidecar.port) as prometheus,
    ):
        eventually(lambda: prometheus.has("up == 1"), "it is scraped")
        assert [sidecar.get(path)[0] for path in ("/", "/healthz", "/metrics")] == [401, 401, 200]
        assert sidecar.get("/", ALICE)[0] == 200


def test_a_web_config_that_became_wrong_is_refused_and_the_one_before_stays_in_force(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    web = write(tmp_path, users())
    with Sidecar(tmp_path, config, flags=("--web.config.file", web), headers=ALICE) as sidecar:
        write(tmp_path, "basic_auth_users: {alice: secret}")
        eventually(lambda: reloads(sidecar) == (1, 0), "it is refused")
        assert sidecar.get("/", {"Authorization": ""})[0] == 401
        [refusal] = sidecar.events("config-refused")
        assert "web.yaml:1: basic_auth_users.alice: is no bcrypt hash" in refusal["problem"]
        assert "secret" not in sidecar.log_path.read_text()
        write(tmp_path, {"http_server_config": {"headers": {"X-Frame-Options": "deny"}}})
        eventually(lambda: sidecar.get("/", {"Authorization": ""})[0] == 200, "the one that is right holds")
        assert reloads(sidecar) == (1, 1)


def test_a_secret_that_is_swapped_by_its_link_is_read_anew(
    tmp_path: Path, config: dict[str, Any], authority: Authority
) -> None:
    def put(version: str) -> None:
        (tmp_path / version).mkdir()
        for name in ("server.crt", "server.key"):
            shutil.copy(tmp_path / name, tmp_path / version / name)
        write(tmp_path / version, {"tls_server_config": TLS})
        (tmp_path / "new").symlink_to(version)
        (tmp_path / "new").rename(tmp_path / "..data")

    put("v1")
    for name in ("server.crt", "server.key", "web.yaml"):
        (tmp_path / "secret" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "secret" / name).symlink_to(f"../..data/{name}")
    flags = ("--web.config.file", str(tmp_path / "secret/web.yaml"))
    with Sidecar(tmp_path, config, flags=flags, tls=client_context(authority)) as sidecar:
        renewed = authority.issue("server")
        put("v2")
        eventually(lambda: shown(sidecar) == der(renewed), "it shows the new certificate")
        assert not sidecar.events("config-refused")


def test_a_web_config_that_is_wrong_at_the_start_ends_it_with_words(tmp_path: Path, config: dict[str, Any]) -> None:
    sidecar = Sidecar(tmp_path, config, flags=("--web.config.file", write(tmp_path, "tls_server_config: {}")))
    process = sidecar.start().process
    assert process is not None
    assert process.wait(20) == 1
    assert "web.yaml:1: tls_server_config.cert_file: is missing" in sidecar.log_path.read_text()


def test_the_command_line_says_where_it_listens_whatever_the_config_says(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    flags = ("--web.listen-address", "127.0.0.1:0", "--web.listen-address=127.0.0.2:0", "--web.enable-lifecycle")
    config = {"listen": "192.0.2.1:1", "log": {"format": "json"}} | config  # an address that can't be listened on
    with Sidecar(tmp_path, config, flags=flags) as sidecar:
        [listening] = sidecar.events("listening")
        assert listening["addresses"] == "127.0.0.1:0,127.0.0.2:0"
        sidecar.write(config | {"listen": "192.0.2.2:2"})
        assert sidecar.get("/-/reload", method="POST") == (200, "reloaded\n")
        assert sidecar.get("/healthz")[0] == 200
        for number, port in enumerate(str(listening["ports"]).split(","), start=1):
            socket.create_connection((f"127.0.0.{number}", int(port))).close()


def test_a_reload_is_answered_with_what_came_of_it_even_when_it_moves_elsewhere(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    with Sidecar(tmp_path, config, flags=("--web.enable-lifecycle",)) as sidecar:
        good = {"listen": "127.0.0.1:0", "log": {"format": "json"}} | config
        sidecar.write("roots: [")
        status, said = sidecar.get("/-/reload", method="POST")
        assert status == 500
        assert said.startswith("failed to reload config:\n")
        assert "gcsidecar.yaml:1:" in said
        sidecar.write(good | {"listen": "192.0.2.1:1"})
        status, said = sidecar.get("/-/reload", method="POST")
        assert (status, "can't listen on '192.0.2.1:1'" in said) == (500, True)
        sidecar.write(good | {"listen": "127.0.0.2:0"})
        assert sidecar.get("/-/reload", method="POST") == (200, "reloaded\n")
        assert len(sidecar.events("listening")) == 2
        socket.create_connection(("127.0.0.2", sidecar.port)).close()


def test_without_the_flag_nobody_reloads_it(tmp_path: Path, config: dict[str, Any]) -> None:
    with Sidecar(tmp_path, config) as sidecar:
        sidecar.write("roots: [")
        sidecar.send(signal.SIGHUP)
        eventually(lambda: sidecar.events("config-refused"), "the signal still does")
        before = len(sidecar.events("config-refused"))
        assert sidecar.get("/-/reload", method="POST")[0] == 403
        assert len(sidecar.events("config-refused")) == before
        assert [sidecar.get(path)[0] for path in ("/-/healthy", "/-/ready")] == [200, 200]


def test_the_health_command_tells_a_sidecar_that_lives_from_one_that_does_not(
    tmp_path: Path, config: dict[str, Any], authority: Authority
) -> None:
    own = authority.issue("client")
    flags = ("--web.config.file", write(tmp_path, {"tls_server_config": TLS | REQUIRED} | users()))
    tls = client_context(authority, own)
    with Sidecar(tmp_path, config, flags=flags, tls=tls, headers=ALICE) as sidecar:
        where = ("--url", f"https://127.0.0.1:{sidecar.port}", "--timeout", "10")
        assert healthcheck(*where) == (0, "")
        sidecar.send(signal.SIGSTOP)
        status, said = healthcheck(*where[:2], "--timeout", "0.5")
        sidecar.send(signal.SIGCONT)
        assert (status, "does not answer within 0.5 s" in said) == (1, True)
        assert healthcheck(*where) == (0, "")
        sidecar.stop()
        assert healthcheck(*where)[0] == 1


def test_sigterm_ends_it_within_a_second_even_while_a_password_is_looked_at(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    web = write(tmp_path, {"basic_auth_users": {"alice": SLOW_HASH}, "auth_excluded_paths": ["/readyz"]})
    with Sidecar(tmp_path, config, flags=("--web.config.file", web)) as sidecar:
        before = threads(sidecar)
        with socket.create_connection(("127.0.0.1", sidecar.port)) as client:
            client.sendall(f"GET / HTTP/1.1\r\nAuthorization: {ALICE['Authorization']}\r\n\r\n".encode())
            eventually(lambda: threads(sidecar) > before, "the password is looked at")
            status, seconds = sidecar.stop()
        assert (status, seconds < 1.0) == (0, True), seconds


def threads(sidecar: Sidecar) -> int:
    return len(os.listdir(f"/proc/{sidecar.pid}/task"))


def test_bcrypt_is_loaded_for_those_who_have_users_only(tmp_path: Path, config: dict[str, Any]) -> None:
    web = write(tmp_path, {"http_server_config": {"headers": {"X-Frame-Options": "deny"}}})
    with Sidecar(tmp_path, config, flags=("--web.config.file", web)) as sidecar:
        assert "_bcrypt" not in Path(f"/proc/{sidecar.pid}/maps").read_text()
        write(tmp_path, users())
        eventually(lambda: sidecar.get("/")[0] == 401, "it has users now")
        assert "_bcrypt" in Path(f"/proc/{sidecar.pid}/maps").read_text()


@contextlib.contextmanager
def manager(address: Path) -> Iterator[socket.socket]:
    """A service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(address))
        listening.settimeout(20)
        yield listening


def test_systemd_is_told_of_its_life(tmp_path: Path, config: dict[str, Any]) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "500000"}
    with manager(tmp_path / "notify") as systemd, Sidecar(tmp_path, config, environ=environ) as sidecar:

        def hear(start: str) -> str:
            until = time.monotonic() + 20
            while time.monotonic() < until:
                said = systemd.recv(4096).decode()
                if said.startswith(start):
                    return said
            pytest.fail(f"{start} was not said")

        if "all roots are kept" not in hear("READY=1\nSTATUS="):
            hear("STATUS=all roots are kept")
        hear("WATCHDOG=1")
        hear("WATCHDOG=1")
        shutil.rmtree(tmp_path / "cache")
        sidecar.send(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in hear("RELOADING=1")
        hear("READY=1")
        sidecar.stop()
        hear("STOPPING=1")


IMPATIENT = """
import sys
from gcsidecar.sidecar import health
health.STUCK_SECONDS = 1.5
from gcsidecar.sidecar.cli import main
sys.exit(main(sys.argv[4:]))
"""


def test_a_main_thread_that_is_stuck_is_unhealthy_and_one_that_turns_is_not(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    with Sidecar(tmp_path, config, under=(sys.executable, "-c", IMPATIENT)) as sidecar:
        where = ("--url", f"http://127.0.0.1:{sidecar.port}", "--timeout", "10")
        time.sleep(2)
        assert healthcheck(*where) == (0, "")
        good = sidecar.config_path.read_text()
        sidecar.config_path.unlink()
        os.mkfifo(sidecar.config_path)  # whoever opens it waits for a writer
        eventually(lambda: sidecar.get("/healthz")[0] == 503, "it is unhealthy")
        status, said = healthcheck(*where)
        assert (status, "unhealthy; the main thread is stuck for" in said) == (1, True)
        with sidecar.config_path.open("w") as writer:
            sidecar.config_path.unlink()
            sidecar.config_path.write_text(good)
            writer.write(good)
        eventually(lambda: sidecar.get("/healthz")[0] == 200, "it turns again")

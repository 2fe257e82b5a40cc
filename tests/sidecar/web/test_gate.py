"""Who is let in, by password and by certificate; and that asking for passwords costs a scraper next to nothing."""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest
import yaml

from certificates import Authority, client_context
from gcsidecar.cache.spec import Seconds
from gcsidecar.sidecar.web import passwords
from gcsidecar.sidecar.web.gate import Bucket
from gcsidecar.sidecar.web.loader import load_access
from gcsidecar.sidecar.web.settings import RateSettings
from sidecar.web.serving import ask, connection, is_gone, over, serving, silent, until

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from gcsidecar.sidecar.web.access import Access
    from gcsidecar.sidecar.web.server import WebServer


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


ALICE = {"basic_auth_users": {"alice": hashed("wonderland"), "böb": hashed("pass:wörd")}}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls(authority: Authority) -> dict[str, str]:
    authority.issue("server")
    return {"cert_file": "server.crt", "key_file": "server.key"}


def access(directory: Path, content: dict[str, Any]) -> Access:
    path = directory / "web.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_access(str(path))


@contextlib.contextmanager
def guarded(directory: Path, content: dict[str, Any], **options: Any) -> Iterator[WebServer]:
    with serving(access=access(directory, content), **options) as server:
        yield server


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def status(server: WebServer, name: str, password: str, path: str = "/metrics") -> int:
    return ask(server, path, headers=basic(name, password)).status


# By password


def test_without_credentials_everything_is_refused_with_a_challenge(tmp_path: Path) -> None:
    with guarded(tmp_path, ALICE) as server:
        for path in ("/", "/metrics", "/healthz", "/readyz", "/-/healthy", "/none"):
            reply = ask(server, path)
            assert (reply.status, reply.text) == (401, "a user's name and password are needed\n")
            assert reply.headers["WWW-Authenticate"] == 'Basic realm="gcsidecar", charset="UTF-8"'


@pytest.mark.parametrize(
    ("name", "password", "expected"),
    [
        ("alice", "wonderland", 200),
        ("böb", "pass:wörd", 200),
        ("alice", "Wonderland", 401),
        ("alice", "pass:wörd", 401),
        ("alice", "", 401),
        ("alice", "wonder\0land", 401),
        ("Alice", "wonderland", 401),
        ("", "wonderland", 401),
        ("mallory", "wonderland", 401),
        ("alice", "w" * 5000, 401),
    ],
)
def test_only_a_users_own_password_lets_in_and_it_does_so_again(
    tmp_path: Path, name: str, password: str, expected: int
) -> None:
    with guarded(tmp_path, ALICE) as server:
        assert [status(server, name, password) for _ in range(3)] == [expected] * 3


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !", "Basic YWxpY2U=", "Basic /w==", "Bearer x", "", "Basic Og== Og=="]
)
def test_what_are_no_credentials_are_refused_at_once(tmp_path: Path, header: str) -> None:
    with guarded(tmp_path, ALICE) as server:
        assert ask(server, headers={"Authorization": header}).status == 401
        assert (
            ask(server, headers={"Authorization": basic("alice", "wonderland")["Authorization"].lower()}).status == 401
        )


def test_a_password_is_told_by_its_first_72_bytes_as_htpasswd_does(tmp_path: Path) -> None:
    with guarded(tmp_path, {"basic_auth_users": {"alice": hashed("x" * 72)}}) as server:
        assert status(server, "alice", "x" * 80) == 200
        assert status(server, "alice", "x" * 71) == 401


def test_excluded_pages_are_for_everybody_and_only_they(tmp_path: Path) -> None:
    with guarded(tmp_path, ALICE | {"auth_excluded_paths": ["/healthz", "/metrics"]}) as server:
        asked = [
            "/healthz",
            "/metrics?name[]=x",
            "/healthz/",
            "//healthz",
            "/readyz",
            "/",
            "/%68ealthz",
            "/metrics/../",
        ]
        assert [ask(server, path).status for path in asked] == [200, 200, *[401] * 6]


class Looks:
    """bcrypt's own look at passwords, each of which is noted; one at a wrong password may be made to take its time.

    Attributes:
        passwords: Those that were looked at.
        costs: Of the hashes that they were held to.
        may_end: Clear it, and no look at a wrong password ends.
    """

    def __init__(self) -> None:
        self.passwords: list[bytes] = []
        self.costs: list[int] = []
        self.may_end = threading.Event()
        self.may_end.set()
        self._look = bcrypt.checkpw

    def __call__(self, password: bytes, hashed_password: bytes) -> bool:
        self.passwords.append(password)
        self.costs.append(int(hashed_password.split(b"$")[2]))
        right = self._look(password, hashed_password)
        return right or not self.may_end.wait(60)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Looks]:
    looks = Looks()
    monkeypatch.setattr(bcrypt, "checkpw", looks)
    yield looks
    looks.may_end.set()


def test_a_verdict_is_remembered_so_a_scrape_stays_cheap(tmp_path: Path, looks: Looks) -> None:
    with guarded(tmp_path, ALICE) as server, contextlib.closing(connection(server)) as client:
        for _ in range(20):
            assert over(client, headers=basic("alice", "wonderland")).status == 200
    assert looks.passwords == [b"wonderland"]


def test_a_wrong_password_is_remembered_too_but_does_not_push_out_a_right_one(tmp_path: Path, looks: Looks) -> None:
    with guarded(tmp_path, ALICE) as server:
        assert status(server, "alice", "wonderland") == 200
        for number in range(passwords.REMEMBERED_WRONG + 10):
            assert status(server, "alice", f"guess-{number}") == 401
        before = len(looks.passwords)
        assert status(server, "alice", "wonderland") == 200
        assert status(server, "alice", f"guess-{number}") == 401
        assert len(looks.passwords) == before
        assert status(server, "alice", "guess-0") == 401
        assert len(looks.passwords) == before + 1


def test_it_cannot_be_told_by_the_time_whether_a_user_exists(tmp_path: Path, looks: Looks) -> None:
    """That is bcrypt's: of each name that is guessed for there is one look, of the same cost."""
    with guarded(tmp_path, {"basic_auth_users": {"alice": hashed("wonderland", 6)}}) as server:
        for number in range(3):
            for name in ("alice", "mallory"):
                assert status(server, name, f"guess {number} {name}") == 401
                assert looks.passwords.pop() == f"guess {number} {name}".encode()
                assert looks.costs.pop() == 6
                assert not looks.passwords


def test_whoever_guesses_passwords_holds_up_neither_a_scraper_nor_a_probe_and_takes_no_threads(
    tmp_path: Path, looks: Looks
) -> None:
    with guarded(tmp_path, ALICE | {"auth_excluded_paths": ["/healthz"]}) as server, contextlib.ExitStack() as closing:
        closing.callback(looks.may_end.set)
        assert status(server, "alice", "wonderland") == 200
        looks.may_end.clear()
        before = threading.active_count()
        for number in range(100):
            guess = basic("alice", f"guess {number}")["Authorization"]
            closing.enter_context(silent(server, f"GET / HTTP/1.1\r\nAuthorization: {guess}\r\n\r\n".encode()))
        assert until(lambda: len(looks.passwords) == 2)
        for _ in range(10):
            assert status(server, "alice", "wonderland") == 200
            assert ask(server, "/healthz").status == 200
        assert threading.active_count() - before <= 2
        assert len(looks.passwords) == 2, "they wait for the first"


def test_of_many_guesses_at_once_few_are_looked_at_and_the_rest_told_to_come_again(
    tmp_path: Path, looks: Looks
) -> None:
    looks.may_end.clear()
    few = passwords.MOST_WAITING_OF_A_CLIENT
    with guarded(tmp_path, ALICE) as server, ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(ask, server, headers=basic("alice", f"guess {number}")) for number in range(20)]
        assert until(lambda: sum(one.done() for one in asked) == 20 - few)
        looks.may_end.set()
        replies = [one.result() for one in asked]
    assert sorted(reply.status for reply in replies) == [401] * few + [503] * (20 - few)
    assert {reply.headers["Retry-After"] for reply in replies if reply.status == 503} == {"1"}


def test_a_client_that_hangs_up_while_its_password_is_looked_at_frees_no_place(tmp_path: Path, looks: Looks) -> None:
    looks.may_end.clear()
    with guarded(tmp_path, ALICE) as server:
        for number in range(30):
            guess = basic("alice", f"guess {number}")["Authorization"]
            with silent(server, f"GET / HTTP/1.1\r\nAuthorization: {guess}\r\n\r\n".encode()):
                assert until(lambda: bool(looks.passwords))
                time.sleep(0.01)  # so that it is heard
        assert status(server, "alice", "another") == 503
        assert looks.passwords == [b"guess 0"]
        looks.may_end.set()


def test_the_same_question_from_many_at_once_is_looked_at_once(tmp_path: Path, looks: Looks) -> None:
    looks.may_end.clear()
    with guarded(tmp_path, ALICE) as server, ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(status, server, "alice", "another", "/healthz") for _ in range(10)]
        time.sleep(0.2)  # so that most have asked while it is looked at
        looks.may_end.set()
        assert [one.result() for one in asked] == [401] * 10
    assert looks.passwords == [b"another"]


def test_no_password_is_kept_in_memory(tmp_path: Path) -> None:
    with guarded(tmp_path, ALICE) as server:
        assert status(server, "alice", "wonderland") == 200
        assert status(server, "alice", "a wrong one") == 401
        kept = server._gate._passwords
        assert kept._right
        assert kept._wrong
        assert not any(word in repr(vars(kept)) for word in ("wonderland", "a wrong one"))


def test_who_is_a_user_no_more_is_refused_at_the_next_request(tmp_path: Path) -> None:
    with guarded(tmp_path, ALICE) as server, contextlib.closing(connection(server)) as client:
        assert over(client, headers=basic("alice", "wonderland")).status == 200
        kept = client.sock
        server.admit(access(tmp_path, {"basic_auth_users": {"alice": hashed("looking-glass")}}), anew=False)
        assert over(client, headers=basic("alice", "wonderland")).status == 401
        assert over(client, headers=basic("alice", "looking-glass")).status == 200
        assert client.sock is kept


# Headers and the rate


def test_headers_are_added_to_every_answer_and_the_landing_page_keeps_its_own_policy(tmp_path: Path) -> None:
    wanted = {"Strict-Transport-Security": "max-age=1", "Content-Security-Policy": "default-src 'self'"}
    with guarded(tmp_path, ALICE | {"http_server_config": {"headers": wanted}}) as server:
        for path, headers in (("/metrics", {}), ("/metrics", basic("alice", "wonderland"))):
            got = ask(server, path, headers=headers).headers
            assert {name: got[name] for name in wanted} == wanted
            assert got["X-Content-Type-Options"] == "nosniff"
        landing = ask(server, "/", headers=basic("alice", "wonderland")).headers
        assert "style-src 'sha256-" in landing["Content-Security-Policy"]
        assert landing["Strict-Transport-Security"] == "max-age=1"


def test_more_requests_than_the_rate_allows_are_told_to_come_again(tmp_path: Path) -> None:
    with guarded(tmp_path, {"rate_limit": {"interval": "1h", "burst": 3}}) as server:
        replies = [ask(server, "/healthz") for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
    assert replies[-1].headers["Retry-After"] == "1"


def test_tokens_come_back_one_an_interval_up_to_the_burst() -> None:
    bucket = Bucket(RateSettings(interval=Seconds(10), burst=2))
    assert [bucket.take(now) for now in (1000, 1000, 1000, 1009, 1010, 1011, 2000, 2000, 2000)] == [
        *(True, True, False, False, True, False),
        *(True, True, False),
    ]


# By certificate


REQUIRED = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.crt"}


def test_only_a_client_with_a_certificate_of_the_authority_is_let_in(
    tmp_path: Path, authority: Authority, tls: dict[str, str]
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").issue("client")
    with guarded(tmp_path, {"tls_server_config": tls | REQUIRED}) as server:
        assert ask(server, tls=client_context(authority, authority.issue("client"))).status == 200
        for context in (client_context(authority), client_context(authority, stranger)):
            with pytest.raises(OSError, match=r"(?i)alert|reset|eof|closed"):
                ask(server, tls=context)
        assert ask(server, tls=client_context(authority, authority.issue("client"))).status == 200


@pytest.mark.parametrize(
    ("alternatives", "allowed", "expected"),
    [
        ("DNS:prometheus", ["prometheus"], 200),
        ("DNS:other,IP:10.0.0.1", ["10.0.0.1"], 200),
        ("IP:fd00::1", ["fd00:0::1"], 200),
        ("URI:spiffe://cluster/ns/monitoring", ["x", "spiffe://cluster/ns/monitoring"], 200),
        ("email:ops@example.org", ["ops@example.org"], 200),
        ("DNS:other", ["prometheus"], 403),
        ("", ["prometheus"], 403),
    ],
)
def test_of_those_only_one_with_an_allowed_name_is_let_in(
    tmp_path: Path, authority: Authority, tls: dict[str, str], alternatives: str, allowed: list[str], expected: int
) -> None:
    own = authority.issue("client", alternatives)
    settings = tls | REQUIRED | {"client_allowed_sans": allowed}
    with guarded(tmp_path, {"tls_server_config": settings}) as server:
        assert ask(server, tls=client_context(authority, own)).status == expected


def test_excluded_pages_need_no_certificate_either_and_the_others_do(
    tmp_path: Path, authority: Authority, tls: dict[str, str]
) -> None:
    content = {"tls_server_config": tls | REQUIRED, "auth_excluded_paths": ["/healthz"]}
    with guarded(tmp_path, content) as server:
        without, own = client_context(authority), client_context(authority, authority.issue("client"))
        assert [ask(server, path, tls=without).status for path in ("/healthz", "/metrics")] == [200, 403]
        assert [ask(server, path, tls=own).status for path in ("/healthz", "/metrics")] == [200, 200]


def test_a_password_is_asked_for_besides_a_certificate(
    tmp_path: Path, authority: Authority, tls: dict[str, str]
) -> None:
    own = client_context(authority, authority.issue("client"))
    with guarded(tmp_path, {"tls_server_config": tls | REQUIRED} | ALICE) as server:
        assert ask(server, tls=own).status == 401
        assert ask(server, headers=basic("alice", "wonderland"), tls=own).status == 200


@pytest.mark.parametrize(
    ("keys", "version", "cipher"),
    [
        ({}, "TLSv1.3", "TLS_"),
        ({"max_version": "TLS12"}, "TLSv1.2", "ECDHE-ECDSA-"),
        (
            {"max_version": "TLS12", "cipher_suites": ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"]},
            "TLSv1.2",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
        ({"cipher_suites": ["TLS_AES_128_GCM_SHA256"], "curve_preferences": ["CurveP384"]}, "TLSv1.3", "TLS_"),
    ],
)
def test_versions_and_suites_are_what_was_asked_for(
    tmp_path: Path, authority: Authority, tls: dict[str, str], keys: dict[str, Any], version: str, cipher: str
) -> None:
    with guarded(tmp_path, {"tls_server_config": tls | keys}) as server:
        spoken = shaken_hands(server, client_context(authority))
        assert spoken.version() == version
        assert str(spoken.cipher()).startswith(f"('{cipher}")


def test_a_client_that_speaks_only_what_is_excluded_is_turned_away(
    tmp_path: Path, authority: Authority, tls: dict[str, str]
) -> None:
    import ssl  # noqa: PLC0415

    old = client_context(authority)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    for keys in ({"min_version": "TLS13"}, {"cipher_suites": ["TLS_AES_128_GCM_SHA256"]}):
        with guarded(tmp_path, {"tls_server_config": tls | keys}) as server, pytest.raises(ssl.SSLError):
            shaken_hands(server, old)


def shaken_hands(server: WebServer, context: ssl.SSLContext) -> Spoken:
    client = connection(server, context)
    client.connect()
    with contextlib.closing(client):
        sock: Any = client.sock
        over(client, "/healthz")
        return Spoken(sock.version(), sock.cipher())


class Spoken:
    """What was agreed on, once the connection is closed."""

    def __init__(self, version: str, cipher: tuple[str, str, int]) -> None:
        self._version, self._cipher = version, cipher

    def version(self) -> str:
        return self._version

    def cipher(self) -> tuple[str, str, int]:
        return self._cipher


# Changes


def test_a_new_certificate_is_shown_to_who_comes_and_drops_nobody(
    tmp_path: Path, authority: Authority, tls: dict[str, str]
) -> None:
    content = {"tls_server_config": tls}
    context = client_context(authority)
    with guarded(tmp_path, content) as server, contextlib.closing(connection(server, context)) as client:
        over(client, "/healthz")
        kept: Any = client.sock
        before = kept.getpeercert(binary_form=True)
        authority.issue("server")
        server.admit(access(tmp_path, content), anew=False)
        assert over(client, "/healthz").status == 200
        assert client.sock is kept
        with contextlib.closing(connection(server, context)) as newcomer:
            over(newcomer, "/healthz")
            shown: Any = newcomer.sock
            assert shown.getpeercert(binary_form=True) != before


def test_once_tls_is_asked_for_those_in_plain_http_have_to_come_anew(
    tmp_path: Path, authority: Authority, tls: dict[str, str]
) -> None:
    with serving() as server, contextlib.closing(connection(server)) as plain:
        over(plain)
        server.admit(access(tmp_path, {"tls_server_config": tls}), anew=True)
        assert plain.sock
        assert until(lambda: is_gone(plain.sock))
        assert ask(server, tls=client_context(authority)).status == 200
        server.admit(access(tmp_path, {"http_server_config": {"http2": True}}), anew=True)
        assert ask(server).status == 200

"""The web config: what is taken, what is refused and in which words, beside what promtool says of the same file."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import needs
from certificates import Authority
from gcsidecar.sidecar.config import ConfigError
from gcsidecar.sidecar.web.loader import load_access

EXAMPLE = Path(__file__).parents[3] / "config/web.yaml"
HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
ALL_SUITES = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
]
IF_GIVEN = {"client_auth_type": "VerifyClientCertIfGiven"}
REQUIRED = {"client_auth_type": "RequireAndVerifyClientCert"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    authority = Authority(directory)
    authority.issue("server")
    authority.issue("other")
    return directory


def tls(**keys: Any) -> dict[str, Any]:
    return {"tls_server_config": {"cert_file": "server.crt", "key_file": "server.key"} | keys}


def users(**hashes: str) -> dict[str, Any]:
    return {"basic_auth_users": hashes}


def headers(**values: Any) -> dict[str, Any]:
    return {"http_server_config": {"headers": {name.replace("_", "-"): value for name, value in values.items()}}}


def write(directory: Path, content: dict[str, Any] | str) -> Path:
    path = directory / "web.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def is_right_for_promtool(path: Path) -> bool:
    command = [needs.program("promtool", "prometheus"), "check", "web-config", str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_access(str(path))
    return str(caught.value).replace(str(path), "web.yaml")


@pytest.mark.parametrize(
    "content",
    [
        tls(),
        tls(min_version="TLS13", max_version="TLS13", prefer_server_cipher_suites=False),
        tls(cipher_suites=ALL_SUITES, curve_preferences=["X25519"]),
        tls(client_auth_type="RequireAndVerifyClientCert", client_ca_file="ca.crt"),
        tls(client_auth_type="VerifyClientCertIfGiven", client_ca_file="ca.crt"),
        tls() | users(alice=HASH, bob=HASH.replace("$10$", "$04$").replace("$2y", "$2b")),
        {"http_server_config": {"http2": False}},
        headers(X_Frame_Options="deny", X_XSS_Protection=1, Content_Security_Policy="default-src 'self'"),
    ],
)
def test_what_promtool_takes_and_can_be_done_is_taken(directory: Path, content: dict[str, Any]) -> None:
    path = write(directory, content)
    access = load_access(str(path))
    assert is_right_for_promtool(path)
    assert (access.tls is not None) == ("tls_server_config" in content)


def test_the_example_is_clean_for_promtool_and_for_us() -> None:
    assert is_right_for_promtool(EXAMPLE)
    assert load_access(str(EXAMPLE)).settings.http_server_config.headers["X-Frame-Options"] == "deny"


def test_every_line_of_the_example_that_is_commented_out_is_right_too(directory: Path) -> None:
    lines = EXAMPLE.read_text().splitlines()
    live = "\n".join(line.replace("# ", "", 1) for line in lines if line.lstrip().startswith("# ") and is_yaml(line))
    text = live.replace("$2y$10$...", HASH).replace("tls.crt", "server.crt").replace("tls.key", "server.key")
    settings = load_access(str(write(directory, text + "\n" + uncommented(lines)))).settings
    assert settings.tls_server_config is not None
    assert settings.tls_server_config.client_allowed_sans == ("prometheus.example.org",)
    assert settings.basic_auth_users == {"prometheus": HASH}
    assert settings.auth_excluded_paths == ("/healthz", "/readyz")
    assert (settings.rate_limit.interval, settings.rate_limit.burst) == (0.1, 20)


def is_yaml(line: str) -> bool:
    text = line.lstrip("# ").partition(" #")[0]
    return bool(text.partition(":")[1]) and " " not in text.partition(":")[0] and "Strict" not in text


def uncommented(lines: list[str]) -> str:
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def test_certificates_may_stand_in_the_file_itself(directory: Path) -> None:
    text = {key: (directory / f"server.{end}").read_text() for key, end in (("cert", "crt"), ("key", "key"))}
    authority = (directory / "ca.crt").read_text()
    inline = {**text, "client_ca": authority, "client_auth_type": "RequireAndVerifyClientCert"}
    assert load_access(str(write(directory, {"tls_server_config": inline}))).tls is not None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "web.yaml:1: (file): can't be read: there is nothing in it; the path of a web config"),
        ("# tls_server_config:\n", "there is nothing in it"),
        ("a: [", "is not YAML"),
        ("tls_config: {}", 'tls_config: is not a known key; did you mean "tls_server_config"?'),
        ("basic_auth_users:\n  # alice: x\n", "basic_auth_users: has no value; a mapping of names to text"),
        ("tls_server_config: {}", "tls_server_config.cert_file: is missing; the path of a PEM file"),
        (tls(cert_file="none.crt"), 'tls_server_config.cert_file: can\'t be read: "none.crt": No such file'),
        (tls(key_file="ca.crt"), "tls_server_config.key_file: holds no private key"),
        (tls(cert_file="server.key"), "tls_server_config.cert_file: holds no certificate"),
        (tls(key_file="other.key"), "tls_server_config.key_file: is not the key of the certificate"),
        (tls(cert="x"), "tls_server_config.cert: stands beside cert_file; one of the two"),
        (tls(min_version="TLS10"), 'min_version: is "TLS10"; one of TLS12, TLS13'),
        (tls(min_version="TLS13", max_version="TLS12"), "min_version: is TLS13, above max_version"),
        (tls(client_auth_type="RequestClientCert"), 'client_auth_type: is "RequestClientCert"; one of NoClientCert'),
        (tls(client_auth_type="RequireAnyClientCert"), "RequireAndVerifyClientCert, VerifyClientCertIfGiven"),
        (tls(client_auth_type="RequireAndVerifyClientCert"), "client_ca_file: is missing; the authority whose"),
        (tls(client_ca_file="ca.crt"), "client_ca_file: is there, while clients show no certificate"),
        (tls(client_allowed_sans=["a"]), "client_allowed_sans: is there, while clients show no certificate"),
        (
            tls(client_ca_file="server.key", client_auth_type="RequireAndVerifyClientCert"),
            "client_ca_file: holds no certificates",
        ),
        (tls(cipher_suites=["TLS_RSA_WITH_RC4_128_SHA"]), 'cipher_suites[0]: is "TLS_RSA_WITH_RC4_128_SHA", which is'),
        (tls(cipher_suites=["TLS_AES_128_GCM_SHA256"], max_version="TLS12"), "cipher_suites: has none for TLS12"),
        (tls(curve_preferences=["P-256"]), 'curve_preferences[0]: is "P-256", which is not known; one of X25519'),
        (tls(curve_preferences=["X25519", "CurveP256"]), "curve_preferences: has several curves"),
        (users(alice="secret"), "basic_auth_users.alice: is no bcrypt hash with a cost from 4 to 18"),
        (users(alice=HASH.replace("$10$", "$19$")), "is no bcrypt hash with a cost from 4 to 18"),
        ({"basic_auth_users": {"a:b": HASH}}, "is a name with a colon"),
        (headers(Server="x"), "http_server_config.headers.Server: is no header that can be set"),
        (headers(X_Frame_Options="maybe"), 'X-Frame-Options: is "maybe"; deny or sameorigin'),
        (headers(Content_Security_Policy="a\r\nSet-Cookie: b"), "has a character that no header can have"),
        ({"rate_limit": {"interval": "1s"}}, "rate_limit.burst: is 0, which would let nobody in"),
        ({"rate_limit": {"interval": 1, "burst": 1}}, "rate_limit.interval: 1 has no unit; 1s if seconds are meant"),
        ({"auth_excluded_paths": ["metrics"]}, 'auth_excluded_paths[0]: is "metrics"; a page to read'),
        ({"auth_excluded_paths": ["/-/reload"]}, 'auth_excluded_paths[0]: is "/-/reload"; a page to read'),
    ],
)
def test_what_is_wrong_is_refused_in_words(directory: Path, content: dict[str, Any] | str, says: str) -> None:
    assert says in refused(write(directory, content))


def test_a_password_in_place_of_a_hash_is_not_shown(directory: Path) -> None:
    assert "hunter2" not in refused(write(directory, users(alice="hunter2")))


def test_a_key_with_a_passphrase_is_refused_and_not_asked_for_on_the_terminal(directory: Path) -> None:
    openssl = needs.program("openssl")
    command = [openssl, "pkey", "-in", "server.key", "-aes256", "-passout", "pass:x", "-out", "locked.key"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    locked = "ENCRYPTED PRIVATE KEY" in (directory / "locked.key").read_text()
    assert (locked, "can't be used" in refused(write(directory, tls(key_file="locked.key")))) == (True, True)


def test_variables_are_left_alone_as_the_toolkit_leaves_them(directory: Path) -> None:
    access = load_access(str(write(directory, headers(Content_Security_Policy="${HOME}"))))
    assert access.settings.http_server_config.headers["Content-Security-Policy"] == "${HOME}"


def test_each_file_is_named_before_it_is_read(directory: Path) -> None:
    named: list[str] = []
    path = write(directory, tls(key_file="gone.key"))
    with pytest.raises(ConfigError):
        load_access(str(path), named.append)
    assert named == [str(path), str(directory / "server.crt"), str(directory / "gone.key")]


@pytest.mark.parametrize(
    ("keys", "path", "names", "enters"),
    [
        ({}, "/metrics", None, True),
        (IF_GIVEN, "/metrics", None, True),
        (REQUIRED, "/metrics", None, False),
        (REQUIRED, "/metrics", {"b"}, True),
        (REQUIRED, "/healthz", None, True),
        (REQUIRED | {"client_allowed_sans": ["a"]}, "/metrics", {"b"}, False),
        (REQUIRED | {"client_allowed_sans": ["a"]}, "/metrics", {"a", "b"}, True),
        (REQUIRED | {"client_allowed_sans": ["0:0:0:0:0:0:0:1"]}, "/metrics", {"::1"}, True),
        (IF_GIVEN | {"client_allowed_sans": ["a"]}, "/metrics", {"b"}, False),
    ],
)
def test_who_enters_by_certificate(
    directory: Path,
    keys: dict[str, Any],
    path: str,
    names: set[str] | None,
    enters: bool,  # noqa: FBT001  pytest hands it over by name
) -> None:
    authority = {"client_ca_file": "ca.crt"} if keys else {}
    access = load_access(str(write(directory, tls(**keys, **authority) | {"auth_excluded_paths": ["/healthz"]})))
    assert access.lets_in(path, None if names is None else frozenset(names)) is enters

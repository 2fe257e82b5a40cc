"""The web config as a value: the keys of the Prometheus exporter toolkit's file, each with its default.

Only types and what can be said from them alone; reading is done in `loader`, obeying in `tls` and `gate`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gcsidecar.cache.spec import Seconds

TlsVersion = Literal["TLS12", "TLS13"]


class _Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Frozen, keywords only, unknown keys refused."""


class TlsSettings(_Settings, frozen=True):
    """What the server shows of itself, and asks of clients; files are relative to the web config."""

    cert_file: str = ""
    key_file: str = ""
    cert: str = ""
    key: str = ""
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = "NoClientCert"
    client_ca_file: str = ""
    client_ca: str = ""
    client_allowed_sans: tuple[str, ...] = ()
    min_version: TlsVersion = "TLS12"
    max_version: TlsVersion = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it names."""
        return tuple(filter(None, (self.cert_file, self.key_file, self.client_ca_file)))


class HttpSettings(_Settings, frozen=True):
    """What answers carry; `http2` is taken and changes nothing, as only HTTP/1.1 is spoken."""

    http2: bool = True
    headers: dict[str, str] = {}


class RateSettings(_Settings, frozen=True):
    """A token bucket for all requests together; an interval of 0 turns it off."""

    interval: Seconds = Seconds(0)
    burst: Annotated[int, Meta(ge=0)] = 0


class WebSettings(_Settings, frozen=True):
    """The whole file."""

    tls_server_config: TlsSettings | None = None
    http_server_config: HttpSettings = HttpSettings()
    rate_limit: RateSettings = RateSettings()
    basic_auth_users: dict[str, str] = {}
    auth_excluded_paths: tuple[str, ...] = ()

"""TLS as the web config says it: settings into a context of Python's ssl, or what is wrong with them.

A context is made anew where a certificate has changed, never changed itself: connections under way keep theirs.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from gcsidecar.errors import GcsidecarError
from gcsidecar.sidecar.web.suites import CURVES, SUITES_TLS12, SUITES_TLS13

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsidecar.sidecar.web.settings import TlsSettings

MAX_FILE_BYTES = 1 << 20

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


class TlsError(GcsidecarError):
    """TLS that can't be; `what` is wrong at `key`, `remedy` would be right."""

    def __init__(self, key: str, what: str, remedy: str) -> None:
        super().__init__(f"{key}: {what}; {remedy}")
        self.key, self.what, self.remedy = key, what, remedy


def context_of(tls: TlsSettings, directory: str, *, anonymous: bool) -> ssl.SSLContext:
    """The context.

    Args:
        tls: What is wanted.
        directory: What its files are relative to.
        anonymous: Whether some pages are for clients without a certificate, too, so that the handshake lets them in.

    Raises:
        TlsError: It can't be made.
    """
    _check(tls)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.minimum_version, context.maximum_version = _VERSIONS[tls.min_version], _VERSIONS[tls.max_version]
    _choose_suites(context, tls)
    for name in tls.curve_preferences:
        context.set_ecdh_curve(CURVES[name])
    _load_certificate(context, tls, directory)
    if tls.client_ca or tls.client_ca_file:
        _load_authorities(context, tls, directory)
    verify = _CLIENTS[tls.client_auth_type]
    context.verify_mode = ssl.CERT_OPTIONAL if verify and anonymous else verify
    return context


def names_in(certificate: ssl._PeerCertRetDictType) -> frozenset[str]:  # the type has no public name
    """The subject alternative names of a verified certificate: DNS names, addresses, e-mail addresses and URIs."""
    return frozenset(_normal(kind, str(name)) for kind, name in _alternatives(certificate))


def normal_name(text: str) -> str:
    """A name as `names_in` has it: an IP address has many spellings."""
    import ipaddress  # noqa: PLC0415  only where clients are told apart by their names

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _alternatives(certificate: ssl._PeerCertRetDictType) -> Iterator[tuple[str, str]]:
    for pair in certificate.get("subjectAltName", ()):
        if isinstance(pair, tuple) and len(pair) > 1:
            yield str(pair[0]), str(pair[1])


def _normal(kind: str, name: str) -> str:
    return normal_name(name) if kind == "IP Address" else name


def _check(tls: TlsSettings) -> None:
    for one in ("cert", "key"):
        inline, file = getattr(tls, one), getattr(tls, f"{one}_file")
        if not inline and not file:
            raise TlsError(f"{one}_file", "is missing", f"the path of a PEM file, or {one} with its content")
        _check_one_of(tls, one)
    _check_one_of(tls, "client_ca")
    if _VERSIONS[tls.min_version] > _VERSIONS[tls.max_version]:
        raise TlsError("min_version", f"is {tls.min_version}, above max_version", f"{tls.max_version} or older")
    _check_clients(tls)
    for key, known in (("cipher_suites", (*SUITES_TLS12, *SUITES_TLS13)), ("curve_preferences", CURVES)):
        for number, name in enumerate(getattr(tls, key)):
            if name not in known:
                raise TlsError(f"{key}[{number}]", f'is "{name}", which is not known', f"one of {', '.join(known)}")
    if len(tls.curve_preferences) > 1:
        raise TlsError(
            "curve_preferences", "has several curves, and this server can be given a single one", "one, or none"
        )


def _check_one_of(tls: TlsSettings, one: str) -> None:
    if getattr(tls, one) and getattr(tls, f"{one}_file"):
        raise TlsError(one, f"stands beside {one}_file", "one of the two")


def _check_clients(tls: TlsSettings) -> None:
    has_authorities = bool(tls.client_ca or tls.client_ca_file)
    if tls.client_auth_type == "NoClientCert":
        for key in ("client_ca_file", "client_ca", "client_allowed_sans"):
            if getattr(tls, key):
                raise TlsError(
                    key, "is there, while clients show no certificate", "client_auth_type: RequireAndVerifyClientCert"
                )
    elif not has_authorities:
        # Go would take any certificate that a public authority has signed, which is no restriction at all.
        raise TlsError("client_ca_file", "is missing", f"the authority whose certificates {tls.client_auth_type} means")


def _choose_suites(context: ssl.SSLContext, tls: TlsSettings) -> None:
    chosen = [SUITES_TLS12[name] for name in tls.cipher_suites if name in SUITES_TLS12]
    if chosen:
        context.set_ciphers(":".join(chosen))
    elif tls.cipher_suites:
        # Suites of TLS 1.3 only: nothing is left to speak TLS 1.2 with.
        if tls.max_version == "TLS12":
            raise TlsError("cipher_suites", "has none for TLS12, the max_version", "one of " + ", ".join(SUITES_TLS12))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE


def _load_certificate(context: ssl.SSLContext, tls: TlsSettings, directory: str) -> None:
    certificate = tls.cert.encode() or _content("cert_file", tls.cert_file, directory)
    key = tls.key.encode() or _content("key_file", tls.key_file, directory)
    cert_key, key_key = "cert" if tls.cert else "cert_file", "key" if tls.key else "key_file"
    if b"-----BEGIN CERTIFICATE-----" not in certificate:
        raise TlsError(cert_key, "holds no certificate", "PEM, which begins with -----BEGIN CERTIFICATE-----")
    if b"PRIVATE KEY-----" not in key:
        raise TlsError(key_key, "holds no private key", "PEM, which begins with -----BEGIN PRIVATE KEY-----")
    try:
        _load(context, certificate, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(key_key, "is not the key of the certificate", "the two that were made together") from error
        raise TlsError(cert_key, f"can't be used: {_why(error)}", "a certificate and its key, in PEM") from error


def _load(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """What ssl takes from files only, from memory: it may stand in the web config, or change on disk meanwhile."""
    file = os.memfd_create("gcsidecar-tls", os.MFD_CLOEXEC)
    try:
        os.write(file, certificate + b"\n" + key)
        # Without a password at hand OpenSSL would ask for it on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{file}", password=lambda: "")
    finally:
        os.close(file)


def _load_authorities(context: ssl.SSLContext, tls: TlsSettings, directory: str) -> None:
    key = "client_ca" if tls.client_ca else "client_ca_file"
    try:
        content = tls.client_ca.encode() or _content(key, tls.client_ca_file, directory)
        # Only in the notes between certificates, which OpenSSL skips, is there anything but ASCII.
        context.load_verify_locations(cadata=content.decode("ascii", "ignore"))
    except ssl.SSLError as error:
        raise TlsError(key, f"holds no certificates: {_why(error)}", "certificates of authorities, in PEM") from error


def _why(error: ssl.SSLError) -> str:
    return str(error.reason or error).lower().replace("_", " ")


def _content(key: str, path: str, directory: str) -> bytes:
    try:
        with Path(directory, path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise TlsError(key, f'can\'t be read: "{path}": {why}', "the path of a PEM file") from error
    if len(content) > MAX_FILE_BYTES:
        raise TlsError(key, f'is larger than 1 MiB: "{path}"', "the path of a PEM file")
    return content

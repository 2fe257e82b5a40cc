"""Certificates for tests, made with the openssl program as an operator makes them."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import needs

if TYPE_CHECKING:
    from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
LOCALHOST = "DNS:localhost,IP:127.0.0.1"


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, in PEM, by their paths."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates; its own is in `cert`."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._openssl, self._directory = needs.program("openssl"), directory
        self.cert, self._key = directory / f"{name}.crt", directory / f"{name}.key"
        subject = ("-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign")
        self._run("req", "-x509", *_NEW_KEY, "-days", "2", *subject, "-keyout", self._key, "-out", self.cert)

    def issue(self, name: str, alternatives: str = LOCALHOST) -> Certificate:
        """A new certificate, at the path of an older one of the same name if there is one.

        Args:
            name: Of its files, and its common name.
            alternatives: Its subject alternative names as openssl writes them; there may be none.
        """
        made = Certificate(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        request = self._directory / f"{name}.csr"
        names = ("-addext", f"subjectAltName={alternatives}") if alternatives else ()
        self._run("req", *_NEW_KEY, "-subj", f"/CN={name}", *names, "-keyout", made.key, "-out", request)
        signing = ("-CA", self.cert, "-CAkey", self._key, "-CAcreateserial", "-copy_extensions", "copy")
        self._run("x509", "-req", "-in", request, *signing, "-days", "2", "-out", made.cert)
        return made

    def _run(self, *arguments: object) -> None:
        subprocess.run([self._openssl, *map(str, arguments)], check=True, capture_output=True)


def client_context(authority: Authority, own: Certificate | None = None) -> ssl.SSLContext:
    """What a client speaks TLS by: trusts the authority, and shows a certificate of its own."""
    context = ssl.create_default_context(cafile=str(authority.cert))
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    return context

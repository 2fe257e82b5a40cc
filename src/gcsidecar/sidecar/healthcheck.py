"""Asks a sidecar on this machine whether it is healthy, for HEALTHCHECK and exec probes.

Made to be quick: a socket and a request line, since http.client and the config's loader cost more than the question.
A sidecar that says who may ask, and that we may not, is taken for healthy: it answers, and a probe holds no secret.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcsidecar.errors import GcsidecarError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_PORT = 10977
_MAX_ANSWER_BYTES = 64 * 1024
_URL = re.compile(r"(?P<scheme>https?)://(?P<address>[^/?#@]+)/?")
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)(?:%[^\]]*)?\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?")
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  nothing is bound
_OK = range(200, 300)
# Unauthorized, forbidden, too many requests: whoever says so is at work.
_REFUSALS = {401, 403, 429}
_NO_CERTIFICATE = b"HTTP/1.1 403 Forbidden\r\n\r\n"


class UnhealthyError(GcsidecarError):
    """It isn't healthy, or does not answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask.

    Attributes:
        host: An address or a name.
        port: Of the sidecar.
        tls: Whether it speaks TLS; None: to be found out.
    """

    host: str
    port: int
    tls: bool | None = None

    def __str__(self) -> str:
        """As an address is written."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def target_of(url: str | None = None, config: str | None = None) -> Target:
    """Where a sidecar listens.

    Args:
        url: Its URL, if known.
        config: Else its config file; where that can't be read, the default holds: the sidecar may run all the same, and
            ending it would not help.

    Raises:
        UnhealthyError: The URL is none.
    """
    if url is None:
        return _parsed(_listen_of(config) if config else "") or Target("127.0.0.1", DEFAULT_PORT)
    match = _URL.fullmatch(url)
    target = _parsed(match["address"], match["scheme"]) if match else None
    if target is None:
        raise UnhealthyError(f'"{url}" is no URL of a sidecar; one looks like http://127.0.0.1:{DEFAULT_PORT}')
    return target


def check_health(target: Target, timeout_seconds: float) -> None:
    """Ask once.

    Raises:
        UnhealthyError: It isn't healthy, or does not answer in time.
    """
    until = time.monotonic() + timeout_seconds
    try:
        answer = _ask(target, until)
    except TimeoutError:
        raise UnhealthyError(f"{target} does not answer within {timeout_seconds:g} s") from None
    except OSError as error:
        raise UnhealthyError(f"{target} can't be asked: {error.strerror or error}") from error
    status, lines = _parts(answer)
    if status not in _OK and status not in _REFUSALS:
        raise UnhealthyError(f"{target} says {status}: {'; '.join(lines)}")


def _ask(target: Target, until: float) -> bytes:
    if target.tls is None:
        with contextlib.suppress(ConnectionResetError):
            answer = _exchange(target, until, tls=False)
            if answer.startswith(b"HTTP/"):
                return answer
    return _exchange(target, until, tls=target.tls is not False)


def _exchange(target: Target, until: float, *, tls: bool) -> bytes:
    request = f"GET /healthz HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n".encode()
    with socket.create_connection((target.host, target.port), _left(until)) as connection:
        if tls:
            return _exchange_secured(connection, request, until)
        connection.sendall(request)
        return b"".join(_pieces(connection, until))


def _exchange_secured(connection: socket.socket, request: bytes, until: float) -> bytes:
    import ssl  # noqa: PLC0415  most sidecars speak plain HTTP, and it takes a while to load

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing secret is sent, and the name in the certificate is not the one that we ask by.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection.settimeout(_left(until))
    try:
        secured = context.wrap_socket(connection)
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            return _NO_CERTIFICATE
        raise
    with secured:
        try:
            secured.sendall(request)
            return b"".join(_pieces(secured, until)) or _NO_CERTIFICATE
        except TimeoutError:
            raise
        except OSError:  # in TLS 1.3 a server that misses a certificate hangs up after the handshake, in many ways
            return _NO_CERTIFICATE


def _pieces(connection: socket.socket, until: float) -> Iterator[bytes]:
    length = 0
    while length < _MAX_ANSWER_BYTES:
        connection.settimeout(_left(until))
        piece = connection.recv(4096)
        if not piece:
            return
        length += len(piece)
        yield piece


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _parts(answer: bytes) -> tuple[int, list[str]]:
    """The status and the body's lines."""
    head, _, body = answer.decode("latin-1").partition("\r\n\r\n")
    match = re.match(r"HTTP/1\.[01] ([0-9]{3})", head)
    return (int(match[1]), body.split("\n")[:-1]) if match else (0, ["nothing that is HTTP"])


def _parsed(address: str, scheme: str | None = None) -> Target | None:
    match = _ADDRESS.fullmatch(address)
    if not match or not address:
        return None
    host = match["six"] or match["host"]
    port = int(match["port"] or ({"http": 80, "https": 443}[scheme] if scheme else DEFAULT_PORT))
    return Target(_EVERYWHERE.get(host, host), port, None if scheme is None else scheme == "https")


def _listen_of(config: str) -> str:
    """The first address of `listen` in a config file, whatever else is wrong with that; empty where there is none."""
    import yaml  # noqa: PLC0415  not needed with a URL

    try:
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        with Path(config).open("rb") as file:
            content = yaml.load(file, Loader=loader)  # noqa: S506  one of the two safe ones
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return ""
    listen = content.get("listen") if isinstance(content, dict) else None
    first = listen[0] if isinstance(listen, list) and listen else listen
    return _expanded(first) if isinstance(first, str) else ""


def _expanded(text: str) -> str:
    if "${" not in text:
        return text
    import os  # noqa: PLC0415

    from gcsidecar.sidecar.config.variables import expand  # noqa: PLC0415  loads all that belongs to configs

    return expand(text, os.environ).text

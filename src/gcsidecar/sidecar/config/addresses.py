"""Addresses to listen on as they are written, `:10977` or `[::1]:10977`, taken apart.

Nothing is resolved or bound here; that is for the server and for the check of the machine.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

from gcsidecar.errors import GcsidecarError
from gcsidecar.sidecar.config.problems import show

WORDS = 'HOST:PORT or :PORT, such as ":10977", "127.0.0.1:10977" or "[::1]:10977"'
_MAX_PORT = 65_535
_ADDRESS = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")


class AddressError(GcsidecarError, ValueError):
    """Nothing that one can listen on; `what` is wrong, `remedy` would be right."""

    def __init__(self, what: str, remedy: str = WORDS) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what, self.remedy = what, remedy


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen.

    Attributes:
        host: A name or an address without brackets; empty for all interfaces.
        port: 0 for one that the kernel chooses.
        is_literal: Whether the host is a numeric address, so that no name has to be looked up.
    """

    host: str
    port: int
    is_literal: bool = True


def parse_address(text: str) -> Address:
    """Take an address apart.

    Raises:
        AddressError: It is none.
    """
    if not (match := _ADDRESS.fullmatch(text)):
        hint = _bare_hint(text)
        raise AddressError(f"{show(text)} is not an address to listen on", hint or WORDS)
    port = int(match["port"])
    if port > _MAX_PORT:
        raise AddressError(f"{show(text)} has the port {port}", f"a port up to {_MAX_PORT}")
    if match["six"] is not None:
        return Address(_six(match["six"], text), port)
    return _four_or_name(match["host"], port, text)


def _bare_hint(text: str) -> str | None:
    if re.fullmatch(r"[0-9]{1,5}", text):
        return f'":{text}" for that port on all interfaces'
    if _is_numeric(socket.AF_INET6, text):
        return f'"[{text}]:10977": brackets around the address, then the port'
    return None


def _six(host: str, text: str) -> str:
    if not _is_numeric(socket.AF_INET6, host.partition("%")[0]):
        raise AddressError(f"{show(text)} has no IPv6 address in its brackets")
    return host


def _four_or_name(host: str, port: int, text: str) -> Address:
    if not host or _is_numeric(socket.AF_INET, host):
        return Address(host, port)
    # All digits and dots, and yet no address: a slip such as 300.0.0.1, and no host is named so.
    if re.fullmatch(r"[0-9.]+", host) or not _HOST_NAME.fullmatch(host):
        raise AddressError(f"{show(text)} has no host that can exist")
    return Address(host, port, is_literal=False)


def _is_numeric(family: int, host: str) -> bool:
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True

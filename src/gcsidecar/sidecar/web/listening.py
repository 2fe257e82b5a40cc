"""Sockets that listen, made of addresses, with errors that say what to do.

They are bound and no more: nothing is accepted here.
"""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from gcsidecar.errors import GcsidecarError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsidecar.sidecar.config.addresses import Address

_BACKLOG = 128
_REMEDIES = {
    errno.EADDRINUSE: "stop what listens there, or choose another port",
    errno.EACCES: "choose a port above 1023, or grant CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "choose an address that this machine has, or none for all of them",
    errno.EMFILE: "raise the limit on open files",
}


class WebError(GcsidecarError):
    """An address could not be listened on."""


def listen_on(addresses: Mapping[str, Address]) -> dict[str, socket.socket]:
    """Listen on all of the addresses, or on none.

    Args:
        addresses: By how they are written.

    Raises:
        WebError: One of them can't be listened on.
    """
    with ExitStack() as opened:
        listeners = [opened.enter_context(_listener(text, address)) for text, address in addresses.items()]
        opened.pop_all()
    return dict(zip(addresses, listeners, strict=True))


def _listener(text: str, address: Address) -> socket.socket:
    try:
        listener = _bound(address)
    except socket.gaierror as error:
        raise WebError(
            f"can't listen on {text!r}: {error.strerror}; choose a name that resolves, or an address"
        ) from error
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "choose another address")
        raise WebError(f"can't listen on {text!r}: {_reason(error)}; {remedy}") from error
    listener.settimeout(0)
    return listener


def _reason(error: OSError) -> str:
    # create_server puts the address into the text, which is said already.
    return (error.strerror or str(error)).partition(" (while attempting")[0]


def _bound(address: Address) -> socket.socket:
    if not address.host:
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        return socket.create_server(("", address.port), family=family, backlog=_BACKLOG, dualstack_ipv6=dual)
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name may have several; IPv4 first, as Go's servers do: a container's ::1 is often not there.
    family, _, _, _, where = min(found, key=lambda entry: entry[0])
    return socket.create_server((str(where[0]), address.port), family=family, backlog=_BACKLOG)

"""Accepts clients, speaks TLS where that is on, and hands each to the crowd.

Written on the loop itself, since tornado's own acceptor neither counts connections nor survives running out of
descriptors: it logs the error and tries again at once, for ever.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING

from tornado.iostream import IOStream, SSLIOStream

from gcsidecar.sidecar.log import fields
from gcsidecar.sidecar.web.connection import Connection
from gcsidecar.sidecar.web.crowd import Crowd

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterable

    from gcsidecar.sidecar.web.exchange import Site
    from gcsidecar.sidecar.web.limits import WebLimits

log = logging.getLogger(__name__)

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PAUSE_SECONDS = 0.1
_COMPLAINT_SECONDS = 60.0


class Reception:
    """Takes clients in from listening sockets; everything of it runs in the loop that it was opened in."""

    def __init__(self, tls: Callable[[], ssl.SSLContext | None], site: Site, limits: WebLimits) -> None:
        """Set up.

        Args:
            tls: Asked at each client: with a context, it has to speak TLS.
            site: Who answers.
            limits: What clients may take.
        """
        self._listeners: set[socket.socket] = set()
        self._tls, self._site, self._limits = tls, site, limits
        self._crowd = Crowd(limits)
        self._hosted: set[asyncio.Task[None]] = set()  # a task that nobody holds may be collected
        self._loop = asyncio.get_running_loop()
        self._complained_at = -_COMPLAINT_SECONDS

    def open(self, listeners: Iterable[socket.socket]) -> None:
        """Accept on these, too: bound, not blocking; closed in the end."""
        for listener in listeners:
            self._listeners.add(listener)
            self._loop.add_reader(listener, self._accept, listener)

    def close_listeners(self, listeners: Iterable[socket.socket]) -> None:
        """Accept on these no more."""
        for listener in list(listeners):
            self._listeners.discard(listener)
            self._loop.remove_reader(listener)
            listener.close()

    def retire(self) -> None:
        """Let every client that there is come anew, as soon as what it asked is answered."""
        self._crowd.retire()

    async def close(self, timeout_seconds: float) -> None:
        """Accept nobody any more; close those who wait at once, the others once answered or after the timeout."""
        self.close_listeners(self._listeners)
        self._crowd.retire()
        if self._hosted:
            await asyncio.wait(self._hosted, timeout=timeout_seconds)
        self._crowd.close()

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, address = listener.accept()
        except OSError as error:  # any other is of that client, who is gone again: accept(2), "Error handling"
            if error.errno in _EXHAUSTED:
                self._go_short(listener, error)
            return
        try:
            stream = self._stream(client)
        except OSError:  # gone before TLS began
            client.close()
            return
        name = str(address[0]).removeprefix("::ffff:")
        connection = Connection(stream, name, self._site, self._limits, self._crowd.bound_unsent)
        hosted = self._loop.create_task(self._crowd.host(connection))
        self._hosted.add(hosted)
        hosted.add_done_callback(self._hosted.discard)

    def _stream(self, client: socket.socket) -> IOStream:
        chunk_bytes = self._limits.header_bytes
        # Of a client that sends while nothing is read, one chunk more than the headers may be in memory.
        sizes = {"read_chunk_size": chunk_bytes, "max_buffer_size": 8 * chunk_bytes}
        tls = self._tls()
        if tls is None:
            return IOStream(client, **sizes)
        secured = tls.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        # Named, since without it tornado makes a client's context, which reads all of the system's authorities.
        return SSLIOStream(secured, ssl_options=tls, **sizes)

    def _go_short(self, listener: socket.socket, error: OSError) -> None:
        """Out of descriptors: have one back from who waits; where nobody does, look again in a moment."""
        if self._loop.time() - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = self._loop.time()
            log.warning("clients turned away", extra=fields(error=error.strerror))
        if not self._crowd.make_room():
            self._loop.remove_reader(listener)
            self._loop.call_later(_PAUSE_SECONDS, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:  # not closed meanwhile
            self._loop.add_reader(listener, self._accept, listener)

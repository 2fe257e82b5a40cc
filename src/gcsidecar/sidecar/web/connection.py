"""One client's connection: requests read, answers written, one deadline for whatever it is at.

HTTP and TLS themselves are tornado's. Of tornado this is `http1connection` and `iostream` only: `tornado.web` on top
costs 0.9 MiB and 5 ms for templates and locales, and its own server bounds neither the time of an answer nor the
number of connections, and spins where the process is out of descriptors.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from enum import IntEnum
from typing import TYPE_CHECKING

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, SSLIOStream, UnsatisfiableReadError

from gcsidecar.sidecar.log import fields
from gcsidecar.sidecar.web.exchange import Question
from gcsidecar.sidecar.web.tls import names_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsidecar.sidecar.web.exchange import Site
    from gcsidecar.sidecar.web.limits import WebLimits

log = logging.getLogger(__name__)


class Phase(IntEnum):
    """What a connection is at; where there are too many, those of a lower number go first."""

    SILENT = 0  # has asked nothing yet
    IDLE = 1  # has had an answer, and asks nothing now
    SENDING = 2  # doesn't take its answer
    ASKING = 3  # its answer is being made


class Connection:
    """Serves one client until it goes, or has taken too long at something."""

    def __init__(
        self, stream: IOStream, client: str, site: Site, limits: WebLimits, on_sending: Callable[[], object]
    ) -> None:
        """Begin; call `serve` within the loop that it belongs to.

        Args:
            stream: The client, just connected.
            client: How the log names it.
            site: Who answers.
            limits: How long it may take.
            on_sending: Called when the client doesn't take its answer as fast as it is written.
        """
        self._loop = asyncio.get_running_loop()  # not the stream's, whose clock can be set back
        self.phase, self.since = Phase.SILENT, self._loop.time()
        self._stream, self._client, self._site, self._on_sending = stream, client, site, on_sending
        self._limits, self._retired = limits, False
        self._certificate_names: frozenset[str] | None = None
        self._parameters = HTTP1ConnectionParameters(
            chunk_size=limits.header_bytes,
            max_header_size=limits.header_bytes,
            max_body_size=limits.body_bytes,
        )
        self._deadline = self._loop.call_later(limits.request_seconds, self.close)

    async def serve(self) -> None:
        """Answer request after request; returns when the connection is closed."""
        try:
            # The client went, or was made to; or it asked for more than it may; or the handshake failed (an OSError).
            with contextlib.suppress(OSError, UnsatisfiableReadError):
                await self._converse()
        except Exception:
            log.exception("connection failed", extra=fields(client=self._client))
        finally:
            self.close()

    def close(self) -> None:
        """Hang up, whatever is under way."""
        self._deadline.cancel()
        self._stream.close()

    def retire(self) -> None:
        """Hang up as soon as what was asked is answered."""
        self._retired = True
        if self.phase in {Phase.SILENT, Phase.IDLE}:
            self.close()

    async def _converse(self) -> None:
        if isinstance(self._stream, SSLIOStream):
            await self._stream.wait_for_handshake()
            certificate = self._stream.socket.getpeercert()
            self._certificate_names = names_in(certificate) if certificate else None
        while await self._exchange() and not self._retired:
            self._enter(Phase.IDLE, self._limits.idle_seconds)
            await asyncio.sleep(0)  # one who sends requests without end has to leave the others their turn

    async def _exchange(self) -> bool:
        http = HTTP1Connection(self._stream, is_client=False, params=self._parameters, context=self._client)
        return await http.read_response(_Exchange(http, self))

    def _enter(self, phase: Phase, seconds: float) -> None:
        self.phase, self.since = phase, self._loop.time()
        self._deadline.cancel()
        if not self._stream.closed():
            self._deadline = self._loop.call_later(seconds, self.close)

    async def answer(self, http: HTTP1Connection, start_line: RequestStartLine, headers: HTTPHeaders) -> None:
        """Have one request answered, and send the answer."""
        self._enter(Phase.ASKING, self._limits.answer_seconds)
        started = time.monotonic()
        question = Question.of(start_line.method, start_line.path, headers, self._client, self._certificate_names)
        answer = await self._site(question)
        body = answer.body if question.method != "HEAD" else b""
        http.write_headers(
            ResponseStartLine("HTTP/1.1", answer.status, answer.reason), HTTPHeaders(answer.all_headers()), body
        )
        http.finish()
        log.debug(
            "request",
            extra=fields(
                client=self._client,
                method=question.method,
                path=question.path,
                status=answer.status,
                seconds=time.monotonic() - started,
            ),
        )
        if self._stream.writing():
            # The deadline of the whole answer goes on: it is not begun anew with each byte that is taken.
            self.phase, self.since = Phase.SENDING, self._loop.time()
            self._on_sending()


class _Exchange(HTTPMessageDelegate):
    """Takes one request from tornado, and has it answered once it is there whole."""

    def __init__(self, http: HTTP1Connection, connection: Connection) -> None:
        self._http, self._connection = http, connection
        self._start_line, self._headers = RequestStartLine("", "", ""), HTTPHeaders()

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        assert isinstance(start_line, RequestStartLine)
        self._start_line, self._headers = start_line, headers

    def data_received(self, chunk: bytes) -> None:
        """A body is of no use here."""

    def finish(self) -> None:
        self._answering = asyncio.ensure_future(self._connection.answer(self._http, self._start_line, self._headers))
        self._answering.add_done_callback(self._answered)
        self._http.set_close_callback(self._give_up)

    def on_connection_close(self) -> None:
        """It is `serve` that sees to it."""

    def _give_up(self) -> None:
        self._answering.cancel()

    def _answered(self, answering: asyncio.Future[None]) -> None:
        if not answering.cancelled() and (error := answering.exception()):
            log.error("answer not sent", exc_info=error)
            self._connection.close()

"""The HTTP server as the process sees it: started, stopped, in a thread with a loop of its own.

What is answered stands in `pages`, how clients are taken in in `reception`, what they may take in `limits`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from gcsidecar.sidecar.config.addresses import parse_address
from gcsidecar.sidecar.web.limits import WebLimits
from gcsidecar.sidecar.web.listening import listen_on
from gcsidecar.sidecar.web.pages import Health, Pages, Readiness, standard_pages
from gcsidecar.sidecar.web.reception import Reception
from gcsidecar.sidecar.web.scrape import Scrape

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Sequence

    from prometheus_client.registry import CollectorRegistry

log = logging.getLogger(__name__)

_STANDARD_LIMITS = WebLimits()
_JOIN_SECONDS = 0.4


class WebServer:
    """Serves metrics, health and the landing page until it is stopped.

    Attributes:
        ports: Where it listens really, in the order of the addresses; known once started.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        registry: CollectorRegistry,
        health: Callable[[], Health],
        ready: Callable[[], Readiness],
        version: str,
        ssl_options: ssl.SSLContext | None = None,
        limits: WebLimits = _STANDARD_LIMITS,
    ) -> None:
        """Set up; nothing is bound yet.

        Args:
            addresses: As `":10977"`, `"127.0.0.1:0"` or `"[::1]:10977"`.
            registry: Makes its samples anew at each scrape, from any thread.
            health: What `/healthz` says; called in the server's thread, so it has to be quick.
            ready: What `/readyz` says; likewise.
            version: What the landing page calls this.
            ssl_options: With them all addresses speak TLS.
            limits: What clients may take.

        Raises:
            AddressError: An address is none.
        """
        self.ports: tuple[int, ...] = ()
        self._addresses = {text: parse_address(text) for text in addresses}
        self._scrape = Scrape(registry, threads=limits.scrape_threads, at_once=limits.scrapes)
        self._site = Pages(standard_pages(self._scrape, health, ready, version))
        self._tls, self._limits = ssl_options, limits
        self._thread: threading.Thread | None = None
        self._stopping: Callable[[float], None] | None = None

    def start(self) -> None:
        """Listen, and answer from now on.

        Raises:
            WebError: An address can't be listened on; then none is.
        """
        listeners = listen_on(self._addresses)
        self.ports = tuple(listener.getsockname()[1] for listener in listeners)
        started: Future[Callable[[float], None]] = Future()
        # A daemon, so that no client can keep the process from ending.
        self._thread = threading.Thread(target=self._run, args=(listeners, started), name="web", daemon=True)
        self._thread.start()
        self._stopping = started.result()

    def stop(self, timeout_seconds: float = 0.5) -> None:
        """Accept nobody any more, let answers under way be sent for so long, then close every connection."""
        if self._thread and self._stopping:
            with contextlib.suppress(RuntimeError):  # its loop has ended already
                self._stopping(timeout_seconds)
            self._thread.join(timeout_seconds + _JOIN_SECONDS)
        self._scrape.close()

    def _run(self, listeners: Sequence[socket.socket], started: Future[Callable[[float], None]]) -> None:
        try:
            asyncio.run(self._serve(listeners, started))
        except Exception as error:
            log.exception("web server ended")
            if not started.done():
                started.set_exception(error)

    async def _serve(self, listeners: Sequence[socket.socket], started: Future[Callable[[float], None]]) -> None:
        loop = asyncio.get_running_loop()
        stopping: asyncio.Future[float] = loop.create_future()

        def stop_from_outside(seconds: float) -> None:
            loop.call_soon_threadsafe(stop, seconds)

        def stop(seconds: float) -> None:
            if not stopping.done():
                stopping.set_result(seconds)

        reception = Reception(listeners, self._tls, self._site, self._limits)
        reception.open()
        started.set_result(stop_from_outside)
        await reception.close(await stopping)

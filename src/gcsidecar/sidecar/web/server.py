"""The HTTP server as the process sees it: started, stopped, in a thread with a loop of its own.

What is answered stands in `pages`, who may ask in `gate`, how clients are taken in in `reception`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING

from gcsidecar.sidecar.config.addresses import parse_address
from gcsidecar.sidecar.web.access import OPEN, Access
from gcsidecar.sidecar.web.gate import Gate
from gcsidecar.sidecar.web.lifecycle import ReloadPage
from gcsidecar.sidecar.web.limits import WebLimits
from gcsidecar.sidecar.web.listening import WebError, listen_on
from gcsidecar.sidecar.web.pages import Health, Pages, Readiness, standard_pages
from gcsidecar.sidecar.web.reception import Reception
from gcsidecar.sidecar.web.running import Running
from gcsidecar.sidecar.web.scrape import Scrape

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from prometheus_client.registry import CollectorRegistry

    from gcsidecar.sidecar.config.addresses import Address

log = logging.getLogger(__name__)

_STANDARD_LIMITS = WebLimits()
_JOIN_SECONDS = 0.4


class WebServer:
    """Serves metrics, health and the landing page until it is stopped; its methods are for a single thread.

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
        reload: Callable[[], Future[tuple[str, ...]]] | None = None,
        access: Access = OPEN,
        limits: WebLimits = _STANDARD_LIMITS,
    ) -> None:
        """Set up; nothing is bound yet.

        Args:
            addresses: As `":10977"`, `"127.0.0.1:0"` or `"[::1]:10977"`.
            registry: Makes its samples anew at each scrape, from any thread.
            health: What `/healthz` says; called in the server's thread, so it has to be quick.
            ready: What `/readyz` says; likewise.
            version: What the landing page calls this.
            reload: Has the config read anew, for `/-/reload`; without it, that is refused.
            access: Who may ask.
            limits: What clients may take.

        Raises:
            AddressError: An address is none.
        """
        self.ports: tuple[int, ...] = ()
        self._addresses = _parsed(addresses)
        self._listeners: dict[str, socket.socket] = {}
        self._scrape = Scrape(registry, threads=limits.scrape_threads, at_once=limits.scrapes)
        self._gate = Gate(Pages(standard_pages(self._scrape, health, ready, ReloadPage(reload), version)), access)
        self._limits = limits
        self._thread: threading.Thread | None = None
        self._running: Running | None = None

    def start(self) -> None:
        """Listen, and answer from now on.

        Raises:
            WebError: An address can't be listened on; then none is.
        """
        self._listeners = listen_on(self._addresses)
        self._note_ports()
        started: Future[Running] = Future()
        # A daemon, so that no client can keep the process from ending.
        self._thread = threading.Thread(target=self._run, args=(started,), name="web", daemon=True)
        self._thread.start()
        self._running = started.result()

    def admit(self, access: Access, *, anew: bool) -> None:
        """Let in by another access from now on.

        Args:
            access: Who may ask.
            anew: Whether those who are connected already have to come again.
        """
        self._gate.access = access
        if anew and self._running:
            self._running.call(self._running.reception.retire)

    def move(self, addresses: Sequence[str]) -> None:
        """Listen on these addresses instead; those that stay are not let go in between.

        Raises:
            AddressError: An address is none.
            WebError: One of them can't be listened on; then all is as it was.
        """
        assert self._running
        reception, wanted = self._running.reception, _parsed(addresses)
        before = {
            text: replace(address, port=port)  # where the kernel chose the port, back to the same one
            for (text, address), port in zip(self._addresses.items(), self.ports, strict=True)
        }
        # Let go first: the same port may be among the new ones, on another interface.
        gone = [self._listeners.pop(text) for text in list(self._listeners) if text not in wanted]
        self._running.call(lambda: reception.close_listeners(gone))
        try:
            self._listen_too(wanted)
        except WebError:
            self._listen_too(before)
            raise
        self._running.call(reception.retire)

    def answers(self) -> bool:
        """Whether the server's thread is at work: it has turned since this was asked the last time."""
        return self._running is not None and self._running.answers()

    def stop(self, timeout_seconds: float = 0.5) -> None:
        """Accept nobody any more, let answers under way be sent for so long, then close every connection."""
        if self._thread and self._running:
            self._running.stop(timeout_seconds)
            self._thread.join(timeout_seconds + _JOIN_SECONDS)
        self._scrape.close()

    def _listen_too(self, addresses: dict[str, Address]) -> None:
        assert self._running
        reception = self._running.reception
        fresh = listen_on({text: address for text, address in addresses.items() if text not in self._listeners})
        self._listeners |= fresh
        self._addresses = addresses
        self._note_ports()
        self._running.call(lambda: reception.open(fresh.values()))

    def _note_ports(self) -> None:
        self.ports = tuple(self._listeners[text].getsockname()[1] for text in self._addresses)

    def _run(self, started: Future[Running]) -> None:
        try:
            asyncio.run(self._serve(started))
        except Exception as error:
            log.exception("web server ended")
            if not started.done():
                started.set_exception(error)

    async def _serve(self, started: Future[Running]) -> None:
        reception = Reception(lambda: self._gate.access.tls, self._gate, self._limits)
        reception.open(self._listeners.values())
        running = Running(reception)
        started.set_result(running)
        await reception.close(await running.until_stopped())


def _parsed(addresses: Sequence[str]) -> dict[str, Address]:
    return {text: parse_address(text) for text in addresses}

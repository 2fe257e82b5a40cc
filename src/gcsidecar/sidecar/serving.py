"""The process's side of its web server: where it listens, by whose word, and the web config that it follows.

What is served, and to whom, is decided in `web`; here it is only kept up to date.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gcsidecar import __version__
from gcsidecar.sidecar.config import ConfigError
from gcsidecar.sidecar.follow import Followed
from gcsidecar.sidecar.log import fields
from gcsidecar.sidecar.web.access import OPEN, Access
from gcsidecar.sidecar.web.server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from prometheus_client.registry import CollectorRegistry

    from gcsidecar.sidecar.web.pages import Health, Readiness

_log = logging.getLogger("gcsidecar.web")


@dataclass(frozen=True, slots=True)
class WebOptions:
    """What the command line says of the web server.

    Attributes:
        listen_addresses: Where it listens, whatever the config says; empty: where the config says.
        config_file: The web config, or none.
        lifecycle: Whether those who are let in may have the config read anew.
    """

    listen_addresses: tuple[str, ...] = ()
    config_file: str | None = None
    lifecycle: bool = False


class Serving:
    """Serves until it is stopped; its methods are for a single thread.

    Args:
        options: What the command line says.
        configured: Where the config wants to listen.
        registry: What is scraped.
        health: What `/healthz` says.
        ready: What `/readyz` says.
        reload: Has the config read anew.

    Raises:
        ConfigError: There is something wrong with the web config.

    Attributes:
        addresses: Where it listens, as that is written.
        ok: Whether the web config was taken the last time that it was read.
    """

    def __init__(
        self,
        options: WebOptions,
        configured: Sequence[str],
        *,
        registry: CollectorRegistry,
        health: Callable[[], Health],
        ready: Callable[[], Readiness],
        reload: Callable[[], Future[tuple[str, ...]]],
    ) -> None:
        self.addresses, self.ok = options.listen_addresses or tuple(configured), True
        self._options, self._access = options, OPEN
        self._followed = Followed()
        if options.config_file is not None:
            self._access = self._load(options.config_file)
        self._server = WebServer(
            self.addresses,
            registry=registry,
            health=health,
            ready=ready,
            version=__version__,
            reload=reload if options.lifecycle else None,
            access=self._access,
        )

    def start(self) -> None:
        """Listen, and answer from now on.

        Raises:
            WebError: An address can't be listened on.
        """
        self._server.start()
        self._say_where()

    @property
    def ports(self) -> tuple[int, ...]:
        """Where it listens."""
        return self._server.ports

    def move(self, configured: Sequence[str]) -> None:
        """Listen where the config wants to, unless the command line says where.

        Raises:
            WebError: That can't be; then all is as it was.
        """
        addresses = self._options.listen_addresses or tuple(configured)
        if addresses != self.addresses:
            self._server.move(addresses)
            self.addresses = addresses
            self._say_where()

    def has_changed(self) -> bool:
        """Whether the web config, or a file that it names, has become another since it was read."""
        return self._followed.have_changed()

    def reload(self) -> tuple[str, ...]:
        """Read the web config anew; all that is wrong with it, a line each, and then the one before stays in force."""
        path = self._options.config_file
        if path is None:
            return ()
        try:
            access = self._load(path)
        except ConfigError as error:
            self.ok = False
            return tuple(problem.at(error.path) for problem in error.problems)
        self._server.admit(access, anew=_need_new_connections(self._access, access))
        self._access, self.ok = access, True
        _log.info("web-config-loaded", extra=fields(path=path, **self._about()))
        return ()

    def answers(self) -> bool:
        """Whether the server's thread has turned since this was asked the last time."""
        return self._server.answers()

    def stop(self, timeout_seconds: float) -> None:
        """Answer nobody any more."""
        self._server.stop(timeout_seconds)

    def _load(self, path: str) -> Access:
        from gcsidecar.sidecar.web.loader import load_access  # noqa: PLC0415  most have no web config

        self._followed = Followed()
        return load_access(path, self._followed.add)

    def _say_where(self) -> None:
        addresses, ports = ",".join(self.addresses), ",".join(map(str, dict.fromkeys(self.ports)))
        _log.info("listening", extra=fields(version=__version__, addresses=addresses, ports=ports, **self._about()))

    def _about(self) -> dict[str, Any]:
        return {"tls": self._access.tls is not None, "users": len(self._access.settings.basic_auth_users)}


def _need_new_connections(before: Access, now: Access) -> bool:
    """Whether what was agreed on when a client connected holds no more; passwords are asked for at each request."""
    return (before.tls is None) != (now.tls is None) or before.asks_for_certificates or now.asks_for_certificates

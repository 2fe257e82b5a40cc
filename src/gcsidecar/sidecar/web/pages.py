"""Which paths there are, and what health, readiness and everything unknown look like.

Only what is answered; the metrics are made in `scrape`, the page for people in `landing`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.sidecar.log import fields
from gcsidecar.sidecar.web.exchange import plain
from gcsidecar.sidecar.web.landing import landing_page
from gcsidecar.sidecar.web.lifecycle import RELOAD_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcsidecar.sidecar.web.exchange import Answer, Question, Site

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the process works.

    Attributes:
        ok: Whether it does; a supervisor restarts it where it doesn't.
        lines: What is wrong, or worth knowing all the same; a line each.
    """

    ok: bool
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the process has taken up its work.

    Attributes:
        ok: Whether it has; one that stands by has, too.
        lines: What it waits for, or for whom it stands by; a line each.
    """

    ok: bool
    lines: tuple[str, ...] = ()


class Pages:
    """Answers by path and method; HEAD is had with GET."""

    def __init__(self, routes: Mapping[str, Mapping[str, Site]]) -> None:
        """Set up.

        Args:
            routes: Who answers, by path, then by method.
        """
        self._routes = routes

    async def __call__(self, question: Question) -> Answer:
        """The answer of whoever is responsible, or why there is none."""
        methods = self._routes.get(question.path)
        if methods is None:
            return plain(404, "no such page; / lists those there are")
        site = methods.get("GET" if question.method == "HEAD" else question.method)
        if site is None:
            allowed = ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
            return plain(405, f"only {allowed} here", headers={"Allow": allowed})
        try:
            return await site(question)
        except Exception:
            log.exception("page failed", extra=fields(path=question.path))
            return plain(500, "this failed; the log says why")


def standard_pages(
    scrape: Site, health: Callable[[], Health], ready: Callable[[], Readiness], reload: Site, version: str
) -> dict[str, dict[str, Site]]:
    """The routes that every sidecar has; those below `/-/` are called so by Prometheus."""

    async def metrics(question: Question) -> Answer:
        return await scrape(question)

    async def healthz(_question: Question) -> Answer:
        return _verdict(health(), "unhealthy")

    async def readyz(_question: Question) -> Answer:
        return _verdict(ready(), "not ready")

    async def landing(_question: Question) -> Answer:
        return landing_page(version)

    pages = {"/": landing, "/metrics": metrics, "/healthz": healthz, "/readyz": readyz}
    pages |= {"/-/healthy": healthz, "/-/ready": readyz}
    routes: dict[str, dict[str, Site]] = {path: {"GET": site} for path, site in pages.items()}
    return routes | {RELOAD_PATH: {"POST": reload, "PUT": reload}}


def _verdict(verdict: Health | Readiness, otherwise: str) -> Answer:
    return plain(200, "ok", *verdict.lines) if verdict.ok else plain(503, otherwise, *verdict.lines)

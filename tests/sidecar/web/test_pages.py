from __future__ import annotations

import base64
import hashlib
import logging
import re
from typing import TYPE_CHECKING

import pytest

from gcsidecar.sidecar.web.landing import landing_page
from gcsidecar.sidecar.web.pages import Health, Readiness
from sidecar.web.serving import ask, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsidecar.sidecar.web.server import WebServer


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    with serving() as server:
        yield server


def test_a_healthy_process_says_ok(server: WebServer) -> None:
    reply = ask(server, "/healthz")
    assert (reply.status, reply.text, reply.headers["Content-Type"]) == (200, "ok\n", "text/plain; charset=utf-8")


def test_an_unhealthy_one_says_why() -> None:
    with serving(health=lambda: Health(ok=False, lines=("filesystem jobs: hung for 90 s", "watch ended"))) as server:
        reply = ask(server, "/healthz")
    assert (reply.status, reply.text) == (503, "unhealthy\nfilesystem jobs: hung for 90 s\nwatch ended\n")


def test_one_that_is_not_ready_lists_what_it_waits_for() -> None:
    with serving(ready=lambda: Readiness(ok=False, lines=("root jobs: first reconcile",))) as server:
        reply = ask(server, "/readyz")
    assert (reply.status, reply.text) == (503, "not ready\nroot jobs: first reconcile\n")


def test_a_standby_is_ready_and_says_so() -> None:
    with serving(ready=lambda: Readiness(ok=True, lines=("root jobs: standing by for host-7",))) as server:
        reply = ask(server, "/readyz")
    assert (reply.status, reply.text) == (200, "ok\nroot jobs: standing by for host-7\n")


def test_a_page_that_fails_is_an_error_of_its_own_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Health:
        raise RuntimeError("told to")

    with serving(health=fail) as server:
        assert ask(server, "/healthz").status == 500
        assert ask(server, "/readyz").status == 200
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info
    assert str(record.exc_info[1]) == "told to"


def test_what_is_not_there_is_not_found_in_plain_text(server: WebServer) -> None:
    for path in ("/metric", "/metrics/", "//metrics", "/healthz/..", "*"):
        reply = ask(server, path)
        assert (path, reply.status, reply.headers["Content-Type"]) == (path, 404, "text/plain; charset=utf-8")


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz", "/-/healthy", "/-/ready"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get"])
def test_other_methods_are_refused_with_those_there_are(server: WebServer, path: str, method: str) -> None:
    reply = ask(server, path, method)
    assert (reply.status, reply.headers["Allow"], reply.text) == (405, "GET, HEAD", "only GET, HEAD here\n")


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz", "/none"])
def test_head_tells_all_but_the_body(server: WebServer, path: str) -> None:
    got, head = ask(server, path), ask(server, path, "HEAD")
    assert (head.status, head.body) == (got.status, b"")
    del head.headers["Date"], got.headers["Date"]
    assert head.headers.items() == got.headers.items()
    assert head.headers["Content-Length"] == str(len(got.body))


@pytest.mark.parametrize("target", ["/healthz?verbose", "http://localhost/healthz", "HTTP://[::1]:1/healthz?a=b#c"])
def test_a_query_and_a_whole_url_are_understood(server: WebServer, target: str) -> None:
    assert ask(server, target).text == "ok\n"


def test_a_browser_is_kept_from_guessing_storing_and_framing_and_no_server_is_named(server: WebServer) -> None:
    headers = ask(server, "/metrics").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Date"]
    assert "Server" not in headers


def test_the_landing_page_names_the_version_and_links_every_page(server: WebServer) -> None:
    reply = ask(server, "/")
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "1.2.3" in reply.text
    links = re.findall(r'href="([^"]+)"', reply.text)
    ours = [link for link in links if not link.startswith("https:")]
    assert [ask(server, f"/{link}").status for link in ours] == [200, 200, 200]
    assert len(links) == len(ours) + 1  # the documentation


def test_the_landing_page_loads_nothing_and_its_policy_allows_its_own_style_only() -> None:
    page = landing_page("<b>0</b>")
    text = page.body.decode()
    assert not re.search(r"https?://|\bsrc=|@import|url\(|<script|<b>", re.sub(r'<a href="[^"]*">', "", text))
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.headers["Content-Security-Policy"]

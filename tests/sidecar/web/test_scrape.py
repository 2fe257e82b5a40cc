from __future__ import annotations

import contextlib
import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gcsidecar.sidecar.web.exchange import Question
from gcsidecar.sidecar.web.limits import WebLimits
from gcsidecar.sidecar.web.scrape import rendered
from sidecar.metrics_sample import metrics
from sidecar.web.serving import Made, ask, registry_of, serving, silent, until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gcsidecar.sidecar.web.server import WebServer

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    with serving(registry_of(Made())) as server:
        yield server


OPENMETRICS: Any = parse_openmetrics  # untyped in prometheus-client 0.26


def names(families: Iterable[object]) -> list[str]:
    return [str(getattr(family, "name", "")) for family in families]


ALL_NAMES = ["gcsidecar_filesystem_free_bytes", "gcsidecar_filesystem_capacity_bytes", "gcsidecar_made"]


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain", "text/html", "text/plain;version=x", "a;b=;,;;=,"])
def test_who_asks_for_nothing_special_gets_prometheus_text(server: WebServer, accept: str) -> None:
    reply = ask(server, headers={"Accept": accept})
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert names(parse_text(reply.text)) == ALL_NAMES


@pytest.mark.parametrize("accept", [PROMETHEUS_3, "application/openmetrics-text"])
def test_who_asks_for_openmetrics_gets_it_to_its_end(server: WebServer, accept: str) -> None:
    reply = ask(server, headers={"Accept": accept})
    assert reply.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert reply.text.endswith("# EOF\n")
    assert names(OPENMETRICS(reply.text)) == ALL_NAMES


@pytest.mark.parametrize("escaping", ["", ";escaping=underscores", ";escaping=allow-utf-8", ";escaping=dots"])
@pytest.mark.parametrize("form", ["application/openmetrics-text", "text/plain"])
@pytest.mark.parametrize("version", ["", ";version=0.0.4", ";version=1.0.0"])
def test_what_is_rendered_in_a_quicker_way_is_the_same(form: str, version: str, escaping: str) -> None:
    registry, accept = CollectorRegistry(), form + version + escaping
    registry.register(metrics())
    encode, content_type = choose_encoder(accept)
    answer = rendered(registry, Question.of("GET", "/metrics", {"Accept": accept}))
    assert (answer.body, answer.content_type) == (encode(registry), content_type)


@pytest.mark.parametrize("accept", ["gzip", "br;q=1.0, GZIP;q=0.5", "*"])
def test_who_takes_gzip_gets_it(server: WebServer, accept: str) -> None:
    reply = ask(server, headers={"Accept-Encoding": accept})
    assert reply.headers["Content-Encoding"] == "gzip"
    assert names(parse_text(gzip.decompress(reply.body).decode())) == ALL_NAMES
    assert reply.headers["Vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize("accept", ["identity", "", "gzip;q=0", "br", "gzip;q=none", "*, gzip;q=0.0"])
def test_who_takes_no_gzip_gets_none(server: WebServer, accept: str) -> None:
    reply = ask(server, headers={"Accept-Encoding": accept})
    assert "Content-Encoding" not in reply.headers
    assert names(parse_text(reply.text)) == ALL_NAMES


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name[]=gcsidecar_made", ["gcsidecar_made"]),
        ("name%5B%5D=gcsidecar_made&name%5B%5D=gcsidecar_filesystem_free_bytes&other=1", ALL_NAMES[:1] + ALL_NAMES[2:]),
        ("name[]=none", []),
        ("other=1", ALL_NAMES),
        ("", ALL_NAMES),
    ],
)
def test_names_restrict_what_is_collected(server: WebServer, query: str, found: list[str]) -> None:
    assert sorted(names(parse_text(ask(server, f"/metrics?{query}").text))) == sorted(found)


def test_scrapes_at_once_in_all_formats_do_not_mix(server: WebServer) -> None:
    wishes = [{"Accept": accept} for accept in ("", PROMETHEUS_3)] * 20
    with ThreadPoolExecutor(4) as scrapers:
        replies = list(scrapers.map(lambda wish: ask(server, headers=wish), wishes))
    assert [reply.text.endswith("# EOF\n") for reply in replies] == [bool(wish["Accept"]) for wish in wishes]
    assert len({reply.body for reply in replies}) == 2


def test_a_collector_that_fails_is_an_error_and_the_next_scrape_is_right(caplog: pytest.LogCaptureFixture) -> None:
    failures = iter([RuntimeError("told to")])

    def fail_once() -> None:
        for failure in failures:
            raise failure

    with serving(registry_of(Made(fail_once))) as server:
        assert (ask(server).status, ask(server).status) == (500, 200)
    assert "told to" in caplog.text


def test_while_metrics_are_being_made_everything_else_is_answered() -> None:
    may_go_on = threading.Event()
    with serving(registry_of(Made(lambda: void(may_go_on.wait(5))))) as server, contextlib.ExitStack() as clients:
        for _ in range(4):
            clients.enter_context(silent(server, b"GET /metrics HTTP/1.1\r\n\r\n"))
        assert (ask(server, "/healthz").status, ask(server, "/").status) == (200, 200)
        may_go_on.set()
        assert ask(server).status == 200


def test_of_too_many_scrapes_the_last_are_told_to_come_again_also_where_the_first_went_away() -> None:
    may_go_on, limits = threading.Event(), WebLimits(scrapes=3, scrape_threads=1)
    with serving(registry_of(Made(lambda: void(may_go_on.wait(5)))), limits=limits) as server:
        for _ in range(3):
            silent(server, b"GET /metrics HTTP/1.1\r\n\r\n").close()
        assert until(lambda: ask(server, "/metrics", "HEAD").status == 503)
        reply = ask(server)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
        may_go_on.set()
        assert until(lambda: ask(server).status == 200)


def void(_: object) -> None:
    """Drop a value."""

"""`/-/reload`, as Prometheus has it: off unless it is turned on, for programs, and never on another site's behalf."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from gcsidecar.sidecar.web import lifecycle
from sidecar.web.serving import ask, serving, silent, until

RELOAD = "/-/reload"


class Service:
    """One that reads its config when it is told to."""

    def __init__(self, *problems: str, at_once: bool = True) -> None:
        self.asked: list[Future[tuple[str, ...]]] = []
        self._problems, self._at_once = problems, at_once

    def reload(self) -> Future[tuple[str, ...]]:
        done: Future[tuple[str, ...]] = Future()
        self.asked.append(done)
        if self._at_once:
            self.answer(done)
        return done

    def answer(self, done: Future[tuple[str, ...]]) -> None:
        if done.set_running_or_notify_cancel():
            done.set_result(self._problems)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_config_that_was_taken_is_200(method: str) -> None:
    service = Service()
    with serving(reload=service.reload) as server:
        reply = ask(server, RELOAD, method)
    assert (reply.status, reply.text, len(service.asked)) == (200, "reloaded\n", 1)


def test_one_that_was_refused_is_500_with_all_that_is_wrong() -> None:
    with serving(reload=Service("a.yaml:1: a: is wrong", "b.yaml:2: b: is, too").reload) as server:
        reply = ask(server, RELOAD, "POST")
    assert reply.status == 500
    assert reply.text == "failed to reload config:\na.yaml:1: a: is wrong\nb.yaml:2: b: is, too\n"


def test_unless_it_is_enabled_it_is_refused_in_prometheus_words() -> None:
    with serving() as server:
        reply = ask(server, RELOAD, "POST")
    assert reply.status == 403
    assert reply.text == "Lifecycle API is not enabled.\nstart the sidecar with --web.enable-lifecycle\n"


def test_a_get_does_nothing() -> None:
    service = Service()
    with serving(reload=service.reload) as server:
        for method in ("GET", "HEAD"):
            reply = ask(server, RELOAD, method)
            assert (reply.status, reply.headers["Allow"]) == (405, "POST, PUT")
    assert not service.asked


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"Origin": "http://sidecar.example:10977", "Host": "sidecar.example:10977"}, 200),
        ({"Origin": "HTTPS://Sidecar.example", "Host": "sidecar.example"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://else.example"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost", "Host": "localhost"}, 403),
        ({"Origin": "http://else.example", "Host": "sidecar.example:10977"}, 403),
        ({"Origin": "http://sidecar.example:80", "Host": "sidecar.example:10977"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
    ],
)
def test_a_browser_may_not_ask_for_it_on_another_sites_behalf(headers: dict[str, str], expected: int) -> None:
    service = Service()
    with serving(reload=service.reload) as server:
        assert ask(server, RELOAD, "POST", headers).status == expected
    assert len(service.asked) == (expected == 200)


def test_what_takes_too_long_is_answered_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "PATIENCE_SECONDS", 0.2)
    service = Service(at_once=False)
    with serving(reload=service.reload) as server:
        reply = ask(server, RELOAD, "POST")
        service.answer(service.asked[0])  # too late, and nobody minds
        assert ask(server, "/healthz").status == 200
    assert (reply.status, reply.text) == (503, "the config is not read yet; the log will say what came of it\n")


def test_few_may_wait_for_it_at_a_time_and_one_that_hangs_up_waits_no_more() -> None:
    service = Service(at_once=False)
    with serving(reload=service.reload) as server, ThreadPoolExecutor(4) as pool:
        with silent(server, b"POST /-/reload HTTP/1.1\r\nContent-Length: 0\r\n\r\n"):
            assert until(lambda: len(service.asked) == 1)
        assert until(service.asked[0].cancelled)
        waiting = [pool.submit(ask, server, RELOAD, "POST") for _ in range(lifecycle.MOST_WAITING)]
        assert until(lambda: len(service.asked) == 1 + lifecycle.MOST_WAITING)
        assert ask(server, RELOAD, "POST").status == 503
        for done in service.asked:
            service.answer(done)
        assert {reply.result().status for reply in waiting} == {200}


def test_while_it_is_waited_for_others_are_answered() -> None:
    service = Service(at_once=False)
    with serving(reload=service.reload) as server:
        thread = threading.Thread(target=ask, args=(server, RELOAD, "POST"))
        thread.start()
        assert until(lambda: service.asked != [])
        began = time.monotonic()
        assert ask(server, "/healthz").status == 200
        assert time.monotonic() - began < 1
        service.answer(service.asked[0])
        thread.join()

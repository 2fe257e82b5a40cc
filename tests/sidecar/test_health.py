"""What makes the process unhealthy, and what doesn't."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gcsidecar.cache.folders.tally import Amount, RootTally, State
from gcsidecar.cache.root import Root
from gcsidecar.cache.spec import RootSpec
from gcsidecar.cache.survey import Surveyed
from gcsidecar.cache.watching.hints import Hints
from gcsidecar.cache.watching.watcher import Watcher
from gcsidecar.sidecar.config import Config
from gcsidecar.sidecar.health import STUCK_SECONDS, FirstLook, health, readiness
from gcsidecar.sidecar.keeper import Keeper
from gcsidecar.sidecar.metrics import Metrics
from gcsidecar.sidecar.opening import Link
from gcsidecar.sidecar.status import RootStatus, Status
from sidecar.web.serving import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    KeeperOf = Callable[[Callable[[], bool]], Keeper]


@pytest.fixture
def keeper_of(tmp_path: Path) -> Iterator[KeeperOf]:
    """Starts the keeper of a real root; its survey asks what it is given."""
    spec, link, watcher = RootSpec(name="jobs", path=str(tmp_path)), Link(), Watcher()
    hints = Hints(watcher, spec.path, link.wake)
    root = Root(spec, link, dry_run=True, stop=link.stopping, watch=hints, wait=link.wait)
    hints.attach(root)
    made: list[Keeper] = []

    def make(watched: Callable[[], bool]) -> Keeper:
        keeper = Keeper(
            [Surveyed(root, hints)],
            Config(roots=(spec,), dry_run=True),
            Metrics(Status, version="0"),
            watched=watched,
            lost=lambda _root, _problem: None,
            about={},
        )
        made.append(keeper)
        link.keeper = keeper
        keeper.start()
        return keeper

    yield make
    for keeper in made:
        assert keeper.stop(5)
    root.close()
    hints.detach()
    watcher.close()


def test_while_its_threads_live_and_the_main_thread_turns_it_is_healthy(keeper_of: KeeperOf) -> None:
    verdict = health([keeper_of(lambda: True)], 1.0)
    assert (verdict.ok, verdict.lines) == (True, ())


# The thread's end is what is tested.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_though_nobody_told_it_to_makes_it_unhealthy(keeper_of: KeeperOf) -> None:
    keeper = keeper_of(sys.exit)  # which ends the thread that calls it
    assert until(lambda: not health([keeper], 0).ok)
    assert health([keeper], 0).lines == ("filesystem jobs: the thread survey-jobs has ended",)


def test_one_that_was_told_to_does_not(keeper_of: KeeperOf) -> None:
    keeper = keeper_of(lambda: True)
    assert keeper.stop(5)
    assert health([keeper], 0).ok


def test_a_thread_that_hangs_does_not(keeper_of: KeeperOf) -> None:
    keeper = keeper_of(lambda: not time.sleep(0.5))  # type: ignore[func-returns-value]
    time.sleep(0.1)
    assert health([keeper], 0).ok


def test_a_main_thread_that_does_not_turn_makes_it_unhealthy() -> None:
    assert health([], STUCK_SECONDS - 1).ok
    verdict = health([], STUCK_SECONDS + 1)
    assert (verdict.ok, verdict.lines) == (False, ("the main thread is stuck for 31 s",))


def test_ready_is_who_has_reconciled_each_root_or_knows_that_it_is_not_there() -> None:
    active = RootStatus("a", "a", "active", reconciled_at=1.0)
    fresh = RootStatus("b", "b", "active")
    missing = RootStatus("c", None, "missing", "no such directory")
    assert readiness([active, fresh], (), patient=True).lines == ("b: not reconciled yet",)
    assert not readiness([active, missing], (), patient=True).ok
    for verdict in (readiness([active, missing], {"c"}, patient=True), readiness([active, missing], (), patient=False)):
        assert (verdict.ok, verdict.lines) == (True, ("c: missing: no such directory",))


def test_a_root_in_which_more_and_more_is_found_is_waited_for_and_one_that_hangs_is_not() -> None:
    look = FirstLook(0.0)
    hangs = RootStatus("hangs", None, "missing")
    for second in range(30):
        found = RootTally({State.IDLE: Amount(1000 * second)})
        assert look.goes_on([RootStatus("a", "a", "active", tally=found), hangs], float(second))
    done = RootStatus("a", "a", "active", tally=found, reconciled_at=1.0)
    assert look.goes_on([done, hangs], 30.0)
    grown = replace(done, tally=RootTally({State.IDLE: Amount(50_000)}))
    assert look.goes_on([grown, hangs], 34.9)
    assert not look.goes_on([grown, hangs], 35.0)

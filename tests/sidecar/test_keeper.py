"""What the keeper of a filesystem sees to before it plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache.helpers import make_folder, reconcile, spec
from cache.leasing import locked, put
from fakes import FakeClock
from gcsidecar.cache.hints import Hints
from gcsidecar.cache.root import Root
from gcsidecar.cache.survey import Surveyed
from gcsidecar.cache.watch import Watcher
from gcsidecar.sidecar.caretaker import RETRY_SECONDS, Caretaker
from gcsidecar.sidecar.config import Config
from gcsidecar.sidecar.keeper import LOCKS_SCARCE_SECONDS, Keeper
from gcsidecar.sidecar.metrics import Metrics
from gcsidecar.sidecar.opening import Link
from gcsidecar.sidecar.status import Status

if TYPE_CHECKING:
    from pathlib import Path


def test_a_parked_folder_whose_holder_is_dead_is_seen_to_within_a_second(tmp_path: Path) -> None:
    clock = FakeClock()
    make_folder(tmp_path, "a")
    lease = put(make_folder(tmp_path, ".gcsidecar/evicting/dead-1/a"))
    root = Root(spec(tmp_path), Link(), clock=clock)
    caretaker = Caretaker([root], {}, clock)
    with locked(lease):
        caretaker.look_after()
        assert root.parked == {"a"}
        clock.advance(RETRY_SECONDS)
        caretaker.look_after()
        assert root.parked == {"a"}
    clock.advance(RETRY_SECONDS)
    caretaker.look_after()
    assert root.parked == frozenset()
    root.close()


def test_while_something_is_scarce_locks_are_asked_anew_before_each_plan(tmp_path: Path) -> None:
    """The survey's thread does not run here: nobody else looks."""
    for name in ("a", "b"):
        make_folder(tmp_path, name)
    lease, clock, link = put(tmp_path / "a"), FakeClock(), Link()
    found = spec(tmp_path, max_folders=1)
    root = Root(found, link, clock=clock, reaped=link.reaped)
    surveyed = Surveyed(root, Hints(Watcher(), str(tmp_path), lambda: None))
    metrics = Metrics(Status, version="1")
    keeper = Keeper(
        [surveyed],
        Config(roots=(found,)),
        metrics,
        watched=lambda: False,
        lost=lambda _root, _problem: None,
        about={},
        clock=clock,
    )
    link.keeper = keeper
    with locked(lease), locked(put(tmp_path / "b")):
        reconcile(root)
        for _ in range(3):
            clock.advance(LOCKS_SCARCE_SECONDS)
            keeper._round()
        assert len(root.census.folders()) == 2
    clock.advance(LOCKS_SCARCE_SECONDS)
    keeper._round()
    assert len(root.census.folders()) == 1
    assert metrics.registry.get_sample_value("gcsidecar_leases_reaped_total", {"reason": "dead"}) == 2
    keeper.begin_to_stop()
    root.close()

"""What the keeper of a filesystem lets others know while it is at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache.helpers import Tracker, make_folder, opened, reconcile
from fakes import FakeClock
from gcsidecar.cache.hints import Hints
from gcsidecar.cache.survey import Surveyed
from gcsidecar.cache.watch import Watcher
from gcsidecar.sidecar.config.model import Config
from gcsidecar.sidecar.keeper import Keeper
from gcsidecar.sidecar.metrics import Metrics
from gcsidecar.sidecar.status import Status
from sidecar.metrics_sample import eviction

if TYPE_CHECKING:
    from pathlib import Path

    from gcsidecar.cache.root import Root


def keeper(root: Root, path: Path, clock: FakeClock) -> Keeper:
    watcher = Watcher()
    return Keeper(
        [Surveyed(root, Hints(watcher, str(path), lambda: None))],
        Config(roots=(root.spec,)),
        Metrics(Status, version="1"),
        watched=lambda: True,
        lost=lambda _root, _why: None,
        about={},
        clock=clock,
    )


def test_the_figures_go_on_in_the_middle_of_a_collection_but_not_with_each_eviction(tmp_path: Path) -> None:
    clock = FakeClock()
    with opened(tmp_path, tracker=Tracker(), clock=clock) as root:
        make_folder(tmp_path, "a")
        reconcile(root)
        kept = keeper(root, tmp_path, clock)
        seen = []
        for seconds in (1.0, 0.1, 0.1, 1.0):
            clock.advance(seconds)
            kept._evicted(eviction())
            seen.append(kept.status.measured_at - clock.time())
        assert [round(age, 3) for age in seen] == [0, -0.1, -0.2, 0]

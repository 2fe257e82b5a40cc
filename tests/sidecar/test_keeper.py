"""What the keeper of a filesystem sees to before it plans, and what it lets others know while it is at work.

Its threads do not run here: nobody else looks.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cache.helpers import make_folder, opened, reconcile, spec
from cache.leasing import locked, put
from e2e.harness import eventually
from fakes import FakeClock
from gcsidecar.cache.folders.tally import State
from gcsidecar.cache.root import Root
from gcsidecar.cache.spec import Seconds
from gcsidecar.cache.survey import Surveyed
from gcsidecar.cache.watching.hints import Hints
from gcsidecar.cache.watching.watcher import Watcher
from gcsidecar.gc.clock import SYSTEM_CLOCK
from gcsidecar.sidecar.config import Config
from gcsidecar.sidecar.keeper import FIRST_LOOK_SECONDS, LOCKS_SCARCE_SECONDS, Keeper
from gcsidecar.sidecar.metrics import Metrics
from gcsidecar.sidecar.opening import Link
from gcsidecar.sidecar.status import Status
from sidecar.metrics_sample import eviction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from gcsidecar.gc.clock import Clock


class Scene:
    """A root with a keeper of its own."""

    def __init__(self, path: Path, *, clock: Clock | None = None, watched: bool = False, **keys: Any) -> None:
        self.time, self.metrics = FakeClock(), Metrics(Status, version="1")
        self.clock = clock or self.time
        link, found = Link(), spec(path, **keys)
        self.root = Root(found, link, clock=self.clock, reaped=link.reaped)
        self.keeper = link.keeper = Keeper(
            [Surveyed(self.root, Hints(Watcher(), str(path), lambda: None))],
            Config(roots=(found,)),
            self.metrics,
            watched=lambda: watched,
            lost=lambda _root, _problem: None,
            about={},
            clock=self.clock,
        )

    def round(self, after_seconds: float) -> int:
        """One round of the keeper; how many folders there are then."""
        self.time.advance(after_seconds)
        self.keeper._round()
        return len(self.root.census.folders())

    def role(self) -> str | None:
        """What is published of who acts on the root."""
        status = self.keeper.root_statuses().get("jobs")
        return None if status is None else status.role

    def idle(self) -> int:
        """How many folders are published as idle."""
        tally = self.keeper.root_statuses()["jobs"].tally
        assert tally is not None
        return tally.by_state[State.IDLE].folders


@contextmanager
def scene(path: Path, **keys: Any) -> Iterator[Scene]:
    made = Scene(path, **keys)
    yield made
    made.keeper.begin_to_stop()
    made.root.close()


def test_while_something_is_scarce_locks_are_asked_anew_before_each_plan(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_folder(tmp_path, name)
    lease = put(tmp_path / "a")
    with scene(tmp_path, max_folders=1) as made:
        with locked(lease), locked(put(tmp_path / "b")):
            reconcile(made.root)
            assert [made.round(LOCKS_SCARCE_SECONDS) for _ in range(3)] == [2, 2, 2]
        assert made.round(LOCKS_SCARCE_SECONDS) == 1
        assert made.metrics.registry.get_sample_value("gcsidecar_leases_reaped_total", {"reason": "dead"}) == 2


def test_nothing_goes_before_all_folders_have_been_seen_once(tmp_path: Path) -> None:
    for name, used_at in (("oldest", 1), ("older", 2), ("new", 3)):
        make_folder(tmp_path, name)
        os.utime(tmp_path / name, (used_at, used_at))
    with scene(tmp_path, max_folders=2) as made:
        made.root.finder.refresh("new")
        made.root.finder.refresh("older")
        make_folder(tmp_path, "another")
        made.root.finder.refresh("another")
        assert [made.round(1.0) for _ in range(3)] == [3, 3, 3]
        reconcile(made.root)
        assert made.round(1.0) == 2
        assert not (tmp_path / "oldest").exists()


def test_where_that_takes_too_long_a_cap_is_kept_among_those_that_are_known(tmp_path: Path) -> None:
    for name in ("a", "b", "unseen"):
        make_folder(tmp_path, name)
    with scene(tmp_path, max_folders=1) as made:
        for name in ("a", "b"):
            made.root.finder.refresh(name)
        assert [made.round(FIRST_LOOK_SECONDS / 2) for _ in range(2)] == [2, 1]


def test_the_figures_go_on_in_the_middle_of_a_collection_but_not_with_each_eviction(tmp_path: Path) -> None:
    with scene(tmp_path) as made:
        ages = []
        for seconds in (1.0, 0.1, 0.1, 1.0):
            made.time.advance(seconds)
            made.keeper._evicted(eviction())
            ages.append(made.clock.time() - made.keeper.status.measured_at)
        assert [round(age, 3) for age in ages] == [0, 0.1, 0.2, 0]


def test_what_changed_is_published_at_once_and_all_that_follows_within_a_bounded_part_of_the_time(
    tmp_path: Path,
) -> None:
    make_folder(tmp_path, "a")
    with scene(tmp_path) as made:
        reconcile(made.root)
        assert made.keeper._publish_roots() is None
        assert made.idle() == 1
        made.keeper._publish_at = made.clock.monotonic() + 0.5  # as if that had taken 50 ms
        assert made.keeper._publish_roots() is None, "there is nothing new"
        make_folder(tmp_path, "b")
        made.root.finder.refresh("b")
        assert made.keeper._publish_roots() == 0.5
        made.time.advance(0.5)
        assert made.keeper._publish_roots() is None
        assert made.idle() == 2


def test_what_the_keeper_itself_changes_is_published_without_a_hint(tmp_path: Path) -> None:
    """The survey waits until something is due, and nobody tells it of a root that has become ours."""
    with opened(tmp_path) as other, scene(tmp_path, clock=SYSTEM_CLOCK, watched=True) as made:
        made.keeper.start()
        try:
            assert eventually(lambda: made.role() == "standby", "it is published that another one is at work")
            other.custody.end()
            assert eventually(lambda: made.role() == "active", "it is published that the root is ours now")
        finally:
            assert made.keeper.stop(5)


def test_a_folder_in_which_somebody_is_at_work_is_kept_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with scene(tmp_path, max_folders=1, min_age=Seconds(120)) as made:
        for name in ("a", "b"):
            deep = make_folder(tmp_path, name, used_at=made.time.now - 1000) / "deep"
            deep.mkdir()
            (deep / "file").touch()
            for path in (deep / "file", deep, deep.parent):
                os.utime(path, (made.time.now - 1000, made.time.now - 1000))
        os.utime(tmp_path / "a/deep/file", (made.time.now - 1, made.time.now - 1))
        reconcile(made.root)
        made.keeper._caretaker.look_after()
        made.time.advance(1)
        made.keeper._round()
        assert [folder.name for folder in made.root.census.folders()] == ["a"]
        assert made.metrics._ledger.books().counts["gcsidecar_kept_total"] == {("jobs", "leased"): 1}
        told = [record.fields for record in caplog.records if record.message == "kept"]  # type: ignore[attr-defined]
        assert [(one["reason"], one["named"]) for one in told] == [("at-work", "a")]

"""What a look at one folder finds, whatever happens to it meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import pytest

from cache.folders.looking import Watched, folder_of, keep_of
from cache.helpers import Tracker, make_folder, opened, reconcile
from fakes import FakeClock
from gcsidecar.cache.spec import Seconds
from gcsidecar.gc.errors import DisposableInUseError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcsidecar.cache.folders.folder import Folder


class Counting(Watched):
    """One that counts what it was asked to add."""

    def __init__(self) -> None:
        super().__init__()
        self.added = 0

    def add(self, name: str) -> bool:
        self.added += 1
        return super().add(name)


def test_for_a_name_that_is_gone_no_watch_is_asked_for_and_none_stays(tmp_path: Path) -> None:
    watch = Counting()
    with opened(tmp_path, watch=watch) as root:
        reconcile(root)
        watch.names.add("a")  # by whatever happened to that name before
        root.finder.refresh("a")
        assert (watch.added, watch.names) == (0, set())
        make_folder(tmp_path, "a")
        root.finder.refresh("a")
        assert root.census.get("a") is not None
        assert (watch.added, watch.names) == (1, {"a"})


def test_an_eviction_asks_for_no_watch(tmp_path: Path) -> None:
    watch, old = Counting(), make_folder(tmp_path, "a")
    with opened(tmp_path, watch=watch) as root:
        reconcile(root)
        before = watch.added
        root.custody.evict(folder_of(root, "a"))
        assert not old.exists()
        assert (watch.added, watch.names) == (before, set())


def test_a_folder_made_anew_under_an_inode_number_used_before_arrives_anew_when_that_was_heard(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a", used_at=clock.now - 5000)
    with opened(tmp_path, clock=clock, min_age=Seconds(60)) as root:
        old = folder_of(root, "a")
        root.finder.gone("a")
        assert folder_of(root, "a") is not old
        assert keep_of(root, "a", clock.now) == "young"


def test_a_kept_folder_is_the_same_as_before(tmp_path: Path) -> None:
    clock, tracker, watch = FakeClock(time.time()), Tracker(), Watched()
    folder = make_folder(tmp_path, "a", used_at=clock.now - 5000)

    def take(step: str) -> None:
        if step == "moved out":
            (tmp_path / "a.lease").touch()

    with opened(tmp_path, tracker=tracker, watch=watch, clock=clock, step=take, min_age=Seconds(60)) as root:
        known = folder_of(root, "a")
        with pytest.raises(Exception, match="leased"):
            known.dispose()
        assert folder_of(root, "a") is known
        assert tracker.registered == [known]
        assert watch.names == {"a"}
        assert folder.stat().st_mtime == pytest.approx(clock.now - 5000, abs=0.001)
        assert known.leases == 1


def test_while_a_folder_is_evicted_a_look_at_its_name_changes_nothing(tmp_path: Path) -> None:
    tracker = Tracker()
    make_folder(tmp_path, "a")
    looked: list[list[Folder]] = []

    def look(step: str) -> None:
        if step in {"moved out", "deleted"}:
            reconcile(root)
            looked.append(root.census.folders())

    with opened(tmp_path, tracker=tracker, step=look) as root:
        folder = folder_of(root, "a")
        folder.dispose()
        assert looked == [[folder], [folder]]
        assert tracker.registered == root.census.folders() == []


class InterruptedClock(FakeClock):
    """Something happens whenever somebody looks at it: here, after the leases of a folder were seen."""

    meanwhile: Callable[[], object] | None = None

    def time(self) -> float:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().time()


def test_a_folder_evicted_by_another_thread_while_it_is_looked_at_does_not_come_back(tmp_path: Path) -> None:
    tracker, clock = Tracker(), InterruptedClock(time.time())
    make_folder(tmp_path, "a")
    with opened(tmp_path, tracker=tracker, clock=clock) as root:

        def evict() -> None:
            evictor = threading.Thread(target=folder_of(root, "a").dispose)
            evictor.start()
            evictor.join()

        clock.meanwhile = evict
        root.finder.refresh("a")
        assert clock.meanwhile is None
        assert root.census.folders() == tracker.registered == []


def test_a_folder_that_came_back_from_its_eviction_is_a_reason_to_plan_anew(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path) as root:
        folder = folder_of(root, "a")
        with contextlib.suppress(DisposableInUseError), root.finder.evicting(folder):
            planned_at = root.census.version
            assert keep_of(root, "a", time.time()) == "evicting"
            raise DisposableInUseError("a: stopped", reason="stopped")
        assert root.census.version > planned_at
        assert keep_of(root, "a", time.time()) is None

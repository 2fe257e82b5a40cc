"""The survey with real watches and threads: hints are followed at once, and what they miss a reconcile finds."""

from __future__ import annotations

import fcntl
import math
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cache.helpers import Tracker, eventually, make_folder, spec
from cache.leasing import locked, put
from fakes import FakeClock
from gcsidecar.cache.folders.tally import State
from gcsidecar.cache.measuring.schedule import ARRIVED_SECONDS, GROWING_SECONDS, LARGE_SCAN, QUIET_SECONDS
from gcsidecar.cache.root import Root
from gcsidecar.cache.spec import Seconds
from gcsidecar.cache.survey import (
    GROW_UP_SECONDS,
    LOCKS_SECONDS,
    RECONCILE_COST_FACTOR,
    RECONCILE_SECONDS,
    RECONCILE_UNWATCHED_SECONDS,
    Survey,
    Surveyed,
)
from gcsidecar.cache.watching.hints import Hints
from gcsidecar.cache.watching.watcher import Change, Watcher
from gcsidecar.cache.watching.watches import OVERFLOW
from gcsidecar.gc.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from collections.abc import Iterator


class Site:
    """A root under survey, with whatever belongs to it."""

    def __init__(self, path: Path, clock: Clock = SYSTEM_CLOCK, *, watched: bool = True, **keys: Any) -> None:
        self.watcher, self.tracker = Watcher(), Tracker()
        self.lost: list[str] = []
        self.hints = Hints(self.watcher, str(path), self.wake)
        self.root = Root(spec(path, **keys), self.tracker, clock=clock, watch=self.hints)
        self.surveyed = Surveyed(self.root, self.hints)
        self.survey = Survey(
            [self.surveyed],
            watched=lambda: watched,
            publish=lambda: None,
            lost=lambda _root, problem: self.lost.append(problem),
            clock=clock,
        )
        if watched:
            self.hints.attach(self.root)
        self.root.custody.activate({})

    def wake(self) -> None:
        self.survey.wake()

    def state(self, name: str) -> State | None:
        folder = self.root.census.get(name)
        return None if folder is None else folder.state(time.time())

    def leases(self) -> int:
        return self.root.tally().leases

    def size(self, name: str) -> int | None:
        folder = self.root.census.get(name)
        return None if folder is None else folder.disk_bytes

    def rounds(self, count: int = 1) -> None:
        """What its thread does, in this one; with a clock that stands still it comes to the end of all its work."""
        for _ in range(count):
            self.survey._wake.clear()
            self.survey._follow(self.surveyed)
            self.survey._measuring.take_in()
            self.survey._advance()

    def rest(self, publish_in: float | None = None) -> float:
        return self.survey._rest_seconds(publish_in)

    def close(self) -> None:
        self.survey.close()
        self.root.close()
        self.hints.detach()
        self.watcher.close()


@contextmanager
def at_work(path: Path, **keys: Any) -> Iterator[Site]:
    """A site whose survey runs, and has reconciled once."""
    site = Site(path, **keys)
    thread = threading.Thread(target=site.survey.run)
    thread.start()
    try:
        assert eventually(lambda: site.surveyed.reconcile_ok)
        yield site
    finally:
        site.survey.stop()
        thread.join()
        site.close()


@contextmanager
def by_hand(path: Path, clock: Clock, **keys: Any) -> Iterator[Site]:
    site = Site(path, clock, **keys)
    try:
        site.rounds(2)
        yield site
    finally:
        site.close()


@pytest.mark.parametrize("lease", ["a/.lease", "a/.lease.1", "a.lease"])
def test_a_lease_is_seen_within_a_second_and_so_is_its_end(tmp_path: Path, lease: str) -> None:
    make_folder(tmp_path, "a")
    with at_work(tmp_path) as site:
        assert site.state("a") is State.IDLE
        (tmp_path / lease).touch()
        assert eventually(lambda: site.leases() == 1)
        assert site.root.tally().by_state[State.LEASED].folders == 1
        (tmp_path / lease).unlink()
        assert eventually(lambda: site.leases() == 0)


@pytest.mark.parametrize("heard", [True, False])
def test_the_death_of_a_holder_is_seen_at_once_with_and_without_a_hint(tmp_path: Path, *, heard: bool) -> None:
    """Of a file that was opened for reading only no watch tells that it was closed."""
    folder = make_folder(tmp_path, "a")
    with at_work(tmp_path) as site:
        made = put(folder, name="new")
        fd = os.open(made, os.O_RDWR if heard else os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        made.rename(folder / ".lease.x")
        assert eventually(lambda: site.leases() == 1)
        os.close(fd)
        assert eventually(lambda: site.leases() == 0 and not list(folder.glob(".lease*")), within_seconds=5.0)


def test_a_new_folder_arrives_and_is_measured(tmp_path: Path) -> None:
    with at_work(tmp_path) as site:
        make_folder(tmp_path, "a", size=100_000)
        assert eventually(lambda: (site.size("a") or 0) >= 100_000)
        folder = site.root.census.get("a")
        assert folder is not None
        assert folder.arrived_at == pytest.approx(time.time(), abs=5)


def test_a_folder_that_goes_is_dropped_and_its_watch_with_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_folder(tmp_path, name)
    with at_work(tmp_path) as site:
        assert eventually(lambda: site.watcher.watches == 3)
        (tmp_path / "a").rename(tmp_path.parent / "away")
        assert eventually(lambda: [folder.name for folder in site.root.census.folders()] == ["b"])
        assert eventually(lambda: site.watcher.watches == 2)
        assert site.tracker.registered == site.root.census.folders()


@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_folder_made_anew_at_once_is_watched_again(tmp_path: Path, how: str) -> None:
    make_folder(tmp_path, "a")
    with at_work(tmp_path) as site:
        known = site.root.census.get("a")
        for number in range(20):
            if how == "moved":
                (tmp_path / "a").rename(tmp_path.parent / f"away{number}")
            else:
                (tmp_path / "a/data").unlink()
                (tmp_path / "a").rmdir()
            make_folder(tmp_path, "a")
        assert eventually(lambda: site.root.census.get("a") not in {None, known})
        assert eventually(lambda: site.watcher.watches == 2)
        time.sleep(0.3)
        (tmp_path / "a/.lease").touch()
        assert eventually(lambda: site.leases() == 1)
        assert site.tracker.registered == site.root.census.folders()


def test_a_folder_made_anew_under_the_same_inode_number_is_watched_again(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a")
    with by_hand(tmp_path, clock, watched=True) as site:
        known = site.root.census.get("a")
        (tmp_path / "a/data").unlink()
        (tmp_path / "a").rmdir()
        make_folder(tmp_path, "a")
        assert eventually(lambda: "a" in site.hints._noted.gone)
        site.rounds()
        assert site.root.census.get("a") not in {None, known}
        (tmp_path / "a/.lease").touch()
        assert eventually(lambda: "a" in site.hints._noted.names)
        site.rounds()
        assert site.leases() == 1


def test_a_folder_that_was_evicted_is_not_watched_and_one_that_was_kept_is(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_folder(tmp_path, name)
    with at_work(tmp_path) as site:
        a, b = (site.root.census.get(name) for name in "ab")
        assert a is not None
        assert b is not None
        (tmp_path / "b/.lease").touch()
        with pytest.raises(Exception, match="leased"):
            b.dispose()
        a.dispose()
        assert eventually(lambda: site.watcher.watches == 2)
        (tmp_path / "b/.lease").unlink()
        assert eventually(lambda: site.leases() == 0)


def test_folders_two_levels_down_are_heard_of(tmp_path: Path) -> None:
    make_folder(tmp_path, "x/a")
    with at_work(tmp_path, folders="*/*") as site:
        make_folder(tmp_path, "x/b")
        assert eventually(lambda: site.state("x/b") is not None)
        (tmp_path / "x/b.lease").touch()
        (tmp_path / "x/a/.lease").touch()
        assert eventually(lambda: site.leases() == 2)
        make_folder(tmp_path, "y/c")
        assert eventually(lambda: site.state("y/c") is not None)
    assert site.watcher.watches == 0


def test_where_hints_were_lost_a_reconcile_finds_what_they_would_have_told(tmp_path: Path) -> None:
    with at_work(tmp_path) as site:
        site.hints.remove("")
        make_folder(tmp_path, "a")
        time.sleep(0.3)
        assert site.state("a") is None
        site.hints._heard(OVERFLOW)
        assert eventually(lambda: site.state("a") is not None)
        assert eventually(lambda: site.watcher.watches == 2), "the root itself is watched again, too"


def test_a_real_overflow_leads_to_a_reconcile(tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    held = threading.Event()

    def stuck(_change: Change) -> None:
        held.wait(20)

    with at_work(tmp_path) as site:
        stalling = site.watcher.listen(str(tmp_path), stuck)
        site.watcher.add(stalling, "")
        for number in range(2 * limit):
            os.close(os.open(tmp_path / f"file{number % 10}", os.O_CREAT | os.O_WRONLY))
        make_folder(tmp_path, "a")
        held.set()
        site.watcher.end(stalling)
        assert eventually(lambda: site.watcher.overflows > 0, 10)
        assert eventually(lambda: site.state("a") is not None, 10)


def test_a_root_that_is_replaced_is_lost_once(tmp_path: Path) -> None:
    path = tmp_path / "root"
    make_folder(path, "a")
    with at_work(path) as site:
        path.rename(tmp_path / "old")
        path.mkdir()
        assert eventually(lambda: site.lost)
        time.sleep(0.3)
        assert len(site.lost) == 1


def test_without_watches_it_reconciles_more_often(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    with by_hand(tmp_path, clock, watched=False) as site:
        make_folder(tmp_path, "a")
        site.rounds()
        assert site.state("a") is None
        clock.advance(RECONCILE_SECONDS / 10)
        site.rounds()
        assert site.state("a") is not None


def test_a_folder_in_use_is_measured_now_and_then_as_it_grows(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    folder = make_folder(tmp_path, "a")
    (folder / "deep").mkdir()
    (folder / ".lease").touch()
    with by_hand(tmp_path, clock, watched=False) as site:
        before = site.size("a")
        assert before is not None
        (folder / "deep/data").write_bytes(b"x" * 100_000)
        clock.advance(GROWING_SECONDS - 1)
        site.rounds()
        assert site.size("a") == before
        for _ in range(2):
            clock.advance(1)
            site.rounds()
        assert (site.size("a") or 0) >= before + 100_000


def test_a_folder_that_never_is_quiet_is_measured_all_the_same(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    folder = make_folder(tmp_path, "a")
    with by_hand(tmp_path, clock, watched=False) as site:
        known = site.root.census.get("a")
        assert known is not None
        measured_at = known.measured_at
        (folder / "data").write_bytes(b"x" * 100_000)
        for second in range(40):
            os.utime(folder, (clock.now, clock.now - second))
            site.root.finder.refresh("a")
            site.rounds()
            clock.advance(1)
        assert known.measured_at > measured_at
        assert (site.size("a") or 0) >= 100_000


def test_under_a_stream_of_hints_the_long_work_comes_to_its_end(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    for number in range(5):
        make_folder(tmp_path, f"f{number}")
    site = Site(tmp_path, clock)
    site.wake()
    for _ in range(50):
        site.survey._follow(site.surveyed)
        site.survey._advance()
    assert all(folder.disk_bytes for folder in site.root.census.folders())
    assert len(site.root.census.folders()) == 5
    site.close()


def test_while_a_large_root_is_listed_for_the_first_time_others_begin_to_measure_it(tmp_path: Path) -> None:
    for number in range(3 * LARGE_SCAN):
        (tmp_path / f"{number}").mkdir()
    site = Site(tmp_path)
    try:
        until = time.monotonic() + 60
        while not site.survey.progress.entries and time.monotonic() < until:
            site.survey._round()
            if not site.survey.progress.entries and site.root.census.count > 2 * LARGE_SCAN:
                time.sleep(0.005)  # on this processor it would come to its end before another one has started
        assert not site.root.census.complete
        assert site.survey.progress.entries > 0
        while site.root.tally().unmeasured or not site.root.census.complete:
            assert time.monotonic() < until
            site.rounds()
        assert site.survey.progress.entries == 3 * LARGE_SCAN
    finally:
        site.close()


def test_it_ends_within_a_moment_while_it_measures(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    for number in range(3000):
        (folder / str(number)).touch()
    site = Site(tmp_path)
    thread = threading.Thread(target=site.survey.run)
    thread.start()
    site.survey.stop()
    thread.join(0.5)
    assert not thread.is_alive()
    site.close()


def test_leases_that_come_and_go_all_the_time_leave_right_totals(tmp_path: Path) -> None:
    for number in range(4):
        make_folder(tmp_path, f"f{number}")
    stop = threading.Event()

    def churn(name: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            lease = tmp_path / name / f".lease.{number}"
            lease.touch()
            lease.unlink()

    with at_work(tmp_path) as site:
        clients = [threading.Thread(target=churn, args=(f"f{number}",)) for number in range(2)]
        for client in clients:
            client.start()
        for folder in site.root.census.folders():
            if folder.name in {"f2", "f3"}:
                folder.dispose()
                make_folder(tmp_path, folder.name)
        time.sleep(0.3)
        stop.set()
        for client in clients:
            client.join()
        assert eventually(lambda: (site.root.census.count, site.leases()) == (4, 0))
        assert set(site.tracker.registered) == set(site.root.census.folders())
        assert eventually(lambda: site.watcher.watches == 5)


def test_at_rest_it_waits_until_something_is_due(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a")
    with by_hand(tmp_path, clock) as site:
        assert site.rest() == RECONCILE_SECONDS
        clock.advance(20)
        site.rounds()
        assert site.rest() == RECONCILE_SECONDS - 20
        assert site.rest(publish_in=0.5) == 0.5
        site.surveyed.lost, site.surveyed.reconcile_at = True, 0.0
        assert site.rest() == site.survey._measuring.next_at() - clock.monotonic() > 0


def test_where_hints_cannot_be_relied_on_it_waits_for_less_and_not_for_less_than_a_reconcile_is_worth(
    tmp_path: Path,
) -> None:
    clock = FakeClock(time.time())
    with by_hand(tmp_path, clock, watched=False) as site:
        assert site.rest() == RECONCILE_UNWATCHED_SECONDS
        for took, pause in ((1.0, RECONCILE_COST_FACTOR - 1), (5.0, RECONCILE_SECONDS - 5)):
            clock.advance(RECONCILE_SECONDS)
            reconciling = site.survey._reconcile(site.surveyed)
            for number in range(64):
                (tmp_path / f"{took}-{number}").mkdir()  # so many that it takes a break
            next(reconciling)
            clock.advance(took)
            list(reconciling)
            assert site.surveyed.reconcile_at - clock.monotonic() == pause


def test_it_waits_no_longer_than_until_a_folder_is_young_no_more_or_is_to_be_measured(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    with by_hand(tmp_path, clock, min_age=Seconds(10)) as site:
        folder = make_folder(tmp_path, "a")
        site.root.finder.refresh("a")
        site.rounds()
        assert site.rest() == pytest.approx(ARRIVED_SECONDS)
        clock.advance(ARRIVED_SECONDS)
        site.rounds()
        assert site.rest() == pytest.approx(10 - ARRIVED_SECONDS, abs=0.001)
        clock.advance(9.9 - ARRIVED_SECONDS)
        site.rounds()
        assert site.rest() == GROW_UP_SECONDS
        clock.advance(0.2)
        site.rounds()
        assert site.root.tally().by_state[State.IDLE].folders == 1
        (folder / "new").touch()
        site.root.finder.refresh("a")
        site.rounds()
        assert site.rest() == pytest.approx(QUIET_SECONDS)


def test_it_looks_at_locks_in_time_while_one_is_held_and_not_otherwise(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    folder = make_folder(tmp_path, "a")
    with by_hand(tmp_path, clock, watched=False) as site:
        with locked(put(folder)):
            clock.advance(RECONCILE_UNWATCHED_SECONDS)
            site.rounds()
            assert site.leases() == 1
            assert site.rest() == LOCKS_SECONDS
        clock.advance(LOCKS_SECONDS)
        site.rounds()
        assert (site.leases(), site.survey._unhinted_in(site.root)) == (0, math.inf)

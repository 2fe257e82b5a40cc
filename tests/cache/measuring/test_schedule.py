"""What is to be measured comes by use: what somebody waits for, what is new or changed, what is in use in a budget."""

from __future__ import annotations

import math
import os
import time
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cache.helpers import make_folder, opened, reconcile
from fakes import FakeClock
from gcsidecar.cache.measuring.schedule import (
    ARRIVED_SECONDS,
    GROWING_SECONDS,
    LARGE_SCAN,
    LOOK_BACK,
    QUIET_SECONDS,
    Schedule,
    Target,
)
from gcsidecar.cache.spec import MeasureSpec
from gcsidecar.cache.walking.sizes import measure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gcsidecar.cache.root import Root

PER_SECOND = 10


class Plan:
    """A schedule for the folders of a real root."""

    def __init__(self, root: Root, clock: FakeClock) -> None:
        self.root, self.clock = root, clock
        self.schedule = Schedule(MeasureSpec(leased_entries_per_second=PER_SECOND), clock)

    def target(self, name: str) -> Target:
        return Target(self.root, name)

    def measured(self, name: str, entries: int | None = None) -> None:
        """As the survey does it, with so many entries."""
        folder, size = self.target(name).folder, measure(self.root.fd, name)
        assert folder is not None
        self.root.census.measured(folder, size)
        self.schedule.was_measured(self.target(name), size.entries if entries is None else entries)

    def now(self, after_seconds: float = 0.0) -> list[str]:
        """All that is to be measured then."""
        self.clock.advance(after_seconds)
        found = []
        while (target := self.schedule.next()) is not None:
            found.append(target.name)
        return found


@contextmanager
def plan(path: Path) -> Iterator[Plan]:
    clock = FakeClock(time.time())
    with opened(path, clock=clock) as root:
        yield Plan(root, clock)


def test_first_scans_go_in_order_of_last_use_so_that_what_is_known_is_what_would_go_next(tmp_path: Path) -> None:
    for name, used_at in (("c", 3e8), ("a", 2e8), ("b", 1e8)):
        make_folder(tmp_path, name, used_at=used_at)
    with plan(tmp_path) as made:
        for name in "abc":
            made.schedule.is_new(made.target(name))
        assert made.schedule.next_at() == made.clock.monotonic()
        assert made.now() == ["b", "a", "c"]
        assert made.schedule.next_at() == math.inf
        for name in "abc":
            made.schedule.is_new(made.target(name))
        assert made.schedule.next() == made.target("b")
        assert [target.name for target in made.schedule.take_all()] == ["a", "c"]
        assert made.now() == []


def test_what_changes_meanwhile_has_its_place_among_first_scans_by_its_last_use(tmp_path: Path) -> None:
    for name, used_at in (("a", 1e8), ("b", 2e8), ("c", 3e8)):
        make_folder(tmp_path, name, used_at=used_at)
    with plan(tmp_path) as made:
        for name in "ac":
            made.schedule.is_new(made.target(name))
        made.schedule.changes(made.target("b"))
        assert made.now(QUIET_SECONDS) == ["a", "b", "c"]


def test_a_first_scan_passes_by_what_was_measured_or_went_meanwhile_and_keeps_nothing_of_the_others(
    tmp_path: Path,
) -> None:
    for number in range(1000):
        (tmp_path / f"{number:04}").mkdir()
    with plan(tmp_path) as made:
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for folder in made.root.census.folders():
                made.schedule.is_new(made.target(folder.name))
            del folder
            assert tracemalloc.get_traced_memory()[0] - before < 1000 * 40
        finally:
            tracemalloc.stop()
        made.measured("0007")
        (tmp_path / "0008").rmdir()
        reconcile(made.root)
        names = [target.name for target in made.schedule.take_all()]
        assert sorted(names) == [f"{number:04}" for number in range(1000) if number not in {7, 8}]
        assert made.schedule.next_at() == math.inf


def test_of_a_first_scan_that_is_large_some_are_taken_while_more_come_and_each_once(tmp_path: Path) -> None:
    names = [f"{number:04}" for number in range(LARGE_SCAN + LOOK_BACK)]
    for number, name in enumerate(names):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1e9 - number, 1e9 - number))
    with plan(tmp_path) as made:
        for name in names[: LARGE_SCAN - 1]:
            made.schedule.is_new(made.target(name))
        assert made.schedule.take_some(10) == []
        for name in names[LARGE_SCAN - 1 :]:
            made.schedule.is_new(made.target(name))
        made.measured(names[-1])
        some = [target.name for target in made.schedule.take_some(3)]
        assert some == [names[-2], names[-3]]
        some += [names[-1], *(target.name for target in made.schedule.take_some(3))]
        assert len(some) == 6
        assert made.now() == [name for name in reversed(names) if name not in some]


def test_one_that_arrives_is_measured_a_moment_later_and_one_that_changes_when_it_is_quiet(tmp_path: Path) -> None:
    make_folder(tmp_path, "old")
    with plan(tmp_path) as made:
        make_folder(tmp_path, "new")
        reconcile(made.root)
        made.schedule.is_new(made.target("new"))
        assert made.now() == []
        assert made.now(ARRIVED_SECONDS) == ["new"]
        made.schedule.changes(made.target("old"))
        assert made.now(QUIET_SECONDS - 1) == []
        made.schedule.changes(made.target("old"))
        assert made.now(QUIET_SECONDS - 1) == []
        assert made.now(1) == ["old"]
        assert made.now(GROWING_SECONDS * 3) == []


def test_one_that_is_never_quiet_is_measured_all_the_same(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with plan(tmp_path) as made:
        times = 0
        for _ in range(100):
            made.schedule.changes(made.target("a"))
            times += len(made.now(1))
        assert times == 3


def test_what_somebody_waits_for_comes_first_and_once(tmp_path: Path) -> None:
    for name in "abc":
        make_folder(tmp_path, name)
    with plan(tmp_path) as made:
        for name in "abc":
            made.schedule.is_new(made.target(name))
        for name in ("c", "elsewhere", "c"):
            made.schedule.want(made.target(name))
        assert made.schedule.is_waited_for
        assert made.now()[:2] == ["c", "elsewhere"]
        assert not made.schedule.is_waited_for


def test_what_is_in_use_is_measured_now_and_then_and_all_of_it_within_one_budget(tmp_path: Path) -> None:
    for number in range(20):
        folder = make_folder(tmp_path, f"f{number}")
        (folder / ".lease").touch()
    make_folder(tmp_path, "large")
    for number in range(997):
        (tmp_path / f"large/{number}").touch()
    (tmp_path / "large/.lease").touch()
    with plan(tmp_path) as made:
        for known in made.root.census.folders():
            made.schedule.is_new(made.target(known.name))
        names = made.now()
        assert len(names) == 21, "the first time is not in the budget: nothing is known of it"
        entries, seconds = 0, 3600
        turns = dict.fromkeys(names, 0)
        for name in names:
            made.measured(name)
        for _ in range(seconds):
            for name in made.now(1):
                turns[name] += 1
                entries += 1000 if name == "large" else 3
                made.measured(name)
        assert entries <= PER_SECOND * seconds
        assert turns["large"] >= 2
        assert min(turns.values()) == turns["large"]
        assert max(turns.values()) <= seconds / GROWING_SECONDS


def test_changes_of_one_in_use_are_in_that_budget_too_and_its_last_lease_takes_it_out(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    for number in range(10 * PER_SECOND - 3):
        (folder / f"{number}").touch()
    (folder / ".lease").touch()
    with plan(tmp_path) as made:
        made.measured("a")
        made.schedule.changes(made.target("a"))
        assert made.now(QUIET_SECONDS) == []
        assert made.now(9.5) == []
        assert made.now(0.6) == ["a"]
        made.schedule.changes(made.target("a"))
        assert made.now(QUIET_SECONDS) == []
        (folder / ".lease").unlink()
        made.root.finder.refresh("a")
        made.schedule.changes(made.target("a"))
        assert made.now(QUIET_SECONDS) == ["a"]
        made.measured("a")
        assert made.now(1000) == [], "neither a turn of before, nor another one"


def test_one_that_grew_much_larger_pays_for_it_before_its_next_turn(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    (folder / ".lease").touch()
    with plan(tmp_path) as made:
        made.measured("a")
        made.now(GROWING_SECONDS)
        assert made.now(1) == ["a"]
        made.measured("a", entries=100 * PER_SECOND)
        made.now(GROWING_SECONDS)
        assert made.now(98) == []
        assert made.now(3) == ["a"]


def test_what_is_gone_is_not_measured(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    with plan(tmp_path) as made:
        made.schedule.is_new(made.target("a"))
        folder.rename(tmp_path / ".away")
        reconcile(made.root)
        assert made.now() == []
        made.schedule.is_new(made.target("never"))
        assert made.now(1) == []

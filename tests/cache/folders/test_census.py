"""What is known of the folders of a root: which there are, when they came and were used, and what holds them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cache.folders.looking import Watched, folder_of, keep_of
from cache.helpers import Tracker, make_folder, opened, reconcile
from fakes import FakeClock
from gcsidecar.cache.folders.tally import State
from gcsidecar.cache.spec import LeaseSpec, Seconds
from gcsidecar.cache.walking.sizes import measure
from gcsidecar.cache.watching.hints import Hints
from gcsidecar.cache.watching.watcher import Change, ChangeKind, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from cache.conftest import Mounts


# When a folder was last used, and when it arrived


def test_the_order_of_a_volume_just_adopted_is_that_of_its_mtimes(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    for name, ago in (("b", 300), ("c", 100), ("a", 200)):
        make_folder(tmp_path, name, used_at=clock.now - ago)
    with opened(tmp_path, clock=clock, min_age=Seconds(120)) as root:
        assert sorted(root.census.folders(), key=lambda f: f.last_used()) == [folder_of(root, n) for n in "bac"]
        assert [keep_of(root, name, clock.now) for name in "abc"] == [None] * 3


def test_a_folder_that_appears_later_arrives_then_and_is_young_until_min_age(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    with opened(tmp_path, clock=clock, min_age=Seconds(120)) as root:
        clock.advance(10)
        make_folder(tmp_path, "a", used_at=clock.now - 5000)
        reconcile(root)
        assert folder_of(root, "a").last_used() == clock.now
        candidate = folder_of(root, "a").candidate(clock.now)
        assert (candidate.keep, candidate.keep_until) == ("young", clock.now + 120)
        version = root.census.version
        clock.advance(119)
        assert root.census.grow_up() == pytest.approx(clock.now + 1, abs=0.001)
        assert root.census.version == version
        clock.advance(1)
        assert root.census.grow_up() is None
        assert root.census.version > version
        assert keep_of(root, "a", clock.now) is None
        assert root.tally().by_state[State.IDLE].folders == 1


@pytest.mark.parametrize(
    ("pattern", "names", "beside"), [("{folder}.lease", ["a"], False), ("{folder}*.lease", [], True)]
)
def test_a_hint_of_a_lease_beside_a_folder_costs_no_look_at_all_others(
    tmp_path: Path, pattern: str, names: list[str], *, beside: bool
) -> None:
    with opened(tmp_path, lease=LeaseSpec(files=(pattern,))) as root:
        hints = Hints(Watcher(), str(tmp_path), lambda: None)
        hints._root = root
        hints._heard(Change("", "a.lease", ChangeKind.APPEARED))
        noted = hints.take()
        assert (list(noted.names), noted.beside) == (names, beside)


def test_a_last_use_in_the_future_counts_as_now(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a", used_at=clock.now + 9999)
    with opened(tmp_path, clock=clock) as root:
        assert folder_of(root, "a").candidate(clock.now).last_used == clock.now
        assert root.tally().top[0].last_used == clock.now


def test_a_lease_and_a_file_inside_are_signs_of_use(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    folder = make_folder(tmp_path, "a", used_at=clock.now - 5000)
    with opened(tmp_path, clock=clock) as root:
        os.utime(folder / "data", (clock.now - 100, clock.now - 300))
        root.census.measured(folder_of(root, "a"), measure(root.fd, "a"))
        assert folder_of(root, "a").last_used() == pytest.approx(clock.now - 300, abs=0.001)
        (folder / ".lease").touch()
        os.utime(folder / ".lease", (clock.now, clock.now - 50))
        os.utime(folder, (clock.now, clock.now - 9000))
        reconcile(root)
        assert folder_of(root, "a").last_used() == pytest.approx(clock.now - 50, abs=0.001)


def test_a_touch_of_a_folder_is_a_cause_for_another_plan(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    folder = make_folder(tmp_path, "a", used_at=clock.now - 5000)
    with opened(tmp_path, clock=clock) as root:
        version = root.census.version
        reconcile(root)
        assert root.census.version == version
        os.utime(folder)
        reconcile(root)
        assert root.census.version > version


# What holds a folder


@pytest.mark.parametrize(
    ("glob", "name", "pinned"),
    [
        ("base-*", "base-1", True),
        ("base-*", "a-base-1", False),
        ("base-*", "BASE-1", False),
        (r"caf\xe9", os.fsdecode(b"caf\xe9"), True),
        (r"caf\xE9", os.fsdecode(b"caf\xe9"), True),
        (r"caf\xe9", "café", False),
        ("[ab]", "b", True),
    ],
)
def test_pinned_folders_are_those_that_a_glob_of_keep_matches(
    tmp_path: Path, glob: str, name: str, *, pinned: bool
) -> None:
    make_folder(tmp_path, name)
    with opened(tmp_path, keep=(glob,)) as root:
        assert folder_of(root, name).pinned == pinned
        assert keep_of(root, name, time.time()) == ("pinned" if pinned else None)


def test_of_several_states_the_first_counts(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    with opened(tmp_path, clock=clock, keep=("p*",), min_age=Seconds(60)) as root:
        for name in ("p1", "p2", "y1", "y2"):
            make_folder(tmp_path, name)
        (tmp_path / "p1/.lease").touch()
        (tmp_path / "y1.lease").touch()
        reconcile(root)
        states = {folder.name: folder.state(clock.now) for folder in root.census.folders()}
        assert states == {"p1": "leased", "p2": "pinned", "y1": "leased", "y2": "young"}
        assert {state: amount.folders for state, amount in root.tally().by_state.items()} == {
            State.LEASED: 2,
            State.PINNED: 1,
            State.YOUNG: 1,
            State.IDLE: 0,
        }


def test_the_newest_of_a_root_stay_and_which_they_are_follows_their_use(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    for name, ago in (("a", 100), ("b", 200), ("c", 300)):
        make_folder(tmp_path, name, used_at=clock.now - ago)
    with opened(tmp_path, clock=clock, keep_newest=1) as root:
        assert [keep_of(root, name, clock.now) for name in "abc"] == ["newest", None, None]
        os.utime(tmp_path / "c", (clock.now, clock.now))
        reconcile(root)
        assert [keep_of(root, name, clock.now) for name in "abc"] == [None, None, "newest"]


@pytest.mark.parametrize(("calendar", "monotonic", "due"), [(11, 11, True), (9, 9, False), (86400, 5, False)])
def test_max_idle_is_told_by_a_clock_that_does_not_jump(
    tmp_path: Path, calendar: float, monotonic: float, *, due: bool
) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a", used_at=clock.now)
    with opened(tmp_path, clock=clock, max_idle=Seconds(10)) as root:
        clock.now += calendar
        clock.mono += monotonic
        assert folder_of(root, "a").candidate(clock.now).due == ("max-idle" if due else None)


def test_what_cannot_be_read_is_in_use(tmp_path: Path, as_nobody: Callable[[Callable[[], object]], object]) -> None:
    make_folder(tmp_path, "a").chmod(0o311)
    make_folder(tmp_path, "b")

    def states() -> list[object]:
        with opened(Path(f"/proc/self/fd/{fd}"), active=False, dry_run=True) as root:
            return [keep_of(root, "a", time.time()), keep_of(root, "b", time.time())]

    fd = os.open(tmp_path, os.O_RDONLY)
    assert as_nobody(states) == ["unreadable", None]
    os.close(fd)


def test_a_folder_on_another_mount_is_kept(tmp_path: Path, mounts: Mounts) -> None:
    mounts.mount(tmp_path / "a", "-t", "tmpfs", "tmpfs")
    with opened(tmp_path) as root:
        assert keep_of(root, "a", time.time()) == "unreadable"


def test_a_folder_that_could_not_be_deleted_whole_is_kept(tmp_path: Path, mounts: Mounts) -> None:
    mounts.mount(make_folder(tmp_path, "a") / "mnt", "-t", "tmpfs", "tmpfs")
    with opened(tmp_path) as root:
        assert keep_of(root, "a", time.time()) is None
        root.census.measured(folder_of(root, "a"), measure(root.fd, "a"))
        assert keep_of(root, "a", time.time()) == "obstacle"


def test_a_size_is_unknown_until_it_was_measured(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path) as root:
        assert set(folder_of(root, "a").candidate(0).sizes.values()) == {None, 1}
        assert root.tally().unmeasured == 1
        root.census.measured(folder_of(root, "a"), measure(root.fd, "a"))
        assert root.tally().unmeasured == 0
        assert (
            root.tally().by_state[State.IDLE].disk_bytes == folder_of(root, "a").disk_size() == root.census.known_bytes
        )


# What changes


def test_what_vanished_is_dropped_with_all_that_was_known_of_it(tmp_path: Path) -> None:
    tracker, watch = Tracker(), Watched()
    for name in ("a", "b"):
        make_folder(tmp_path, name)
    with opened(tmp_path, tracker=tracker, watch=watch) as root:
        root.census.measured(folder_of(root, "a"), measure(root.fd, "a"))
        (tmp_path / "a").rename(tmp_path / ".away")
        reconcile(root)
        assert [folder.name for folder in root.census.folders()] == ["b"]
        assert tracker.registered == root.census.folders()
        assert watch.names == {"b"}
        assert root.census.known_bytes == 0
    assert tracker.registered == []
    assert watch.names == set()


def test_another_folder_of_the_same_name_arrives_anew_and_the_old_one_is_known_no_longer(tmp_path: Path) -> None:
    clock, tracker, watch = FakeClock(time.time()), Tracker(), Watched()
    make_folder(tmp_path, "a", used_at=clock.now - 5000)
    with opened(tmp_path, tracker=tracker, watch=watch, clock=clock, min_age=Seconds(60)) as root:
        old = folder_of(root, "a")
        (tmp_path / "a").rename(tmp_path / ".away")
        make_folder(tmp_path, "a")
        reconcile(root)
        assert folder_of(root, "a") is not old
        assert tracker.registered == root.census.folders()
        assert keep_of(root, "a", clock.now) == "young"
        assert watch.names == {"a"}
        assert watch.changes[-1] == ("a", True)


def test_a_folder_that_was_swapped_since_it_was_chosen_is_not_evicted_in_its_place(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path, min_age=Seconds(60)) as root:
        chosen = folder_of(root, "a")
        (tmp_path / "a").rename(tmp_path / ".away")
        make_folder(tmp_path, "a")
        with pytest.raises(Exception, match="changed"):
            chosen.dispose()
        assert (tmp_path / "a/data").exists()
        assert keep_of(root, "a", time.time()) == "young"


def test_of_the_largest_folders_each_is_told(tmp_path: Path) -> None:
    for number in range(5):
        make_folder(tmp_path, f"f{number}", size=number * 100_000)
    with opened(tmp_path, top_folders=2) as root:
        for folder in root.census.folders():
            root.census.measured(folder, measure(root.fd, folder.name))
        tally = root.tally()
        assert [share.name for share in tally.top] == ["f4", "f3"]
        sizes = [folder.disk_size() for folder in root.census.folders()]
        assert [share.disk_bytes for share in tally.top] == sorted(sizes, reverse=True)[:2]

"""The look at a real folder before it goes: how large it is, and whether somebody without a lease is at work in it."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cache.helpers import make_folder, opened
from fakes import FakeClock, FakeDisk
from gcsidecar.cache.spec import Seconds
from gcsidecar.cache.walking.look import AT_WORK, MOST_ENTRIES, TRUSTED_SECONDS
from gcsidecar.cache.walking.sizes import measure
from gcsidecar.gc.collector import GarbageCollector
from gcsidecar.gc.pressure import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.root import Root
    from gcsidecar.gc.planning import Candidate

MIN_AGE, SETTLE = 120.0, 30.0
MIB = 1 << 20


class Scene:
    """A root, two hours after all in it was made, and a collector that finds nothing free on its disk."""

    def __init__(self, root: Root, clock: FakeClock) -> None:
        self.root, self.clock = root, clock
        self.disk = FakeDisk(free=0, capacity=1000 * MIB)
        self.gc = GarbageCollector("/cache", 10 * MIB, clock=clock, statvfs=self.disk.statvfs, settle_seconds=SETTLE)
        for folder in root.census.folders():
            self.gc.register(folder)

    def folder(self, name: str) -> Folder:
        found = self.root.census.get(name)
        assert found is not None
        return found

    def measure(self, name: str) -> None:
        self.root.census.measured(self.folder(name), measure(self.root.fd, name), self.clock.time())

    def look(self, name: str) -> Candidate | None:
        return self.folder(name).look(self.clock.time())

    def collect(self) -> tuple[int, dict[str, str]]:
        """How many went, and why others stayed."""
        collection = self.gc.collect()
        return len(collection.evictions), {kept.key: kept.reason for kept in collection.kept}


@contextmanager
def scene(path: Path, *, min_age: float = MIN_AGE, **keys: Any) -> Iterator[Scene]:
    clock = FakeClock(time.time() + 7200)
    with opened(path, clock=clock, min_age=Seconds(min_age), **keys) as root:
        yield Scene(root, clock)


def change(path: Path, at: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (at, at))


def test_of_folders_never_measured_one_goes_where_one_will_do_although_its_space_comes_back_late(
    tmp_path: Path,
) -> None:
    for number in range(10):
        make_folder(tmp_path, f"f{number}", used_at=1e9 + number, size=10 * MIB)
    with scene(tmp_path) as made:
        assert len(made.gc.plan().steps) == 10
        assert made.collect()[0] == 1
        assert made.gc.measure()[0].on_its_way[Resource.DISK] >= 10 * MIB
        made.clock.advance(SETTLE - 1)
        assert made.collect()[0] == 0
        assert len(list(tmp_path.glob("f*"))) == 9


@pytest.mark.parametrize("what", ["deep/er/file", "file", "deep/new-entry-of-old-time"])
def test_a_folder_in_which_somebody_is_at_work_stays_and_is_looked_at_again_later(tmp_path: Path, what: str) -> None:
    make_folder(tmp_path, "a", size=10 * MIB)
    (tmp_path / "a/deep").mkdir()
    with scene(tmp_path) as made:
        made.measure("a")
        made.clock.advance(2 * MIN_AGE)
        now = made.clock.time()
        change(tmp_path / "a" / what, now - 5 if "old" not in what else 1e9)
        os.utime(tmp_path / "a/deep", (now - 5, now - 5))
        if what == "file":
            os.utime(tmp_path / "a/deep", (1e9, 1e9))
        assert made.collect() == (0, {"a": AT_WORK})
        plan = made.gc.plan()
        assert [kept.reason for kept in plan.kept] == [AT_WORK]
        assert plan.retry_at == now + MIN_AGE
        made.clock.advance(MIN_AGE)
        change(tmp_path / "a/deep/again", made.clock.time() - 1)
        assert made.collect() == (0, {"a": AT_WORK})
        made.clock.advance(MIN_AGE)
        assert made.collect()[0] == 1


def test_it_ends_with_the_first_thing_that_changed_and_what_was_counted_is_not_taken_for_the_size(
    tmp_path: Path,
) -> None:
    folder = make_folder(tmp_path, "a", size=10)
    for number in range(2000):
        (folder / f"{number}").touch()
    with scene(tmp_path) as made:
        made.measure("a")
        size = made.folder("a").disk_bytes
        made.clock.advance(2 * MIN_AGE)
        for number in range(2000):
            os.utime(folder / f"{number}", (made.clock.time(), made.clock.time()))
        found = made.root.restraints.look(made.folder("a"))
        assert found is not None
        assert found.is_at_work
        assert found.size.entries < 1000
        assert made.folder("a").disk_bytes == size


@pytest.mark.parametrize(
    "at", [-MIN_AGE - 1, 3 * MIN_AGE, 1e8], ids=["long enough ago", "in the future", "in a far one"]
)
def test_what_is_old_or_of_another_time_altogether_keeps_nothing(tmp_path: Path, at: float) -> None:
    make_folder(tmp_path, "a", size=10 * MIB)
    with scene(tmp_path) as made:
        change(tmp_path / "a/file", made.clock.time() + at)
        assert made.collect()[0] == 1


def test_a_clock_of_another_host_may_be_ahead_a_little(tmp_path: Path) -> None:
    make_folder(tmp_path, "a", size=10 * MIB)
    with scene(tmp_path) as made:
        change(tmp_path / "a/file", made.clock.time() + 2)
        assert made.collect() == (0, {"a": AT_WORK})


def test_a_lease_that_went_and_one_that_is_dead_are_no_work(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a", size=10 * MIB)
    with scene(tmp_path) as made:
        now = made.clock.time()
        os.utime(folder, (now, now))
        change(folder / ".lease", now)
        found = made.root.restraints.look(made.folder("a"))
        assert found is not None
        assert not found.is_at_work


def test_what_was_changed_under_a_lease_is_no_work_without_one_and_what_is_changed_after_it_is(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a", size=10 * MIB)
    lease = folder / ".lease"
    lease.touch()
    with scene(tmp_path) as made:
        change(folder / "file", made.clock.time() - 1)
        lease.unlink()
        made.root.finder.refresh("a")
        found = made.root.restraints.look(made.folder("a"))
        assert found is not None
        assert not found.is_at_work
        made.clock.advance(2 * MIN_AGE)
        for number in range(3):
            made.root.restraints.released(f"{number}")
        assert list(made.root.restraints._looks._released_at) == ["0", "1", "2"], (
            "what is of no use any more is forgotten"
        )
        made.root.restraints.released("a")
        made.clock.advance(2)
        change(folder / "file", made.clock.time() - 1)
        assert made.collect() == (0, {"a": AT_WORK})


def test_a_file_of_a_leases_name_deeper_down_is_a_file(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a", size=10 * MIB)
    with scene(tmp_path) as made:
        change(folder / "deep/.lease", made.clock.time())
        os.utime(folder / "deep", (1e9, 1e9))
        assert made.collect() == (0, {"a": AT_WORK})


def test_without_a_min_age_nobody_is_at_work(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a", size=10 * MIB)
    with scene(tmp_path, min_age=0) as made:
        change(folder / "deep/file", made.clock.time())
        assert made.collect()[0] == 1


@pytest.mark.parametrize("min_age", [0.0, MIN_AGE, 10.0])
def test_a_size_is_looked_at_when_it_is_unknown_or_older_than_min_age_and_not_before(
    tmp_path: Path, min_age: float
) -> None:
    folder = make_folder(tmp_path, "a")
    with scene(tmp_path, min_age=min_age) as made:
        first = made.look("a")
        assert first is not None
        assert first.sizes[Resource.DISK] == made.folder("a").disk_bytes
        (folder / "more").write_bytes(b"x" * MIB)
        made.clock.advance((min_age or TRUSTED_SECONDS) - 1)
        assert made.look("a") is None
        made.clock.advance(2)
        again = made.look("a")
        assert again is not None
        assert (again.sizes[Resource.DISK] or 0) >= MIB
        assert made.folder("a").disk_bytes == again.sizes[Resource.DISK]


def test_after_the_clock_was_set_back_no_size_is_trusted_for_being_of_the_future(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with scene(tmp_path) as made:
        made.measure("a")
        made.clock.now -= 3600
        assert made.look("a") is not None
        assert made.folder("a").measured_at == made.clock.now, "and what is measured now counts"


def test_of_one_too_large_to_be_counted_what_was_counted_is_a_lower_bound(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    for number in range(MOST_ENTRIES + 1000):
        os.symlink("x", folder / f"{number}")
    with scene(tmp_path) as made:
        found = made.look("a")
        assert found is not None
        assert MOST_ENTRIES <= (found.sizes[Resource.INODES] or 0) < MOST_ENTRIES + 1000
        assert made.folder("a").disk_bytes is None, "it is no size"
        made.measure("a")
        known = made.folder("a").candidate(made.clock.now).sizes
        made.clock.advance(MIN_AGE)
        found = made.look("a")
        assert found is not None
        assert found.sizes == known, "and nothing that is less is known better"


def test_what_is_gone_or_can_not_be_read_adds_nothing(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with scene(tmp_path) as made:
        folder = made.folder("a")
        (tmp_path / "a").rename(tmp_path / ".away")
        assert folder.look(made.clock.time()) is None
        os.symlink("/", tmp_path / "a")
        assert folder.look(made.clock.time()) is None


def test_a_last_use_that_a_look_finds_counts_from_then_on(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        make_folder(tmp_path, name, used_at=1e9 + number, size=20 * MIB)
        (tmp_path / name / "deep").mkdir()
        os.utime(tmp_path / name, (1e9 + number, 1e9 + number))
    with scene(tmp_path) as made:
        for name in "ab":
            made.measure(name)
        made.clock.advance(2 * MIN_AGE)
        change(tmp_path / "a/deep/file", made.clock.time() - MIN_AGE - 1)
        os.utime(tmp_path / "a/deep", (1e9, 1e9))
        assert made.collect()[0] == 1
        assert [path.name for path in tmp_path.glob("?")] == ["a"]


def test_one_that_was_used_deep_inside_is_not_idle_for_too_long(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a", used_at=1e9)
    with scene(tmp_path, max_idle=Seconds(3600)) as made:
        made.disk.free = 1000 * MIB
        made.measure("a")
        made.clock.advance(2 * MIN_AGE)
        change(folder / "deep/file", made.clock.time() - 2 * MIN_AGE)
        os.utime(folder, (1e9, 1e9))
        os.utime(folder / "deep", (1e9, 1e9))
        assert made.collect() == (0, {"a": "used"})

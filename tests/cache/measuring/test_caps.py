"""What a root may take of its own: bytes and folders."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder, opened, reconcile
from cache.measuring.surveying import MIB, Disk, Surveyor, measure_all
from fakes import FakeClock
from gcsidecar import GarbageCollector
from gcsidecar.cache.measuring.caps import FoldersGauge, SizeGauge
from gcsidecar.gc.pressure import Level, Resource

if TYPE_CHECKING:
    from pathlib import Path


def test_more_folders_than_there_may_be_are_evicted_the_oldest_first(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    for number in range(5):
        make_folder(tmp_path, f"f{number}", used_at=clock.now - 100 + number)
    with opened(tmp_path, clock=clock) as root:
        gauge = FoldersGauge(root, 3, clock)
        capped = GarbageCollector(gauges=[gauge], clock=clock)
        assert gauge.measure().free == -2
        for folder in root.census.folders():
            capped.register(folder)
        assert [eviction.key for eviction in capped.collect().evictions] == ["f0", "f1"]
        assert gauge.measure().free == 0
        assert capped.collect().evictions == ()


def test_a_root_at_its_size_is_brought_down_to_its_target(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    for number in range(6):
        make_folder(tmp_path, f"f{number}", used_at=clock.now - 100 + number, size=MIB)
    with opened(tmp_path, clock=clock) as root:
        measure_all(root)
        gauge = SizeGauge(root, 5 * MIB, Level(share=0.6), clock=clock, statvfs=Disk().statvfs)
        capped = GarbageCollector(gauges=[gauge], clock=clock)
        for folder in root.census.folders():
            capped.register(folder)
        assert gauge.measure().free < 0
        evicted = [eviction.key for eviction in capped.collect().evictions]
        assert evicted == ["f0", "f1", "f2", "f3"], "what .gcsidecar/ takes counts, too"
        measured = gauge.measure()
        assert measured.free >= gauge.threshold(measured).target == 2 * MIB


@pytest.mark.parametrize("target", [None, Level(4 * MIB)])
def test_a_size_has_a_target_of_nine_tenths_unless_one_is_given(tmp_path: Path, target: Level | None) -> None:
    with opened(tmp_path) as root:
        gauge = SizeGauge(root, 10 * MIB, target)
        threshold = gauge.threshold(gauge.measure())
        assert (threshold.resource, threshold.group, threshold.trigger) == (Resource.SIZE, "jobs", 0)
        assert threshold.target == (MIB if target is None else 6 * MIB)


def test_a_leased_folder_that_grows_deep_inside_is_measured_when_it_may_have_overrun_the_cap(tmp_path: Path) -> None:
    """Nothing in its own times shows that it grows."""
    clock, disk, surveyor = FakeClock(time.time()), Disk(), Surveyor()
    (make_folder(tmp_path, "a") / "deep/inside").mkdir(parents=True)
    (tmp_path / "a/.lease").touch()
    with opened(tmp_path, clock=clock, watch=surveyor) as root:
        measure_all(root)
        gauge = SizeGauge(root, 5 * MIB, clock=clock, statvfs=disk.statvfs)
        before = gauge.measure()
        assert before.least_free == before.free
        disk.write(tmp_path / "a/deep/inside/data", 2 * MIB)
        seen = gauge.measure()
        assert (seen.free, seen.least_free) == (before.free, before.free - 2 * MIB)
        assert surveyor.names == [], "it can't have overrun the cap: no walk for that"
        disk.write(tmp_path / "a/deep/inside/more", 4 * MIB)
        assert gauge.measure().free == before.free, "a bound is no measurement: nothing goes on it"
        assert surveyor.names == ["a"]
        surveyor.answer(root)
        assert gauge.measure().free == pytest.approx(before.free - 6 * MIB, abs=65536)


def test_a_bound_alone_makes_nothing_go_and_what_is_measured_does(tmp_path: Path) -> None:
    clock, disk, surveyor = FakeClock(time.time()), Disk(), Surveyor()
    for name in ("a", "b", "c"):
        make_folder(tmp_path, name, used_at=clock.now - 100, size=MIB)
    (tmp_path / "a/.lease").touch()
    with opened(tmp_path, clock=clock, watch=surveyor) as root:
        measure_all(root)
        capped = GarbageCollector(gauges=[SizeGauge(root, 5 * MIB, clock=clock, statvfs=disk.statvfs)], clock=clock)
        for folder in root.census.folders():
            capped.register(folder)
        capped.measure()
        disk.write(tmp_path / "a/data", 4 * MIB)
        assert capped.collect().evictions == ()
        surveyor.answer(root)
        assert [eviction.key for eviction in capped.collect().evictions] == ["b", "c"]


def test_nothing_is_measured_for_a_cap_that_is_known_to_be_overrun(tmp_path: Path) -> None:
    """All is leased, say: nothing could go for it."""
    clock, disk, surveyor = FakeClock(time.time()), Disk(), Surveyor()
    make_folder(tmp_path, "a", size=6 * MIB)
    (tmp_path / "a/.lease").touch()
    with opened(tmp_path, clock=clock, watch=surveyor) as root:
        measure_all(root)
        gauge = SizeGauge(root, 5 * MIB, clock=clock, statvfs=disk.statvfs)
        for number in range(3):
            clock.advance(60)
            disk.write(tmp_path / f"a/{number}", MIB)
            assert gauge.measure().free < 0
        assert surveyor.names == []


def test_a_use_by_reading_is_still_known_after_a_measuring_for_a_cap(tmp_path: Path) -> None:
    clock, disk, surveyor = FakeClock(time.time()), Disk(), Surveyor()
    folder = make_folder(tmp_path, "a", used_at=clock.now - 5000)
    with opened(tmp_path, clock=clock, last_used="atime", watch=surveyor) as root:
        known = root.census.folders()[0]
        os.utime(folder / "data", (clock.now - 10, clock.now - 5000))
        gauge = SizeGauge(root, MIB, clock=clock, statvfs=disk.statvfs)
        gauge.measure()
        disk.free -= MIB
        gauge.measure()
        surveyor.answer(root)
        assert known.last_used() == pytest.approx(clock.now - 10)


def test_a_folder_never_measured_is_measured_before_a_cap_is_said_to_be_kept(tmp_path: Path) -> None:
    clock, disk, surveyor = FakeClock(time.time()), Disk(), Surveyor()
    with opened(tmp_path, clock=clock, watch=surveyor) as root:
        gauge = SizeGauge(root, 5 * MIB, clock=clock, statvfs=disk.statvfs)
        gauge.measure()
        make_folder(tmp_path, "a")
        disk.write(tmp_path / "a/data", 6 * MIB)
        reconcile(root)
        gauge.measure()
        surveyor.answer(root)
        assert gauge.measure().free < 0


def test_where_the_disk_cannot_be_asked_what_was_measured_counts(tmp_path: Path) -> None:
    disk = Disk()
    make_folder(tmp_path, "a", size=MIB)
    with opened(tmp_path) as root:
        measure_all(root)
        disk.fails = True
        assert SizeGauge(root, 5 * MIB, statvfs=disk.statvfs).measure().free < 4 * MIB

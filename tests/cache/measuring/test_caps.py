"""What a root may take of its own: bytes and folders."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder, opened, reconcile
from fakes import FakeClock
from gcsidecar import GarbageCollector
from gcsidecar.cache.measuring.caps import FoldersGauge, SizeGauge
from gcsidecar.cache.measuring.sizes import measure
from gcsidecar.gc.pressure import Level, Resource

if TYPE_CHECKING:
    from pathlib import Path

    from gcsidecar.cache.root import Root

MIB = 1 << 20


class Disk:
    """What the whole disk has free, moved by hand."""

    def __init__(self) -> None:
        self.free = 1000 * MIB
        self.fails = False

    def statvfs(self, _fd: int) -> os.statvfs_result:
        if self.fails:
            raise OSError(5, "Input/output error")
        return os.statvfs_result((1, 1, 2000 * MIB, self.free, self.free, 9, 9, 9, 0, 255))


def measure_all(root: Root) -> None:
    for folder in root.census.folders():
        root.census.measured(folder, measure(root.fd, folder.name))


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
    clock, disk = FakeClock(time.time()), Disk()
    (make_folder(tmp_path, "a") / "deep/inside").mkdir(parents=True)
    (tmp_path / "a/.lease").touch()
    with opened(tmp_path, clock=clock) as root:
        measure_all(root)
        gauge = SizeGauge(root, 5 * MIB, clock=clock, statvfs=disk.statvfs)
        before = gauge.measure().free
        (tmp_path / "a/deep/inside/data").write_bytes(b"x" * 2 * MIB)
        disk.free -= 2 * MIB
        assert gauge.measure().free == before, "it can't have overrun the cap: no walk for that"
        (tmp_path / "a/deep/inside/more").write_bytes(b"x" * 4 * MIB)
        disk.free -= 4 * MIB
        assert gauge.measure().free == pytest.approx(before - 6 * MIB, abs=65536)


def test_what_others_delete_does_not_hide_what_a_folder_has_grown_by(tmp_path: Path) -> None:
    clock, disk = FakeClock(time.time()), Disk()
    make_folder(tmp_path, "a")
    (tmp_path / "a/.lease").touch()
    with opened(tmp_path, clock=clock) as root:
        measure_all(root)
        gauge = SizeGauge(root, 5 * MIB, clock=clock, statvfs=disk.statvfs)
        gauge.measure()
        for step in (-3 * MIB, +50 * MIB, -3 * MIB):
            if step < 0:
                (tmp_path / f"a/{disk.free}").write_bytes(b"x" * -step)
            disk.free += step
            clock.advance(2)
            free = gauge.measure().free
        assert free < 0


def test_growing_folders_are_measured_for_a_cap_at_most_once_a_second(tmp_path: Path) -> None:
    clock, disk = FakeClock(time.time()), Disk()
    make_folder(tmp_path, "a")
    (tmp_path / "a/.lease").touch()
    with opened(tmp_path, clock=clock) as root:
        measure_all(root)
        gauge = SizeGauge(root, MIB, clock=clock, statvfs=disk.statvfs)
        seen = []
        for seconds in (0.0, 1.1, 0.5, 0.4, 0.2):
            clock.advance(seconds)
            disk.free -= 10 * MIB
            version = root.census.version
            gauge.measure()
            seen.append(root.census.version > version)
        assert seen == [False, True, False, False, True]


def test_a_use_by_reading_is_still_known_after_a_measuring_for_a_cap(tmp_path: Path) -> None:
    clock, disk = FakeClock(time.time()), Disk()
    folder = make_folder(tmp_path, "a", used_at=clock.now - 5000)
    with opened(tmp_path, clock=clock, last_used="atime") as root:
        known = root.census.folders()[0]
        os.utime(folder / "data", (clock.now - 10, clock.now - 5000))
        gauge = SizeGauge(root, 1000, clock=clock, statvfs=disk.statvfs)
        gauge.measure()
        disk.free -= MIB
        gauge.measure()
        assert known.last_used() == pytest.approx(clock.now - 10)


def test_a_folder_never_measured_is_measured_before_a_cap_is_said_to_be_kept(tmp_path: Path) -> None:
    clock, disk = FakeClock(time.time()), Disk()
    with opened(tmp_path, clock=clock) as root:
        gauge = SizeGauge(root, 5 * MIB, clock=clock, statvfs=disk.statvfs)
        gauge.measure()
        make_folder(tmp_path, "a", size=6 * MIB)
        disk.free -= 6 * MIB
        reconcile(root)
        assert gauge.measure().free < 0


def test_where_the_disk_cannot_be_asked_what_was_measured_counts(tmp_path: Path) -> None:
    disk = Disk()
    make_folder(tmp_path, "a", size=MIB)
    with opened(tmp_path) as root:
        measure_all(root)
        disk.fails = True
        assert SizeGauge(root, 5 * MIB, statvfs=disk.statvfs).measure().free < 4 * MIB

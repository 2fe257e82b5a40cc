"""What the planner is told of a folder."""

from __future__ import annotations

import dataclasses
import os
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from gcsidecar.cache.folders.figures import Figure
from gcsidecar.cache.folders.folder import Folder
from gcsidecar.cache.folders.record import FolderRecord
from gcsidecar.cache.folders.table import CHUNK, NOTHING_RARE, Table
from gcsidecar.cache.walking.sizes import TreeSize
from gcsidecar.gc.errors import DisposableSizeNotSupportedError
from gcsidecar.gc.pressure import Resource

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_700_000_000.0
SIZE = TreeSize(4096, 3, 100, NOW - 50, NOW - 20, 3, None, 0)


@dataclasses.dataclass
class FakeHome:
    """A root that only says what it is configured to be."""

    name: str = "jobs"
    priority: int = 0
    min_age_seconds: float = 0.0
    max_idle_seconds: float | None = None
    in_memory: bool = False
    reason: str | None = None

    def __post_init__(self) -> None:
        self.restraints: Any = self
        self.jumps: Any = self
        self.custody: Any = None

    def look(self, _folder: Folder) -> None:
        return None

    def held_until(self, _folder: Folder, _reason: str) -> float | None:
        return None

    def holds_back(self, _folder: Folder) -> str | None:
        return self.reason

    def trusted_now(self, now: float) -> float:
        return now


def folder_at(path: Path, home: FakeHome, *, pinned: bool = False, arrived_at: float | None = None) -> Folder:
    os.utime(path, (NOW - 100, NOW - 100))
    status = path.stat()
    return Folder(Table(home, status.st_dev), "a", status, pinned=pinned, arrived_at=arrived_at)


def test_until_it_is_measured_its_size_is_unknown_and_worth_trying(tmp_path: Path) -> None:
    folder = folder_at(tmp_path, FakeHome())
    with pytest.raises(DisposableSizeNotSupportedError, match="a has not been measured"):
        folder.disk_size()
    with pytest.raises(DisposableSizeNotSupportedError):
        folder_at(tmp_path, FakeHome(in_memory=True)).memory_size()
    assert folder.memory_size() == 0
    sizes = folder.candidate(NOW).sizes
    assert sizes == {Resource.DISK: None, Resource.INODES: None, Resource.SIZE: None, Resource.FOLDERS: 1}


@pytest.mark.parametrize("in_memory", [False, True])
def test_only_on_a_filesystem_in_memory_does_it_take_memory(tmp_path: Path, *, in_memory: bool) -> None:
    folder = folder_at(tmp_path, FakeHome(in_memory=in_memory))
    folder.measured(SIZE, NOW, atime=False)
    assert folder.disk_size() == 4096
    assert folder.memory_size() == (4096 if in_memory else 0)
    expected = {Resource.DISK: 4096, Resource.INODES: 3, Resource.SIZE: 4096, Resource.FOLDERS: 1}
    assert folder.candidate(NOW).sizes == expected | ({Resource.MEMORY: 4096} if in_memory else {})


@pytest.mark.parametrize(("atime", "last_used"), [(False, NOW - 50), (True, NOW - 20)])
def test_reading_a_file_counts_as_use_where_the_root_says_so(tmp_path: Path, *, atime: bool, last_used: float) -> None:
    folder = folder_at(tmp_path, FakeHome())
    assert folder.last_used() == NOW - 100
    folder.measured(SIZE, NOW, atime=atime)
    assert folder.last_used() == last_used


@pytest.mark.parametrize("signs", [{"lease_at": NOW - 1}, {"touched_at": NOW - 1}, {"inner_at": NOW - 1}])
def test_the_newest_sign_of_use_counts(tmp_path: Path, signs: dict[str, float]) -> None:
    folder = folder_at(tmp_path, FakeHome(), arrived_at=NOW - 60)
    assert folder.last_used() == NOW - 60
    for name, value in signs.items():
        setattr(folder, name, value)
    assert folder.last_used() == NOW - 1


def test_reasons_to_keep_in_the_order_in_which_they_are_told(tmp_path: Path) -> None:
    folder = folder_at(tmp_path, FakeHome(min_age_seconds=60, reason="newest"), pinned=True, arrived_at=NOW)
    folder.evicting, folder.unreadable, folder.leases, folder.obstacle = True, True, 1, "x: it is immutable"
    told = [folder.keep(NOW)]
    folder.evicting = False
    told.append(folder.keep(NOW))
    folder.unreadable = False
    told.append(folder.keep(NOW))
    folder.leases = 0
    told.append(folder.keep(NOW))
    folder.pinned = False
    told += [folder.keep(NOW), folder.keep(NOW + 60)]
    folder.obstacle = None
    told.append(folder.keep(NOW + 60))
    assert told == ["evicting", "unreadable", "leased", "pinned", "young", "obstacle", "newest"]


def test_one_whose_arrival_is_unknown_is_never_young(tmp_path: Path) -> None:
    assert folder_at(tmp_path, FakeHome(min_age_seconds=1e9)).keep(NOW) is None


@pytest.mark.parametrize(("limit", "due"), [(None, None), (101.0, None), (99.0, "max-idle")])
def test_one_idle_for_too_long_is_due(tmp_path: Path, limit: float | None, due: str | None) -> None:
    assert folder_at(tmp_path, FakeHome(max_idle_seconds=limit)).candidate(NOW).due == due


# How it is kept


def folders_in(table: Table, path: Path, count: int) -> list[Folder]:
    status = path.stat()
    return [Folder(table, f"{number:06}", status, pinned=False, arrived_at=None) for number in range(count)]


def test_one_that_is_gone_keeps_its_last_figures_while_others_come(tmp_path: Path) -> None:
    table = Table(FakeHome(), 0)
    gone, *others = folders_in(table, tmp_path, 3)
    table.put(gone)
    gone.measured(SIZE, NOW, atime=False)
    gone.leases, gone.arrived_at = 2, NOW
    table.drop(gone)
    others += folders_in(table, tmp_path, 1000)
    assert (gone.disk_bytes, gone.inodes, gone.leases, gone.arrived_at) == (4096, 3, 2, NOW)
    assert gone.row not in {other.row for other in others}


def test_a_row_that_nobody_can_reach_is_given_to_another_and_nothing_of_the_first_is_left_in_it(tmp_path: Path) -> None:
    table = Table(FakeHome(), tmp_path.stat().st_dev)
    (first,) = folders_in(table, tmp_path, 1)
    row = first.row
    first.measured(SIZE, NOW, atime=False)
    first.leases = first.beside = 1
    first.pinned = first.unreadable = first.evicting = True
    first.touched_at = first.lease_at = first.arrived_at = NOW
    first.obstacle = "x"
    del first
    others = folders_in(table, tmp_path, CHUNK)
    (second,) = (other for other in others if other.row == row)
    (fresh,) = folders_in(Table(FakeHome(), tmp_path.stat().st_dev), tmp_path, 1)
    figures = [name for name in dir(Folder) if isinstance(vars(FolderRecord).get(name), Figure)]
    assert len(figures) >= 19
    assert {name: getattr(second, name) for name in figures} == {name: getattr(fresh, name) for name in figures}
    assert second.last_used() == table.used_at[row] == fresh.last_used()
    assert not table.rare.get(row, NOTHING_RARE).leases


def test_times_that_no_column_can_have_stand_still_all_the_same(tmp_path: Path) -> None:
    ancient, far = -(2**70), 2**70
    status = os.stat_result((0o40755, 1, 5, 2, 0, 0, 0, 0, 0, 0), {"st_mtime_ns": far, "st_ctime_ns": ancient})
    table = Table(FakeHome(), 5)
    folder = Folder(table, "a", status, pinned=False, arrived_at=None)
    assert table.stands_still(folder.row, status)
    assert not table.stands_still(folder.row, tmp_path.stat())
    assert folder.candidate(NOW).last_used == NOW


def test_what_few_folders_have_takes_no_place_once_it_is_over(tmp_path: Path) -> None:
    table = Table(FakeHome(), tmp_path.stat().st_dev)
    (folder,) = folders_in(table, tmp_path, 1)
    folder.leases, folder.obstacle, folder.oldest_lease_at = 2, "x", NOW
    assert len(table.rare) == 1
    folder.leases, folder.obstacle, folder.oldest_lease_at = 0, None, None
    assert table.rare == {}


def test_many_folders_take_less_than_250_bytes_each_beside_their_names(tmp_path: Path) -> None:
    table = Table(FakeHome(), tmp_path.stat().st_dev)
    names = [f"{number:06}" for number in range(10_000)]
    status = tmp_path.stat()
    tracemalloc.start()
    try:
        known = {name: Folder(table, name, status, pinned=False, arrived_at=NOW) for name in names}
        for folder in known.values():
            table.put(folder)
            folder.measured(SIZE, NOW, atime=False)
            folder.count(NOW)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / len(names) < 250

"""What is known of a folder, and how it is kept."""

from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from cache.folders.homes import NOW, SIZE, FakeHome, folder_at
from gcsidecar.cache.folders.figures import Figure
from gcsidecar.cache.folders.folder import Folder
from gcsidecar.cache.folders.record import FolderRecord
from gcsidecar.cache.folders.table import CHUNK, NOTHING_RARE, Table

if TYPE_CHECKING:
    from pathlib import Path


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

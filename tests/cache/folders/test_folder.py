"""What the planner is told of a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cache.folders.homes import NOW, SIZE, FakeHome, folder_at
from gcsidecar.gc.errors import DisposableSizeNotSupportedError
from gcsidecar.gc.pressure import Resource

if TYPE_CHECKING:
    from pathlib import Path


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

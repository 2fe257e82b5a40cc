"""The folders of a root as a source: in planning order, and each described only when its turn comes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.folders.homes import FakeHome
from gcsidecar import Measurement, Resource, Threshold
from gcsidecar.cache.folders.folder import Folder
from gcsidecar.cache.folders.source import FolderSource
from gcsidecar.cache.folders.table import Table
from gcsidecar.gc.ordering import order
from gcsidecar.gc.planning import RESERVE, Measurements, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = 1_700_000_000.0
DEVICE, OLD = 5, int(NOW) - 9999
TIMES = {"st_mtime_ns": OLD * 10**9, "st_ctime_ns": OLD * 10**9}
STATUS = os.stat_result((0o40755, 1, DEVICE, 2, 0, 0, 0, OLD, OLD, OLD), TIMES)
DISK = Threshold(Resource.DISK, 100, 100)
THRESHOLDS = [
    DISK,
    Threshold(Resource.INODES, 5, 5),
    Threshold(Resource.MEMORY, 5, 5),
    Threshold(Resource.SIZE, 5, 5, "jobs"),
    Threshold(Resource.SIZE, 5, 5, "another"),
    Threshold(Resource.FOLDERS, 5, 5, "jobs"),
]


@dataclass
class CountingHome(FakeHome):
    """A root that counts how often it is asked whether it holds a folder back: once for each that is described."""

    described: int = 0

    def holds_back(self, folder: Folder) -> str | None:
        self.described += 1
        return super().holds_back(folder)


@dataclass
class Shelf:
    """Folders and their source."""

    home: CountingHome = field(default_factory=CountingHome)
    folders: dict[str, Folder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.table = Table(self.home, DEVICE)
        self.source = FolderSource(self.table, self.folders.get)

    def put(self, name: str, used_at: float, disk_bytes: int | None = 10) -> Folder:
        folder = self.folders[name] = Folder(self.table, name, STATUS, pinned=False, arrived_at=None)
        folder.touched_at, folder.disk_bytes = used_at, disk_bytes
        self.table.put(folder)
        folder.count(NOW)
        return folder

    def drop(self, name: str) -> None:
        self.table.drop(self.folders.pop(name))

    def names(self, *thresholds: Threshold) -> list[str]:
        return [candidate.key for candidate in self.source.candidates(NOW, thresholds)]


@given(
    found=st.dictionaries(
        st.text("abc", min_size=1, max_size=3),
        st.tuples(st.sampled_from([NOW - 5, NOW - 3, NOW, NOW + 5, NOW + 9]), st.none() | st.integers(0, 3)),
    ),
    thresholds=st.lists(st.sampled_from(THRESHOLDS), unique=True),
    in_memory=st.booleans(),
)
def test_they_are_in_planning_order_whatever_the_thresholds(
    found: dict[str, tuple[float, int | None]], thresholds: Sequence[Threshold], *, in_memory: bool
) -> None:
    shelf = Shelf(CountingHome(in_memory=in_memory, max_idle_seconds=4))
    for name, (used_at, disk_bytes) in found.items():
        shelf.put(name, used_at, disk_bytes)
    given_ = list(shelf.source.candidates(NOW, thresholds))
    assert given_ == sorted(given_, key=lambda candidate: order(candidate, thresholds, NOW))
    assert {candidate.key for candidate in given_} == set(found)
    assert list(shelf.source.due(NOW, thresholds)) == [one for one in given_ if one.due is not None]


def test_each_is_described_only_when_its_turn_comes() -> None:
    shelf = Shelf()
    for number in range(100):
        shelf.put(f"{number:02}", NOW - number)
    first = list(islice(shelf.source.candidates(NOW, [DISK]), 3))
    assert [candidate.key for candidate in first] == ["99", "98", "97"]
    assert shelf.home.described == 3


def test_a_plan_describes_what_goes_and_a_reserve_and_nothing_more() -> None:
    shelf = Shelf()
    for number in range(10 * RESERVE):
        shelf.put(f"{number}", NOW - number)
    measurements = Measurements(NOW, (Measurement(Resource.DISK, 1000, 0, NOW),), sources=(shelf.source,))
    made = plan(measurements, [DISK], NOW)
    assert (len(made.steps), len(made.reserve)) == (10, RESERVE)
    assert shelf.home.described <= 10 + RESERVE + 1


@pytest.mark.parametrize(("limit", "described"), [(None, 0), (1000.0, 0), (50.0, 49)])
def test_what_is_due_is_looked_for_without_describing_all(limit: float | None, described: int) -> None:
    shelf = Shelf(CountingHome(max_idle_seconds=limit))
    for number in range(100):
        shelf.put(f"{number:02}", NOW - number)
    assert len(list(shelf.source.due(NOW, [DISK]))) == shelf.home.described == described


def test_one_that_goes_while_others_are_read_is_passed_by() -> None:
    shelf = Shelf()
    for number in range(4):
        shelf.put(f"{number}", NOW + number - 10)
    reading = shelf.source.candidates(NOW, [DISK])
    assert next(reading).key == "0"
    shelf.drop("1")
    again = shelf.put("2", NOW)  # another one of that name, since the first of it is known no longer
    assert [candidate.key for candidate in reading] == ["2", "3"]
    assert [candidate.subject for candidate in shelf.source.candidates(NOW, [DISK])][-1] is again


def test_it_has_those_that_are_there_and_no_others_of_the_same_name() -> None:
    shelf = Shelf()
    first, second = shelf.put("a", NOW), shelf.put("b", NOW)
    assert shelf.source.has(first)
    shelf.drop("a")
    assert not shelf.source.has(first)
    shelf.put("a", NOW)
    assert not shelf.source.has(first)
    assert shelf.source.has(second)

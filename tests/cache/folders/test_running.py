"""The running tally against one made anew from all folders, and how seldom it looks at all of them."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cache.folders.homes import FakeHome
from gcsidecar.cache.folders.folder import Folder
from gcsidecar.cache.folders.foremost import Foremost
from gcsidecar.cache.folders.running import RunningTally, Young
from gcsidecar.cache.folders.table import Table
from gcsidecar.cache.folders.tally import Amount, State

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = 1_700_000_000.0
TOP = 3
STATUS = os.stat("/")


@dataclass
class Known:
    """Some folders, and their running tally."""

    table: Table = field(default_factory=lambda: Table(FakeHome(min_age_seconds=10), STATUS.st_dev))
    folders: dict[int, Folder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.running = RunningTally(self.table, TOP, 2)

    def change(self, number: int, figures: dict[str, object] | None) -> None:
        """Let one arrive or change, or be gone."""
        folder = self.folders.get(number)
        before = None if folder is None else folder.share
        if figures is None:
            if folder is not None:
                del self.folders[number]
                self.table.drop(folder)
                self.running.recount(folder, before)
            return
        if folder is None:
            folder = self.folders[number] = Folder(self.table, f"{number}", STATUS, pinned=False, arrived_at=None)
            self.table.put(folder)
        for name, value in figures.items():
            setattr(folder, name, value)
        folder.count(NOW)
        self.running.recount(folder, before)


times = st.floats(NOW - 20, NOW)
changes = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.none()
        | st.fixed_dictionaries(
            {"pinned": st.booleans(), "leases": st.integers(0, 2)},
            optional={
                "disk_bytes": st.integers(0, 50),
                "inodes": st.integers(0, 9),
                "measured_at": times,
                "oldest_lease_at": st.none() | times,
                "arrived_at": times,
                "lease_at": times,
                "dead_leases": st.integers(0, 1),
                "stale_leases": st.integers(0, 1),
            },
        ),
    ),
    max_size=40,
)


@given(changes)
def test_the_running_tally_is_what_all_folders_come_to(made: Sequence[tuple[int, dict[str, object] | None]]) -> None:
    known = Known()
    for number, figures in made:
        known.change(number, figures)
        folders, tally = list(known.folders.values()), known.running.tally(NOW, 7)
        for state in State:
            there = [folder for folder in folders if folder.state(NOW) is state]
            sums = (len(there), sum(f.disk_bytes or 0 for f in there), sum(f.inodes for f in there))
            assert tally.by_state[state] == Amount(*sums)
        assert tally.unmeasured == sum(folder.disk_bytes is None for folder in folders)
        assert tally.leases == sum(folder.leases for folder in folders)
        assert (tally.stale_leases, tally.dead_leases, tally.own_bytes) == (
            sum(folder.stale_leases for folder in folders),
            sum(folder.dead_leases for folder in folders),
            7,
        )
        leases = [folder.oldest_lease_at for folder in folders if folder.oldest_lease_at is not None]
        assert tally.oldest_lease_at == min(leases, default=None)
        assert tally.oldest_measured_at == min((f.measured_at for f in folders if f.measured_at), default=None)
        sizes = sorted((folder.disk_bytes or 0 for folder in folders), reverse=True)
        assert [folder.disk_bytes for folder in tally.top] == sizes[:TOP]
        measured = sorted(folder.measured_at for folder in folders if folder.measured_at)
        assert [folder.measured_at for folder in known.running.stalest(4)] == measured[:4]
        used = sorted((folder.last_used() for folder in folders), reverse=True)
        assert [folder.last_used() for folder in known.running.newest(2)] == used[:2]
        assert sum(amount.disk_bytes for amount in tally.by_state.values()) == known.running.disk_bytes


@given(
    st.lists(st.tuples(st.integers(0, 30), st.none() | st.integers(0, 20))),
    st.integers(1, 6),
    st.integers(0, 6),
)
def test_the_foremost_are_those_with_the_least_keys(made: list[tuple[int, int | None]], size: int, count: int) -> None:
    keys: dict[int, float] = {}
    foremost = Foremost(lambda: list(keys), keys.__getitem__, size)
    for row, key in made:
        if key is None:
            keys.pop(row, None)
        else:
            keys[row] = key
        foremost.changed(row, key)
        found = foremost.first(min(count, size))
        assert len(set(found)) == len(found)
        assert [keys[row] for row in found] == sorted(keys.values())[: min(count, size)]
        assert foremost.least() == min(keys.values(), default=None)


def test_those_that_fall_behind_make_room_for_others() -> None:
    keys = {row: float(row) for row in range(10)}
    foremost = Foremost(lambda: list(keys), keys.__getitem__, 2)
    for row, key in keys.items():
        foremost.changed(row, key)
    assert foremost.first(2) == [0, 1]
    for row in (0, 1):
        keys[row] += 100
        foremost.changed(row, keys[row])
    assert foremost.first(2) == [2, 3]


def test_it_seldom_looks_at_all_even_if_it_is_always_the_foremost_that_goes() -> None:
    looks = itertools.count()
    keys = {row: float(row) for row in range(10_000)}

    def rows() -> list[int]:
        next(looks)
        return list(keys)

    foremost = Foremost(rows, keys.__getitem__)
    for row, key in keys.items():
        foremost.changed(row, key)
    for row in range(5_000):
        assert foremost.first(10) == list(range(row, row + 10))
        del keys[row]
        foremost.changed(row, None)
    assert next(looks) <= 5_000 // 200


def test_those_that_are_young_grow_up_at_their_time_in_whatever_order_they_came() -> None:
    table = Table(FakeHome(min_age_seconds=10), STATUS.st_dev)
    young, folders = Young(table), []
    for ago in (5.1, 1.25, 9.7, 0.1):
        folder = Folder(table, f"{ago}", STATUS, pinned=False, arrived_at=NOW - ago)
        table.put(folder)
        young.add(folder, NOW)
        folders.append(folder)
    young.add(Folder(table, "grown", STATUS, pinned=False, arrived_at=NOW - 10), NOW)
    assert young.next_at() == folders[2].young_until
    assert [folder.name for folder in young.grown_up(folders[0].young_until)] == ["9.7", "5.1"]
    table.drop(folders[1])
    assert [folder.name for folder in young.grown_up(NOW + 10)] == ["0.1"]
    assert young.next_at() is None

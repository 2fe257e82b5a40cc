"""The running tally of a root: totals, the largest, the oldest, kept up to date one folder at a time.

A change of one folder costs nothing that grows with the others; what has to be looked up again is looked up seldom.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from gcsidecar.cache.folders.foremost import SIZE, Foremost
from gcsidecar.cache.folders.tally import RootTally, Totals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.folders.table import Table
    from gcsidecar.cache.folders.tally import Share

_ROW_BITS = 32
# A power of two: times of our days are multiples of 2**-22 as floats, and come out as they went in.
_TICKS_PER_SECOND = 2**24


class RunningTally:
    """Of one root. Not thread-safe: its owner guards it.

    Args:
        table: Of its folders.
        top: How many of the largest are shown.
        newest: How many of those used last are asked for.
    """

    def __init__(self, table: Table, top: int, newest: int) -> None:
        self._table, self._top = table, top
        self._totals = Totals()
        self._largest = Foremost(self._rows, lambda row: -table.disk_bytes[row], max(SIZE, 4 * top))
        self._newest = Foremost(self._rows, lambda row: -table.used_at[row], max(SIZE, 4 * newest)) if newest else None
        self._stalest = Foremost(self._measured_rows, table.measured_at.__getitem__)
        self._oldest_leases = Foremost(self._leased_rows, lambda row: _lease_at(table, row) or 0.0)

    @property
    def disk_bytes(self) -> int:
        """What all measured folders take."""
        return self._totals.disk_bytes

    def recount(self, folder: Folder, before: Share | None) -> bool:
        """Take in that a folder's figures have changed; whether it counts as something else now than `before`."""
        row, after = folder.row, folder.share
        if after != before:
            self._totals.replace(before, after)
        there = after is not None
        self._largest.changed(row, -self._table.disk_bytes[row] if there else None)
        self._stalest.changed(row, (self._table.measured_at[row] or None) if there else None)
        self._oldest_leases.changed(row, _lease_at(self._table, row) if there else None)
        if self._newest is not None:
            self._newest.changed(row, -self._table.used_at[row] if there else None)
        return after != before

    def tally(self, now: float, own_bytes: int) -> RootTally:
        """What it comes to now."""
        totals = (self._totals.unmeasured, *self._totals.by_standing())
        largest = sorted(self._folders(self._largest.first(self._top)), key=lambda f: (-(f.disk_bytes or 0), f.name))
        return RootTally(
            self._totals.by_state(),
            *totals,
            self._oldest_leases.least(),
            tuple(folder.shown(now) for folder in largest),
            own_bytes,
            self._stalest.least(),
        )

    def stalest(self, count: int) -> list[Folder]:
        """Of those whose size is known the ones that were measured the longest ago, in order."""
        return self._folders(self._stalest.first(min(count, SIZE)))

    def newest(self, count: int) -> list[Folder]:
        """The ones that were used last, in order."""
        return self._folders(self._newest.first(count)) if self._newest is not None else []

    def _folders(self, rows: Sequence[int]) -> list[Folder]:
        return [folder for row in rows if (folder := self._table.folder(row)) is not None]

    def _rows(self) -> list[int]:
        return [folder.row for folder in self._table.folders()]

    def _measured_rows(self) -> list[int]:
        return [row for row in self._rows() if self._table.measured_at[row]]

    def _leased_rows(self) -> list[int]:
        return [folder.row for folder in self._table.rare_folders() if folder.oldest_lease_at is not None]


def _lease_at(table: Table, row: int) -> float | None:
    its = table.rare.get(row)
    return None if its is None else its.oldest_lease_at


class Young:
    """Those that are young, by when they will be no longer. Not thread-safe: its owner guards it."""

    def __init__(self, table: Table) -> None:
        self._table = table
        # Time and row in one number: 100,000 may arrive together, and a tuple of both is twice as large.
        self._heap: list[int] = []

    def add(self, folder: Folder, now: float) -> None:
        """It is one of them, if it is young now."""
        until = folder.young_until
        if until > now:
            heapq.heappush(self._heap, int(until * _TICKS_PER_SECOND) << _ROW_BITS | folder.row)

    def grown_up(self, now: float) -> Iterator[Folder]:
        """Those that are young no longer."""
        while self._heap and self._at(self._heap[0]) <= now:
            row = heapq.heappop(self._heap) & ((1 << _ROW_BITS) - 1)
            folder = self._table.folder(row)
            if folder is not None:
                yield folder

    def next_at(self) -> float | None:
        """When the next one will be, POSIX seconds, or none."""
        return self._at(self._heap[0]) if self._heap else None

    @staticmethod
    def _at(entry: int) -> float:
        return (entry >> _ROW_BITS) / _TICKS_PER_SECOND

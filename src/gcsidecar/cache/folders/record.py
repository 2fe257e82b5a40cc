"""The record of a folder: what is known of it, as the way to one row of its root's table.

It is told and remembers. What follows from it for the planner, and how a folder goes, stands at `Folder`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gcsidecar.cache.folders.figures import Figure, Flag, Optional, OptionalSign, Seldom, Sign
from gcsidecar.cache.folders.table import NO_STATE, NOTHING_RARE, UNKNOWN_SIZE, UNKNOWN_TIME
from gcsidecar.cache.folders.tally import FolderShare, Share, State
from gcsidecar.cache.history.records import Present

if TYPE_CHECKING:
    import os

    from gcsidecar.cache.folders.home import Home
    from gcsidecar.cache.folders.table import Table
    from gcsidecar.cache.use.verdict import Leases
    from gcsidecar.cache.walking.sizes import TreeSize

_STATES = tuple(State)
_PLACES = {state: place for place, state in enumerate(_STATES, start=1)}
# Looked up once: an enum's members are no plain attributes, and all this is done for each of very many.
_LEASED, _PINNED, _YOUNG, _IDLE = _STATES
# A last use that was written to the folder's mtime may be off by what the filesystem rounds.
_ROUNDED_SECONDS = 0.001


class FolderRecord:
    """Of one folder of a root. Its census's lock guards all changes; single figures may be read at any time.

    It is the same object for as long as the census knows it. One that is gone keeps its last figures.

    Args:
        table: That of its root.
        name: Its path relative to the root.
        status: Of the directory.
        pinned: Whether the config keeps it.
        arrived_at: When its name appeared, POSIX seconds; none where that is unknown.

    Attributes:
        row: Where it stands in the table.
        inode: Of the directory.
        mtime_ns: Of the directory itself, and its ctime: while both stand still it has the same entries.
        touched_at: A last use that the filesystem doesn't know: of a lease beside it that could not be written down.
        inner_at: The newest use of a file inside, as of the last measuring.
        leases: How many hold; `beside` of them lie beside the folder, `stale_leases` are suspect.
        dead_leases: How many hold it no longer, and could not be removed.
        lease_at: When the newest was touched; `oldest_lease_at`: the oldest.
        unreadable: Whether its leases could not be looked at, or have not been yet: then it is in use.
        settled: Whether the last look at it began well after its ctime, so that these times stand for what was seen.
        disk_bytes: Its size, none until measured; `inodes` likewise.
        measured_at: When; 0 if never.
        obstacle: For what it can't be deleted whole, as of the last measuring.
        evicting: Whether it is being moved away right now.
    """

    __slots__ = ("name", "row", "table")

    inode = Figure[int]()
    mtime_ns = Sign[int]()
    ctime_ns = Figure[int]()
    arrived_at = OptionalSign(UNKNOWN_TIME)
    touched_at = Sign[float]()
    inner_at = Sign[float]()
    lease_at = Sign[float]()
    disk_bytes = Optional(UNKNOWN_SIZE)
    inodes = Figure[int]()
    measured_at = Figure[float]()
    pinned = Flag()
    unreadable = Flag()
    settled = Flag()
    evicting = Flag()
    leases = Seldom[int]()
    beside = Seldom[int]()
    stale_leases = Seldom[int]()
    dead_leases = Seldom[int]()
    oldest_lease_at = Seldom[float | None]()
    obstacle = Seldom[str | None]()

    def __init__(
        self, table: Table, name: str, status: os.stat_result, *, pinned: bool, arrived_at: float | None
    ) -> None:
        self.name = name
        self.row = table.take_row(status, pinned=pinned, arrived_at=arrived_at)
        self.table = table

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it never got one
            self.table.free_row(self.row)

    @property
    def home(self) -> Home:
        """Its root."""
        return self.table.home

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the directory."""
        return self.table.device_of(self.row), self.inode

    def last_used(self) -> float:
        """The newest sign of use: the folder's mtime, a lease's, a file's inside when measured, its arrival."""
        return self.table.last_used(self.row)

    @property
    def may_have_grown(self) -> bool:
        """Whether it may take more than is known: it is in use, was never measured, or has changed since."""
        return self.table.may_have_grown(self.row)

    @property
    def young_until(self) -> float:
        """Until when it counts as young; 0 where its arrival is unknown, which holds nothing back."""
        arrived_at = self.arrived_at
        return arrived_at + self.home.min_age_seconds if arrived_at is not None else 0.0

    def state(self, now: float) -> State:
        """What it is; of several that hold the first counts."""
        table, row = self.table, self.row
        if table.unreadable[row] or table.rare.get(row, NOTHING_RARE).leases:
            return _LEASED
        if table.pinned[row]:
            return _PINNED
        return _YOUNG if table.arrived_at[row] + table.home.min_age_seconds > now else _IDLE

    def hold(self, leases: Leases) -> None:
        """Take in a look at its leases."""
        self.leases = len(leases.holding)
        self.beside = sum(not lease.inside for lease in leases.holding)
        self.stale_leases, self.dead_leases = leases.stale, len(leases.ended)
        times = [lease.mtime for lease in leases.holding]
        self.oldest_lease_at = min(times, default=None)
        self.lease_at = max([self.lease_at, *times, *(ended.alive_at for ended in leases.ended)])

    def measured(self, size: TreeSize, at: float, *, atime: bool) -> None:
        """Take in a measuring."""
        self.disk_bytes = size.disk_bytes
        self.inodes = size.inodes
        self.inner_at = max(size.newest_mtime, size.newest_atime if atime else 0.0)
        self.measured_at = at
        self.obstacle = size.obstacle

    def clock_jumped(self, by_seconds: float, now: float) -> None:
        """Its age, its idle time and that of its size stay what they were, though the calendar's clock has jumped.

        After a jump back a last use that the filesystem knows may lie in the future, and counts as now.
        """
        if self.arrived_at is not None:
            self.arrived_at = min(self.arrived_at + by_seconds, now)
        if self.measured_at:
            self.measured_at = min(self.measured_at + by_seconds, now)
        if by_seconds > 0:
            self.touched_at = min(self.last_used() + by_seconds, now)
        elif self.touched_at:
            self.touched_at += by_seconds

    @property
    def leaseless(self) -> bool:
        """Whether it is sure that there was no lease of any kind, for as long as its times stand still."""
        return self.settled and not (self.leases or self.dead_leases or self.unreadable)

    def known(self) -> Present:
        """What the history is to know of it."""
        touched_at = self.touched_at if self.touched_at > self.mtime_ns / 1e9 + _ROUNDED_SECONDS else 0.0
        return Present(
            self.name,
            self.identity[1],
            self.arrived_at,
            touched_at,
            self.mtime_ns,
            self.ctime_ns,
            self.leaseless,
            self.disk_bytes,
            self.inodes,
            self.inner_at,
            self.measured_at,
            self.obstacle,
        )

    def recall(self, known: Present, now: float) -> None:
        """Take in what the history knew of it, where nothing better is known."""
        if self.table.recall(self.row, known, now) and known.obstacle is not None:
            self.obstacle = known.obstacle

    @property
    def share(self) -> Share | None:
        """What it adds to its root's totals, in the state that it was last counted in; none if it is not counted."""
        table, row = self.table, self.row
        state = table.state[row]
        if state == NO_STATE:
            return None
        rare = table.rare.get(row, NOTHING_RARE)
        leases = (rare.leases, rare.stale_leases, rare.dead_leases)
        return Share(_STATES[state - 1], self.disk_bytes, table.inodes[row], *leases)

    @property
    def is_counted(self) -> bool:
        """Whether it is one of its root's folders."""
        return self.table.state[self.row] != NO_STATE

    def count(self, now: float) -> None:
        """Count it in the state that it is in now."""
        self.table.state[self.row] = _PLACES[self.state(now)]

    def shown(self, now: float) -> FolderShare:
        """It as one of the largest."""
        last_used = min(self.last_used(), now)
        return FolderShare(self.name, self.state(now), self.disk_bytes or 0, self.inodes, last_used)

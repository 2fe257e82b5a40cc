"""A folder as a Disposable: what is known of it, and what the planner is told.

It is the way to one row of its root's table, and asks its root for everything that touches the disk.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from gcsidecar.cache.folders.figures import Figure, Flag, Optional, OptionalSign, Seldom, Sign
from gcsidecar.cache.folders.table import NO_STATE, NOTHING_RARE, UNKNOWN_SIZE, UNKNOWN_TIME
from gcsidecar.cache.folders.tally import FolderShare, Share, State
from gcsidecar.cache.history.records import Present
from gcsidecar.gc.errors import DisposableSizeNotSupportedError
from gcsidecar.gc.planning import Candidate
from gcsidecar.gc.pressure import Resource

if TYPE_CHECKING:
    import os

    from gcsidecar.cache.folders.table import Table
    from gcsidecar.cache.use.verdict import Leases
    from gcsidecar.cache.walking.look import Look
    from gcsidecar.cache.walking.sizes import TreeSize

_STATES = tuple(State)
_PLACES = {state: place for place, state in enumerate(_STATES, start=1)}
_REASONS = {state: state.value for state in _STATES}
MAX_IDLE = "max-idle"
# A last use that was written to the folder's mtime may be off by what the filesystem rounds.
_ROUNDED_SECONDS = 0.001
# Looked up once: an enum's members are no plain attributes, and all this is done for each of very many.
_LEASED, _PINNED, _YOUNG, _IDLE = _STATES
_DISK, _INODES, _SIZE, _FOLDERS, _MEMORY = (
    Resource.DISK,
    Resource.INODES,
    Resource.SIZE,
    Resource.FOLDERS,
    Resource.MEMORY,
)


class Home(Protocol):
    """What a folder needs of its root."""

    name: str
    priority: int
    min_age_seconds: float
    max_idle_seconds: float | None
    in_memory: bool

    def evict(self, folder: Folder) -> None:
        """Take it away by the protocol, or raise."""

    def look(self, folder: Folder) -> Look | None:
        """Look at it before it goes; none where what is known is not too old for that, or where that can't be."""

    def holds_back(self, folder: Folder) -> str | None:
        """Why the root keeps it for reasons beyond the folder's own, or none."""

    def held_until(self, folder: Folder, reason: str) -> float | None:
        """When to look again at what it holds back, POSIX seconds, or none."""

    def trusted_now(self, now: float) -> float:
        """The time of the calendar, but never ahead of the clock that doesn't jump."""


class Folder:
    """One folder of a root. Its census's lock guards all changes; single figures may be read at any time.

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

    def disk_size(self) -> int:
        """Allocated bytes, as of the last measuring.

        Raises:
            DisposableSizeNotSupportedError: It has not been measured yet.
        """
        if self.disk_bytes is None:
            raise DisposableSizeNotSupportedError(f"{self.name} has not been measured yet")
        return self.disk_bytes

    def memory_size(self) -> int:
        """On a filesystem in memory what it takes there; elsewhere nothing.

        Raises:
            DisposableSizeNotSupportedError: It has not been measured yet.
        """
        return self.disk_size() if self.home.in_memory else 0

    def dispose(self) -> None:
        """Evict it.

        Raises:
            DisposableInUseError: It is in use, and was left untouched.
            EvictionError: It could not be moved.
            RemovalError: It is gone from its place, but not all of it could be deleted.
        """
        self.home.evict(self)

    def look(self, now: float) -> Candidate | None:
        """What the planner is to know of it after a look; none where that adds nothing to what it knows."""
        found = self.home.look(self)
        if found is None:
            return None
        candidate, size = self.candidate(now), found.size
        if found.is_whole:
            return candidate
        counted = {**dict.fromkeys(candidate.sizes, size.disk_bytes), Resource.INODES: size.inodes, Resource.FOLDERS: 1}
        at_least = {resource: max(candidate.sizes[resource] or 0, counted[resource]) for resource in candidate.sizes}
        return replace(candidate, sizes=at_least)

    def candidate(self, now: float) -> Candidate:
        """What the planner is to know of it."""
        table, row, home = self.table, self.row, self.table.home
        disk_bytes, last_used, keep = self.disk_bytes, min(table.used_at[row], now), self.keep(now)
        sizes: dict[Resource, int | None] = {
            _DISK: disk_bytes,
            _INODES: None if disk_bytes is None else table.inodes[row],
            _SIZE: disk_bytes,
            _FOLDERS: 1,
        }
        if home.in_memory:
            sizes[_MEMORY] = disk_bytes
        until = None if keep is None else self._kept_until(keep)
        due = None if home.max_idle_seconds is None or not self._is_overdue(last_used, now) else MAX_IDLE
        return Candidate(self.name, last_used, sizes, home.name, home.priority, keep, until, due, self)

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

    def keep(self, now: float) -> str | None:
        """Why it stays, or none."""
        table, row = self.table, self.row
        if table.evicting[row]:
            return "evicting"
        state = self.state(now)
        if state is not _IDLE:
            return "unreadable" if table.unreadable[row] else _REASONS[state]
        return "obstacle" if table.rare.get(row, NOTHING_RARE).obstacle is not None else table.home.holds_back(self)

    def _kept_until(self, reason: str) -> float | None:
        return self.young_until if reason == State.YOUNG else self.home.held_until(self, reason)

    def _is_overdue(self, last_used: float, now: float) -> bool:
        limit = self.home.max_idle_seconds
        return limit is not None and self.home.trusted_now(now) - last_used > limit

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

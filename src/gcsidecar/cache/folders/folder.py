"""A folder as a Disposable: what is known of it, and what the planner is told.

It holds figures and asks its root for everything that touches the disk. There may be 100,000 of them: packed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gcsidecar.cache.folders.tally import FolderShare, Share, State
from gcsidecar.gc.errors import DisposableSizeNotSupportedError
from gcsidecar.gc.planning import Candidate
from gcsidecar.gc.pressure import Resource

if TYPE_CHECKING:
    import os

    from gcsidecar.cache.measuring.sizes import TreeSize

MAX_IDLE = "max-idle"


class Home(Protocol):
    """What a folder needs of its root."""

    name: str
    priority: int
    min_age_seconds: float
    max_idle_seconds: float | None
    in_memory: bool

    def evict(self, folder: Folder) -> None:
        """Take it away by the protocol, or raise."""

    def holds_back(self, folder: Folder) -> str | None:
        """Why the root keeps it for reasons beyond the folder's own, or none."""

    def held_until(self, folder: Folder, reason: str) -> float | None:
        """When to look again at what it holds back, POSIX seconds, or none."""

    def trusted_now(self, now: float) -> float:
        """The time of the calendar, but never ahead of the clock that doesn't jump."""


class Folder:
    """One folder of a root. Its root's lock guards all changes; single figures may be read at any time.

    Attributes:
        name: Its path relative to the root.
        pinned: Whether the config keeps it.
        identity: Device and inode of the directory.
        mtime_ns: Of the directory itself, and its ctime: while both stand still it has the same entries.
        arrived_at: When its name appeared, POSIX seconds; none where that is unknown.
        touched_at: A last use that the filesystem doesn't know: of a lease beside it that could not be written down.
        inner_at: The newest use of a file inside, as of the last measuring.
        leases: How many hold; `beside` of them lie beside the folder, `stale_leases` are suspect.
        dead_leases: How many hold it no longer, and could not be removed.
        lease_at: When the newest was touched; `oldest_lease_at`: the oldest.
        unreadable: Whether its leases could not be looked at: then it is in use.
        disk_bytes: Its size, none until measured; `inodes` likewise.
        measured_at: When; 0 if never.
        obstacle: For what it can't be deleted whole, as of the last measuring.
        evicting: Whether it is being moved away right now.
    """

    __slots__ = (
        "arrived_at",
        "beside",
        "ctime_ns",
        "dead_leases",
        "disk_bytes",
        "evicting",
        "home",
        "identity",
        "inner_at",
        "inodes",
        "lease_at",
        "leases",
        "measured_at",
        "mtime_ns",
        "name",
        "obstacle",
        "oldest_lease_at",
        "pinned",
        "share",
        "stale_leases",
        "touched_at",
        "unreadable",
    )

    def __init__(
        self, home: Home, name: str, status: os.stat_result, *, pinned: bool, arrived_at: float | None
    ) -> None:
        self.home = home
        self.name = name
        self.pinned = pinned
        self.identity = (status.st_dev, status.st_ino)
        self.mtime_ns = status.st_mtime_ns
        self.ctime_ns = status.st_ctime_ns
        self.arrived_at = arrived_at
        self.touched_at = 0.0
        self.inner_at = 0.0
        self.leases = 0
        self.beside = 0
        self.stale_leases = 0
        self.dead_leases = 0
        self.lease_at = 0.0
        self.oldest_lease_at: float | None = None
        self.unreadable = False
        self.disk_bytes: int | None = None
        self.inodes = 0
        self.measured_at = 0.0
        self.obstacle: str | None = None
        self.evicting = False
        self.share: Share | None = None

    def last_used(self) -> float:
        """The newest sign of use: the folder's mtime, a lease's, a file's inside when measured, its arrival."""
        return max(self.mtime_ns / 1e9, self.lease_at, self.inner_at, self.touched_at, self.arrived_at or 0.0)

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

    def candidate(self, now: float) -> Candidate:
        """What the planner is to know of it."""
        sizes: dict[Resource, int | None] = {
            Resource.DISK: self.disk_bytes,
            Resource.INODES: self.inodes if self.disk_bytes is not None else None,
            Resource.SIZE: self.disk_bytes,
            Resource.FOLDERS: 1,
        }
        if self.home.in_memory:
            sizes[Resource.MEMORY] = self.disk_bytes
        last_used, keep = min(self.last_used(), now), self.keep(now)
        return Candidate(
            self.name,
            last_used,
            sizes,
            self.home.name,
            self.home.priority,
            keep,
            self._kept_until(keep),
            MAX_IDLE if self._is_overdue(last_used, now) else None,
            self,
        )

    @property
    def may_have_grown(self) -> bool:
        """Whether it may take more than is known: it is in use, was never measured, or has changed since."""
        return bool(self.leases) or self.disk_bytes is None or self.mtime_ns / 1e9 > self.measured_at

    @property
    def young_until(self) -> float:
        """Until when it counts as young; 0 where its arrival is unknown, which holds nothing back."""
        return self.arrived_at + self.home.min_age_seconds if self.arrived_at is not None else 0.0

    def state(self, now: float) -> State:
        """What it is; of several that hold the first counts."""
        if self.leases or self.unreadable:
            return State.LEASED
        if self.pinned:
            return State.PINNED
        return State.YOUNG if self.young_until > now else State.IDLE

    def keep(self, now: float) -> str | None:
        """Why it stays, or none."""
        if self.evicting:
            return "evicting"
        if self.unreadable:
            return "unreadable"
        state = self.state(now)
        if state is not State.IDLE:
            return state.value
        return "obstacle" if self.obstacle is not None else self.home.holds_back(self)

    def _kept_until(self, reason: str | None) -> float | None:
        if reason == State.YOUNG:
            return self.young_until
        return None if reason is None else self.home.held_until(self, reason)

    def _is_overdue(self, last_used: float, now: float) -> bool:
        limit = self.home.max_idle_seconds
        return limit is not None and self.home.trusted_now(now) - last_used > limit

    def measured(self, size: TreeSize, at: float, *, atime: bool) -> None:
        """Take in a measuring."""
        self.disk_bytes = size.disk_bytes
        self.inodes = size.inodes
        self.inner_at = max(size.newest_mtime, size.newest_atime if atime else 0.0)
        self.measured_at = at
        self.obstacle = size.obstacle

    def new_share(self, now: float) -> Share:
        """What it adds to its root's totals."""
        leases = (self.leases, self.stale_leases, self.dead_leases)
        return Share(self.state(now), self.disk_bytes, self.inodes, *leases)

    def shown(self, now: float) -> FolderShare:
        """It as one of the largest."""
        last_used = min(self.last_used(), now)
        return FolderShare(self.name, self.state(now), self.disk_bytes or 0, self.inodes, last_used)

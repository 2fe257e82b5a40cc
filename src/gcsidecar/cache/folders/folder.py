"""A folder as a Disposable: what the planner is told of it, and how it goes.

It asks its root for everything that touches the disk; what is known of it is its record.
"""

from __future__ import annotations

from dataclasses import replace

from gcsidecar.cache.folders.record import FolderRecord
from gcsidecar.cache.folders.table import NOTHING_RARE
from gcsidecar.cache.folders.tally import State
from gcsidecar.gc.errors import DisposableSizeNotSupportedError
from gcsidecar.gc.planning import Candidate
from gcsidecar.gc.pressure import Resource

MAX_IDLE = "max-idle"
# Looked up once: an enum's members are no plain attributes, and all this is done for each of very many.
_REASONS = {state: state.value for state in State}
_IDLE = State.IDLE
_DISK, _INODES, _SIZE, _FOLDERS, _MEMORY = (
    Resource.DISK,
    Resource.INODES,
    Resource.SIZE,
    Resource.FOLDERS,
    Resource.MEMORY,
)


class Folder(FolderRecord):
    """One folder of a root."""

    __slots__ = ()

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
        self.home.custody.evict(self)

    def look(self, now: float) -> Candidate | None:
        """What the planner is to know of it after a look; none where that adds nothing to what it knows."""
        found = self.home.restraints.look(self)
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

    def keep(self, now: float) -> str | None:
        """Why it stays, or none."""
        table, row = self.table, self.row
        if table.evicting[row]:
            return "evicting"
        state = self.state(now)
        if state is not _IDLE:
            return "unreadable" if table.unreadable[row] else _REASONS[state]
        if table.rare.get(row, NOTHING_RARE).obstacle is not None:
            return "obstacle"
        return table.home.restraints.holds_back(self)

    def _kept_until(self, reason: str) -> float | None:
        return self.young_until if reason == State.YOUNG else self.home.restraints.held_until(self, reason)

    def _is_overdue(self, last_used: float, now: float) -> bool:
        limit = self.home.max_idle_seconds
        return limit is not None and self.home.jumps.trusted_now(now) - last_used > limit

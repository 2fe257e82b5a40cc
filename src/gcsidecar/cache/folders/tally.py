"""The running totals of a root: folders, bytes, inodes and leases by state, kept up to date one folder at a time.

It counts what it is told and never looks at a disk; so a scrape costs nothing that grows with the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """What a folder is; of several that hold the first counts."""

    LEASED = "leased"
    PINNED = "pinned"
    YOUNG = "young"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Amount:
    """So many folders with so much in them; those not measured yet count with 0 bytes and 0 inodes."""

    folders: int = 0
    disk_bytes: int = 0
    inodes: int = 0


@dataclass(frozen=True, slots=True)
class FolderShare:
    """One of the largest folders: its name, state, size, and last use (POSIX seconds)."""

    name: str
    state: State
    disk_bytes: int
    inodes: int
    last_used: float


@dataclass(frozen=True, slots=True)
class RootTally:
    """The totals of one root at one moment.

    Attributes:
        by_state: For every state, folders and sizes.
        unmeasured: Folders whose size isn't known yet.
        leases: Lease files that hold.
        stale_leases: Of these the suspect ones: nobody vouches for them, and they were not touched for long.
        dead_leases: Lease files that hold no longer, and could not be removed.
        oldest_lease_at: When the oldest lease was last touched, POSIX seconds; none without leases.
        top: The largest folders, largest first, at most `top_folders`.
        own_bytes: What `.gcsidecar/` takes, with what lies in it.
        oldest_measured_at: Of the folders whose size is known, when that with the oldest was measured, POSIX seconds;
            none where no size is known.
    """

    by_state: Mapping[State, Amount]
    unmeasured: int = 0
    leases: int = 0
    stale_leases: int = 0
    dead_leases: int = 0
    oldest_lease_at: float | None = None
    top: tuple[FolderShare, ...] = ()
    own_bytes: int = 0
    oldest_measured_at: float | None = None


class Share(NamedTuple):
    """What one folder adds to the totals."""

    state: State
    disk_bytes: int | None
    inodes: int
    leases: int
    stale_leases: int
    dead_leases: int


class Totals:
    """The totals of a root while they change. Not thread-safe: its owner guards it."""

    def __init__(self) -> None:
        self._folders = dict.fromkeys(State, 0)
        self._bytes = dict.fromkeys(State, 0)
        self._inodes = dict.fromkeys(State, 0)
        self.unmeasured = 0
        self.leases = 0
        self.stale_leases = 0
        self.dead_leases = 0

    def replace(self, old: Share | None, new: Share | None) -> None:
        """Take off what a folder was, and add what it is."""
        if old is not None:
            self._add(old, -1)
        if new is not None:
            self._add(new, 1)

    @property
    def disk_bytes(self) -> int:
        """What all measured folders take."""
        return sum(self._bytes.values())

    @property
    def folders(self) -> int:
        """How many folders there are."""
        return sum(self._folders.values())

    def by_standing(self) -> tuple[int, int, int]:
        """Leases that hold, how many of them are suspect, and those that hold no longer."""
        return self.leases, self.stale_leases, self.dead_leases

    def by_state(self) -> dict[State, Amount]:
        """The totals of each state."""
        return {state: Amount(self._folders[state], self._bytes[state], self._inodes[state]) for state in State}

    def _add(self, share: Share, sign: int) -> None:
        self._folders[share.state] += sign
        self._bytes[share.state] += sign * (share.disk_bytes or 0)
        self._inodes[share.state] += sign * share.inodes
        self.unmeasured += sign * (share.disk_bytes is None)
        self.leases += sign * share.leases
        self.stale_leases += sign * share.stale_leases
        self.dead_leases += sign * share.dead_leases

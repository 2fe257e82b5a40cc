"""What is recorded of one folder: it arrived, was used, was evicted, is gone or came back; and what is known of it.

Values only, made where it happens and written later by another thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from gcsidecar.cache.regrets import Regret

if TYPE_CHECKING:
    from gcsidecar.gc.collection import Eviction


class How(StrEnum):
    """How a folder went: by us, by others while we looked, or by others while nobody did."""

    EVICTED = "evicted"
    REMOVED = "removed"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A folder is there: since `at` (POSIX seconds), or since before anybody knew; `inode` is its directory's."""

    name: str
    inode: int
    at: float | None


@dataclass(frozen=True, slots=True)
class Use:
    """A folder's last use has moved.

    Attributes:
        at: To when, POSIX seconds.
        disk_bytes: What it took when it was last measured, none if never.
        leases: How many held it when that was seen.
    """

    name: str
    inode: int
    at: float
    disk_bytes: int | None
    leases: int


@dataclass(frozen=True, slots=True)
class Departure:
    """A folder is gone since `at`; with what was known of it, should its arrival not have been written."""

    name: str
    inode: int
    at: float
    how: How
    arrived_at: float | None = None
    disk_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Evicted:
    """The figures of an eviction: those of its decision, and what came of it; `inode` is that of its folder."""

    eviction: Eviction
    inode: int


class Present(NamedTuple):
    """A folder that is there, and what is known of it: now, or when that was last written. There may be 100,000.

    Attributes:
        name: Its path relative to the root.
        inode: Of its directory.
        arrived_at: When it arrived, POSIX seconds; none where that is unknown.
        touched_at: A last use that the filesystem doesn't know, POSIX seconds; 0 if there is none.
        mtime_ns: Of its directory, as of the last look inside, and its ctime; none where nobody looked.
        leaseless: Whether that look found no lease of any kind, when these times had been standing for a while.
        disk_bytes: Its size, none where it was not measured; `inodes` likewise.
        inner_at: The newest use of a file inside, as of that measuring.
        measured_at: When that was, POSIX seconds; 0 if never.
        obstacle: For what it can't be deleted whole, as of that measuring.
    """

    name: str
    inode: int
    arrived_at: float | None
    touched_at: float
    mtime_ns: int | None = None
    ctime_ns: int | None = None
    leaseless: bool = False
    disk_bytes: int | None = None
    inodes: int = 0
    inner_at: float = 0.0
    measured_at: float = 0.0
    obstacle: str | None = None


Record: TypeAlias = Arrival | Use | Departure | Evicted | Regret | Present

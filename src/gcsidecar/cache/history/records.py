"""What is recorded of one folder: it arrived, was used, was evicted, is gone, or has come back.

Values only, made where it happens and written later by another thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

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
        touched_at: A last use that the filesystem doesn't know, POSIX seconds, or none.
    """

    name: str
    inode: int
    at: float
    disk_bytes: int | None
    leases: int
    touched_at: float | None


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


@dataclass(frozen=True, slots=True)
class Present:
    """A folder that was there when the history was last written.

    Attributes:
        number: Its row.
        arrived_at: When it arrived, POSIX seconds; none where that is unknown.
        touched_at: A last use that the filesystem doesn't know, POSIX seconds; 0 if there is none.
    """

    number: int
    name: str
    inode: int
    arrived_at: float | None
    touched_at: float


Record: TypeAlias = Arrival | Use | Departure | Evicted | Regret

"""The table of a root's folders: their figures in columns, a row each, since there may be 100,000 of them.

It keeps figures and knows no disk. What one figure means stands at `Folder`, the way to a single row.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from gcsidecar.cache.folders.folder import Folder, Home

# Where a column has no None.
UNKNOWN_TIME = -math.inf
UNKNOWN_SIZE = -1
# What a folder counts as that counts as nothing (any more).
NO_STATE = 0


@dataclass(slots=True)
class Rare:
    """What few folders have at any time; the others share one."""

    leases: int = 0
    beside: int = 0
    stale_leases: int = 0
    dead_leases: int = 0
    oldest_lease_at: float | None = None
    obstacle: str | None = None
    device: int | None = None


NOTHING_RARE = Rare()


class Table:
    """Columns of one length; the census's lock guards all changes.

    A row is a folder's for as long as there is that object, so that who still holds one that is gone reads its last
    figures; only then another gets it.

    Args:
        home: The root.
        device: That of the root, and so of nearly all folders.

    Attributes:
        used_at: When each was last used, to be sorted by; infinity for those that are gone.
        state: What each counts as in the totals: the place of its `State`, from 1; `NO_STATE` if it is gone.
        seen: The number of the reconcile that saw it last, modulo 256.
        rare: By row.
    """

    def __init__(self, home: Home, device: int) -> None:
        self.home, self.device = home, device
        self.inode = array("Q")
        self.mtime_ns = array("q")
        self.ctime_ns = array("q")
        self.arrived_at = array("d")
        self.touched_at = array("d")
        self.inner_at = array("d")
        self.lease_at = array("d")
        self.used_at = array("d")
        self.disk_bytes = array("q")
        self.inodes = array("q")
        self.measured_at = array("d")
        self.pinned = array("b")
        self.unreadable = array("b")
        self.evicting = array("b")
        self.state = array("B")
        self.seen = array("B")
        self.rare: dict[int, Rare] = {}
        self._folders: list[Folder | None] = []
        self._free: deque[int] = deque()

    def take_row(self, status: os.stat_result, *, pinned: bool, arrived_at: float | None) -> int:
        """A row for a folder that is new here."""
        try:
            row = self._free.pop()
        except IndexError:
            row = self._new_row()
        self.inode[row] = status.st_ino
        self.mtime_ns[row], self.ctime_ns[row] = status.st_mtime_ns, status.st_ctime_ns
        self.arrived_at[row] = UNKNOWN_TIME if arrived_at is None else arrived_at
        self.touched_at[row] = self.inner_at[row] = self.lease_at[row] = self.measured_at[row] = 0.0
        self.disk_bytes[row], self.inodes[row] = UNKNOWN_SIZE, 0
        self.pinned[row], self.unreadable[row], self.evicting[row] = pinned, False, False
        self.state[row], self.seen[row] = NO_STATE, 0
        if status.st_dev != self.device:
            self.rare[row] = Rare(device=status.st_dev)
        self.note_use(row)
        return row

    def free_row(self, row: int) -> None:
        """Nobody can reach it any more; called from any thread, whatever lock it holds."""
        self.used_at[row], self.state[row] = math.inf, NO_STATE
        self.rare.pop(row, None)
        self._free.append(row)

    def put(self, folder: Folder) -> None:
        """It is one of the root's folders from now on."""
        self._folders[folder.row] = folder

    def drop(self, folder: Folder) -> None:
        """It is one of them no longer."""
        self._folders[folder.row] = None
        self.used_at[folder.row], self.state[folder.row] = math.inf, NO_STATE

    def folder(self, row: int) -> Folder | None:
        """Whose row it is."""
        return self._folders[row]

    def folders(self) -> list[Folder]:
        """All that count, in no particular order."""
        return [folder for folder in self._folders if folder is not None]

    def note_use(self, row: int) -> None:
        """One of the signs of its use has changed."""
        self.used_at[row] = self.last_used(row)

    def last_used(self, row: int) -> float:
        """The newest sign of its use, POSIX seconds."""
        return max(
            self.mtime_ns[row] / 1e9,
            self.lease_at[row],
            self.inner_at[row],
            self.touched_at[row],
            self.arrived_at[row],
        )

    def device_of(self, row: int) -> int:
        """That on which its directory lies."""
        device = self.rare.get(row, NOTHING_RARE).device if self.rare else None
        return self.device if device is None else device

    def stands_still(self, row: int, status: os.stat_result) -> bool:
        """Whether it is the directory that was known, with the same entries, and its leases could be read."""
        return (
            self.mtime_ns[row] == status.st_mtime_ns
            and self.ctime_ns[row] == status.st_ctime_ns
            and self.inode[row] == status.st_ino
            and status.st_dev == self.device_of(row)
            and not self.unreadable[row]
        )

    def _new_row(self) -> int:
        for column in (self.inode, self.mtime_ns, self.ctime_ns, self.disk_bytes, self.inodes):
            column.append(0)
        for times in (self.arrived_at, self.touched_at, self.inner_at, self.lease_at, self.used_at, self.measured_at):
            times.append(0.0)
        for flags in (self.pinned, self.unreadable, self.evicting, self.state, self.seen):
            flags.append(0)
        self._folders.append(None)
        return len(self._folders) - 1

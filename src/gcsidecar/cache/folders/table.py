"""The table of a root's folders: their figures in columns, a row each, since there may be 100,000 of them.

It keeps figures and knows no disk. What one figure means stands at `FolderRecord`, the way to a single row.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.folders.home import Home
    from gcsidecar.cache.history.records import Present

# Where a column has no None.
UNKNOWN_TIME = -math.inf
UNKNOWN_SIZE = -1
_MOST_NS = 2**63 - 1
# What a folder counts as that counts as nothing (any more).
NO_STATE = 0
# So many rows are added at a time.
CHUNK = 256


def times_of(status: os.stat_result) -> tuple[int, int]:
    """The mtime and the ctime of a directory in nanoseconds, as a column can have them: up to the year 2262.

    Whoever may write to a folder may give it any mtime, and some filesystems keep it.
    """
    mtime_ns, ctime_ns = status.st_mtime_ns, status.st_ctime_ns
    if -_MOST_NS <= mtime_ns <= _MOST_NS and -_MOST_NS <= ctime_ns <= _MOST_NS:
        return mtime_ns, ctime_ns
    return max(-_MOST_NS, min(mtime_ns, _MOST_NS)), max(-_MOST_NS, min(ctime_ns, _MOST_NS))


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
        self.settled = array("b")
        self.evicting = array("b")
        self.state = array("B")
        self._seen = array("B")
        self._round = 0
        self.rare: dict[int, Rare] = {}
        self._folders: list[Folder | None] = []
        self._free: deque[int] = deque()

    def take_row(self, status: os.stat_result, *, pinned: bool, arrived_at: float | None) -> int:
        """A row for a folder that is new here."""
        if not self._free:
            self._grow()
        row = self._free.popleft()
        self.inode[row] = status.st_ino
        self.mtime_ns[row], self.ctime_ns[row] = times_of(status)
        self.arrived_at[row] = UNKNOWN_TIME if arrived_at is None else arrived_at
        self.touched_at[row] = self.inner_at[row] = self.lease_at[row] = self.measured_at[row] = 0.0
        self.disk_bytes[row], self.inodes[row] = UNKNOWN_SIZE, 0
        self.pinned[row], self.unreadable[row], self.settled[row], self.evicting[row] = pinned, False, False, False
        self.state[row], self._seen[row] = NO_STATE, self._round
        if status.st_dev != self.device:
            self.rare[row] = Rare(device=status.st_dev)
        self.note_use(row)
        return row

    def recall(self, row: int, known: Present, now: float) -> bool:
        """Take in what was known of a folder before; whether its size was."""
        if known.arrived_at is not None:
            self.arrived_at[row] = min(known.arrived_at, now)
        self.touched_at[row] = max(self.touched_at[row], min(known.touched_at, now))
        size = known.disk_bytes
        # One that was measured in the future has an age that nobody knows.
        is_taken = size is not None and self.disk_bytes[row] == UNKNOWN_SIZE and 0 < known.measured_at <= now
        if size is not None and is_taken:
            self.disk_bytes[row], self.inodes[row] = size, known.inodes
            self.inner_at[row], self.measured_at[row] = known.inner_at, known.measured_at
        self.note_use(row)
        return is_taken

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

    def begin_round(self) -> None:
        """Nothing has been seen so far, but for what arrives from now on."""
        self._round = (self._round + 1) % 256

    def see(self, row: int) -> None:
        """It is there."""
        self._seen[row] = self._round

    def not_seen(self) -> list[Folder]:
        """Those that were not seen in this round."""
        return [folder for folder in self.folders() if self._seen[folder.row] != self._round]

    def rare_folders(self) -> list[Folder]:
        """Those that have what few have: leases, among others."""
        return [folder for row in list(self.rare) if (folder := self._folders[row]) is not None]

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
            (self.mtime_ns[row], self.ctime_ns[row]) == times_of(status)
            and self.inode[row] == status.st_ino
            and status.st_dev == self.device_of(row)
            and not self.unreadable[row]
        )

    def may_have_grown(self, row: int) -> bool:
        """Whether it may take more than is known: it is in use, was never measured, or has changed since."""
        if self.disk_bytes[row] < 0 or self.mtime_ns[row] / 1e9 > self.measured_at[row]:
            return True
        return bool(self.rare.get(row, NOTHING_RARE).leases)

    def _grow(self) -> None:
        first = len(self._folders)
        for column in (
            *(self.inode, self.mtime_ns, self.ctime_ns, self.disk_bytes, self.inodes),
            *(self.arrived_at, self.touched_at, self.inner_at, self.lease_at, self.measured_at),
            *(self.pinned, self.unreadable, self.settled, self.evicting, self.state, self._seen),
        ):
            column.frombytes(bytes(column.itemsize * CHUNK))
        self.used_at.extend([math.inf] * CHUNK)
        self._folders.extend([None] * CHUNK)
        self._free.extend(range(first, first + CHUNK))

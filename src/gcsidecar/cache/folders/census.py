"""The census of a root: which folders there are, what is known of each, and their totals.

It is told and looks at no disk: what is there the finder finds. One lock guards it, held for moments only: never over a
listing, a walk or a deletion.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import threading
from typing import TYPE_CHECKING, Protocol

from gcsidecar.cache.folders.folder import Folder
from gcsidecar.cache.folders.home import Home
from gcsidecar.cache.folders.running import RunningTally, Young
from gcsidecar.cache.folders.source import FolderSource
from gcsidecar.cache.folders.table import Table, times_of
from gcsidecar.cache.names import named

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from gcsidecar.cache.folders.hearers import Listener, Watch
    from gcsidecar.cache.folders.tally import RootTally
    from gcsidecar.cache.history.records import Present
    from gcsidecar.cache.spec import RootSpec
    from gcsidecar.cache.use.lease import LeasePatterns
    from gcsidecar.cache.use.lookout import Lookout
    from gcsidecar.cache.use.verdict import Leases
    from gcsidecar.cache.walking.sizes import TreeSize
    from gcsidecar.gc.clock import Clock
    from gcsidecar.gc.source import SourceTracker


class CensusHome(Home, Protocol):
    """What the census needs of its root."""

    fd: int
    spec: RootSpec
    patterns: LeasePatterns
    lookout: Lookout


class Census:
    """The folders of one root.

    Args:
        root: Whose.
        tracker: Whom it gives its folders as a source.
        watch: Told of folders that come, change and go.
        listener: Told what is to be remembered of them.
        clock: Both clocks.

    Attributes:
        table: The figures of all.
        version: Goes up with every change that a plan may depend on.
        complete: Whether all that are there have been seen once.
        grown_bytes: What measurings have found of growth since it began; it only ever goes up.
        gone_bytes: What went with folders; likewise.
    """

    def __init__(
        self, root: CensusHome, tracker: SourceTracker, watch: Watch, listener: Listener, clock: Clock
    ) -> None:
        self._root = root
        self._tracker = tracker
        self._watch = watch
        self._listener = listener
        self._clock = clock
        self._pinned = [named(glob) for glob in root.spec.keep]
        self._lock = threading.RLock()
        self._folders: dict[str, Folder] = {}
        self.table = Table(root, os.fstat(root.fd).st_dev)
        self._running = RunningTally(self.table, root.spec.top_folders, root.spec.keep_newest)
        self._young = Young(self.table)
        self.source = FolderSource(self.table, self.get)
        tracker.add_source(self.source)
        self.version = 0
        self.complete = False
        self.grown_bytes = self.gone_bytes = 0
        self._began = clock.time()

    # What is known

    def folders(self) -> list[Folder]:
        """All folders, in no particular order."""
        with self._lock:
            return list(self._folders.values())

    def is_known(self, name: str) -> bool:
        """Whether there is a folder of that name."""
        return name in self._folders

    def names(self) -> list[str]:
        """Those of all folders, in no particular order."""
        with self._lock:
            return list(self._folders)

    def get(self, name: str) -> Folder | None:
        """One folder, or none of that name."""
        return self._folders.get(name)

    @property
    def known_bytes(self) -> int:
        """What all measured folders take."""
        with self._lock:
            return self._running.disk_bytes

    @property
    def count(self) -> int:
        """How many folders there are."""
        return len(self._folders)

    def tally(self, own_bytes: int) -> RootTally:
        """The totals now, with the largest folders."""
        with self._lock:
            return self._running.tally(self._clock.time(), own_bytes)

    def stalest(self, count: int) -> list[Folder]:
        """Those with the oldest sizes, in order, at most 256; what was never measured is not among them."""
        with self._lock:
            return self._running.stalest(count)

    def newest(self) -> list[Folder]:
        """The `keep_newest` folders that were used last."""
        with self._lock:
            return self._running.newest(self._root.spec.keep_newest)

    # What is found

    def whole(self) -> None:
        """All that are there have been seen."""
        if not self.complete:
            self.complete = True
            self._listener.complete()

    def take_in(
        self, name: str, known: Folder | None, status: os.stat_result, leases: Leases | None, *, settled: bool = False
    ) -> bool:
        """Take in what was found under a name; False where it is another folder than the one that was known.

        Args:
            name: Of the folder.
            known: What was known under that name when the look began.
            status: Of the directory.
            leases: Its leases, none where they could not be looked at.
            settled: Whether the look began well after the ctime, so that these times stand for what was seen.
        """
        if known is not None and known.identity != (status.st_dev, status.st_ino):
            if not known.evicting:
                self.drop(known)
            return known.evicting
        now = self._clock.time()
        with self._lock:
            if self._folders.get(name) is not known:
                return False
            arrived = known is None
            # When that arrived which was there at the start only the history knows, if there is one.
            arrived_at = now if self.complete else None
            folder = self._arrive(name, status, now, arrived_at) if known is None else known
            had_leases, had, last_used = folder.leases, (folder.mtime_ns, folder.ctime_ns), folder.last_used()
            was_leaseless = folder.leaseless
            with self._counting(folder, now):
                if had != times_of(status):
                    folder.mtime_ns, folder.ctime_ns = times_of(status)
                folder.unreadable, folder.settled = leases is None, settled
                if leases is not None and (leases.holding or leases.ended or folder.row in self.table.rare):
                    folder.hold(leases)
            used = folder.last_used() != last_used
            self.version += used
        if arrived and folder.arrived_at is not None:
            self._listener.arrived(folder, folder.arrived_at)
        elif used and not arrived:
            self._listener.used(folder)
        elif had != (folder.mtime_ns, folder.ctime_ns) or was_leaseless != folder.leaseless:
            self._listener.noted(folder)
        released = had_leases > 0 and not folder.leases
        if arrived or released or had != (folder.mtime_ns, folder.ctime_ns):
            self._size_may_change(folder, arrived=arrived, released=released)
        return True

    def drop(self, folder: Folder, *, evicted: bool = False) -> None:
        """It is there no longer."""
        if self._let_go(folder):
            self._listener.departed(folder, evicted=evicted)

    def _size_may_change(self, folder: Folder, *, arrived: bool, released: bool) -> None:
        if released:
            self._root.restraints.released(folder.name)
        self._watch.changed(folder, arrived=arrived)

    def _arrive(self, name: str, status: os.stat_result, now: float, arrived_at: float | None) -> Folder:
        pinned = bool(self._pinned) and any(fnmatch.fnmatchcase(name, glob) for glob in self._pinned)
        folder = Folder(self.table, name, status, pinned=pinned, arrived_at=arrived_at)
        self.table.put(folder)
        self._folders[name] = folder
        self._young.add(folder, now)
        return folder

    @contextlib.contextmanager
    def _counting(self, folder: Folder, now: float) -> Iterator[None]:
        """While figures of a folder change; it is counted anew with them."""
        before = folder.share
        yield
        folder.count(now)
        self.version += self._running.recount(folder, before)

    def _forget(self, folder: Folder) -> None:
        self.gone_bytes += (folder.disk_bytes or 0) if folder.is_counted else 0
        before = folder.share
        self.table.drop(folder)
        self._running.recount(folder, before)
        if self._folders.get(folder.name) is folder:
            del self._folders[folder.name]
        self._root.lookout.forget(folder.name)
        self.version += 1

    def _let_go(self, folder: Folder) -> bool:
        """Know it no longer; False where another thread has seen to that."""
        self._watch.remove(folder.name)
        with self._lock:
            known = folder.is_counted
            self._forget(folder)
        self._tracker.unregister(folder)
        return known

    # What happens

    def changed(self) -> None:
        """Something that plans depend on has changed elsewhere."""
        with self._lock:
            self.version += 1

    def clock_jumped(self, by_seconds: float) -> None:
        """What is known of times counts by the calendar's clock as it is now."""
        now = self._clock.time()
        with self._lock:
            for folder in self.table.folders():
                with self._counting(folder, now):
                    folder.clock_jumped(by_seconds, now)
                self._young.add(folder, now)
            self.version += 1

    def grow_up(self) -> float | None:
        """Let those be idle that are young no longer; returns when the next one will be, POSIX seconds, or none."""
        now = self._clock.time()
        with self._lock:
            for folder in self._young.grown_up(now):
                with self._counting(folder, now):
                    """Only the time has."""
            return self._young.next_at()

    def measured(self, folder: Folder, size: TreeSize, at: float | None = None) -> None:
        """Take in the size of a folder, whose measuring began at `at` (POSIX seconds), or just now.

        What was written behind the walk counts as written after it; and of two that overlap the later one holds.
        """
        now = self._clock.time()
        with self._lock:
            at = now if at is None else at
            if not folder.is_counted or at < folder.measured_at <= now:
                return
            # What the first measuring finds was used before anybody looked.
            last_used = folder.last_used() if folder.measured_at else None
            if folder.may_have_grown and max(folder.measured_at, folder.arrived_at or 0.0) >= self._began:
                self.grown_bytes += max(0, size.disk_bytes - (folder.disk_bytes or 0))
            with self._counting(folder, now):
                folder.measured(size, at, atime=self._root.spec.last_used == "atime")
            self.version += 1
            used = last_used is not None and folder.last_used() != last_used
        if used:
            self._listener.used(folder)
        else:
            self._listener.noted(folder)

    def obstructed(self, folder: Folder, obstacle: str) -> None:
        """Something stands in the way of its eviction that no measuring finds."""
        with self._lock:
            folder.obstacle = obstacle
            self.version += 1

    # What was known before

    def recall(self, known: Present, status: os.stat_result) -> Folder | None:
        """Take in what an earlier process knew of a folder; returns it where it is new here."""
        now = self._clock.time()
        with self._lock:
            folder = self._folders.get(known.name)
            if folder is None:
                return self._adopt(known, status, now)
            if folder.identity == (status.st_dev, status.st_ino):
                with self._counting(folder, now):
                    folder.recall(known, now)
                self._young.add(folder, now)
        return None

    def _adopt(self, known: Present, status: os.stat_result, now: float) -> Folder:
        folder = self._arrive(known.name, status, now, None)
        table, row = self.table, folder.row
        stands_still = (known.mtime_ns, known.ctime_ns) == (table.mtime_ns[row], table.ctime_ns[row])
        table.settled[row] = stands_still and known.leaseless and self._root.patterns.shows_in_mtime
        table.unreadable[row] = not table.settled[row]  # until it has been looked at
        folder.recall(known, now)
        folder.count(now)
        self._running.recount(folder, None)
        self._young.add(folder, now)
        self.version += 1
        return folder

    def came(self, name: str, inode: int, at: float) -> bool:
        """A folder came at that time, POSIX seconds, while nobody looked; False where it isn't there any more."""
        now = self._clock.time()
        with self._lock:
            folder = self._folders.get(name)
            if folder is None or folder.identity[1] != inode:
                return False
            with self._counting(folder, now):
                folder.arrived_at = min(at, now)
            self._young.add(folder, now)
            self.version += 1
        return True

    def still(self) -> AbstractContextManager[object]:
        """While this is entered nothing changes of what is known."""
        return self._lock

    def clear(self) -> None:
        """Forget all folders; nobody is given them any more."""
        self.complete = False
        self._tracker.remove_source(self.source)
        for folder in self.folders():
            self._let_go(folder)

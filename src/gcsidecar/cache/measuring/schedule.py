"""What is to be measured, when, and what first: by use, and not by size.

It only keeps order; who measures, and in which process, is the survey's business.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, NamedTuple

from gcsidecar.cache.measuring.budget import Budget
from gcsidecar.contract import STATE_DIRECTORY

if TYPE_CHECKING:
    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.root import Root
    from gcsidecar.cache.spec import MeasureSpec
    from gcsidecar.gc.clock import Clock

# A folder that has just arrived is still being filled: measured at once it would seem to be empty.
ARRIVED_SECONDS = 0.25
# A changed folder is measured once it has been quiet for so long, one that never is, after this; and so is one in use.
QUIET_SECONDS = 2.0
GROWING_SECONDS = 30.0
# So many are handed over in one piece.
MOST_AT_ONCE = 4096
# A first scan of so many folders is worth processes of its own, whatever is in them. Before all are known some are
# taken: the least recently used of those that were added last, as far as is looked back.
LARGE_SCAN = 1024
LOOK_BACK = 1024


class Target(NamedTuple):
    """What is measured: something in a root, by its path there."""

    root: Root
    name: str

    @property
    def folder(self) -> Folder | None:
        """The folder of that name, or none."""
        return self.root.census.get(self.name)

    @property
    def is_apart(self) -> bool:
        """Whether it lies in `.gcsidecar/`: parked, or on its way out."""
        return self.name.startswith(f"{STATE_DIRECTORY}/")


class Due(NamedTuple):
    """When a folder is to be measured, and until when at most that is put off (both monotonic)."""

    at: float
    latest: float


class FirstScan:
    """The folders of a root that were there at the start, the least recently used first; nothing but they are kept.

    There may be 100,000 of them at once. `some` goes by that order only as far as it looks back. Those that were
    measured meanwhile, or are gone, are passed by.
    """

    def __init__(self) -> None:
        self._folders: list[Folder] = []  # the first one last
        self._is_sorted = True

    def add(self, folder: Folder) -> None:
        """It was there at the start, and was never measured."""
        self._folders.append(folder)
        self._is_sorted = False

    def __len__(self) -> int:
        """How many there are, those that need not be measured any more among them."""
        return len(self._folders)

    def some(self, count: int) -> list[Folder]:
        """The least recently used of those that were added last; they are here no longer.

        To put all in order each time that some are added would take longer than to measure them.
        """
        some = sorted(self._folders[-LOOK_BACK:], key=lambda folder: folder.last_used(), reverse=True)
        self._folders[-LOOK_BACK:] = some[:-count]
        return [folder for folder in reversed(some[-count:]) if _is_to_be_measured(folder)]

    def first(self) -> Folder | None:
        """Which is next, or none."""
        if not self._is_sorted:
            self._folders.sort(key=lambda folder: folder.last_used(), reverse=True)
            self._is_sorted = True
        while self._folders and not _is_to_be_measured(self._folders[-1]):
            self._folders.pop()
        return self._folders[-1] if self._folders else None

    def pop(self) -> None:
        """That one is being measured."""
        self._folders.pop()


def _is_to_be_measured(folder: Folder) -> bool:
    return folder.is_counted and not folder.measured_at


class Schedule:
    """Of the roots of one filesystem. Not thread-safe: the survey's thread has it.

    First comes what somebody waits for, then what is new or changed, the least recently used first: that is what would
    go next. Then what is in use, within a budget for all of it.

    Args:
        spec: What it may cost.
        clock: Both clocks.
    """

    def __init__(self, spec: MeasureSpec, clock: Clock) -> None:
        self._clock = clock
        self._due: dict[Target, Due] = {}
        self._queue: list[tuple[float, int, Target]] = []
        self._ready: list[tuple[float, int, Target]] = []
        self._first_scans: dict[Root, FirstScan] = {}
        self._wanted: dict[Target, None] = {}
        self._in_use: Budget[Target] = Budget(spec.leased_entries_per_second, clock)
        self._paid: dict[Target, int] = {}  # what turns of those that are in use have cost
        self._numbers = itertools.count()

    def want(self, target: Target) -> None:
        """Somebody waits for its size."""
        self._wanted[target] = None

    def is_new(self, target: Target) -> None:
        """It has arrived, or was there at the start: that one is whole."""
        folder = target.folder
        if folder is not None and folder.arrived_at is None and not folder.measured_at:
            self._first_scans.setdefault(target.root, FirstScan()).add(folder)
        else:
            self._put(target, 0.0 if folder is None or folder.arrived_at is None else ARRIVED_SECONDS)

    def changes(self, target: Target) -> None:
        """It has changed, and may go on changing; or its last lease has ended."""
        self._put(target, QUIET_SECONDS)

    def was_measured(self, target: Target, entries: int) -> None:
        """It was, and has so many entries; what is in use is measured again."""
        paid, folder = self._paid.pop(target, None), target.folder
        if folder is not None and folder.leases:
            self._in_use.charge(target, 0 if paid is None else entries - paid)
            self._put(target, GROWING_SECONDS)

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for the next one."""
        return bool(self._wanted)

    def next(self) -> Target | None:
        """What is to be measured now, or none; it is there no longer."""
        self._ripen()
        if self._wanted:
            target = next(iter(self._wanted))
            del self._wanted[target]
            return target
        return self._next_ready() or self._in_use.take()

    def could_not_be_measured(self, target: Target) -> None:
        """It could not; it is tried again when it has changed, or by the sweep."""
        self._paid.pop(target, None)

    def take_all(self) -> list[Target]:
        """What is new or changed and due now, in the same order, some thousands at most; it is there no longer."""
        found: list[Target] = []
        while len(found) < MOST_AT_ONCE and (target := self._next_ready()) is not None:
            found.append(target)
        return found

    def take_some(self, count: int) -> list[Target]:
        """Some of a first scan that is large, though there may be more to come; they are there no longer."""
        for root, scan in self._first_scans.items():
            if len(scan) >= LARGE_SCAN:
                return [Target(root, folder.name) for folder in scan.some(count)]
        return []

    def next_at(self) -> float:
        """When there is something to be measured (monotonic); infinity if nothing is."""
        if self._wanted or self._ready or any(scan.first() is not None for scan in self._first_scans.values()):
            return self._clock.monotonic()
        return min(self._queue[0][0] if self._queue else float("inf"), self._in_use.next_at())

    def _next_ready(self) -> Target | None:
        """Of what is new or changed and due now that which was used least recently; it is there no longer."""
        heads = [(folder, root) for root, scan in self._first_scans.items() if (folder := scan.first()) is not None]
        folder, root = min(heads, key=lambda head: head[0].last_used(), default=(None, None))
        if folder is None or root is None or (self._ready and self._ready[0][0] < folder.last_used()):
            return heapq.heappop(self._ready)[-1] if self._ready else None
        self._first_scans[root].pop()
        return Target(root, folder.name)

    def _put(self, target: Target, delay_seconds: float) -> None:
        """Measure it after so long; what was to come earlier is put off while it changes, but not for ever."""
        monotonic, before = self._clock.monotonic(), self._due.get(target)
        latest = monotonic + max(delay_seconds, GROWING_SECONDS) if before is None else before.latest
        due = Due(min(monotonic + delay_seconds, latest), latest)
        self._due[target] = due
        heapq.heappush(self._queue, (due.at, next(self._numbers), target))

    def _ripen(self) -> None:
        """Sort in what has become due: what is in use and known waits for its turn in the budget."""
        monotonic = self._clock.monotonic()
        while self._queue and self._queue[0][0] <= monotonic:
            at, _, target = heapq.heappop(self._queue)
            due = self._due.get(target)
            if due is None or due.at != at:
                continue
            del self._due[target]
            folder = target.folder
            if folder is not None and folder.leases and folder.measured_at:
                self._paid[target] = folder.inodes
                self._in_use.ask(target, folder.inodes)
                continue
            self._in_use.forget(target)
            self._paid.pop(target, None)
            if folder is not None:
                heapq.heappush(self._ready, (folder.last_used(), next(self._numbers), target))

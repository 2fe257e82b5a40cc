"""A root, open: where it lies, what it is configured to be, and whoever sees to a part of it.

What is known of its folders is its census; that it is found on disk is due to its finder and to reconciling. Who may
act on it is settled in its custody, and what stays in its restraints.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gcsidecar.cache.approach import open_root
from gcsidecar.cache.chronicle import Chronicle
from gcsidecar.cache.custody import Course, Custody
from gcsidecar.cache.errors import RootUnavailableError
from gcsidecar.cache.eviction.protocol import no_step, no_wait
from gcsidecar.cache.eviction.removal import never
from gcsidecar.cache.filesystem import filesystem_of
from gcsidecar.cache.folders.adoption import Adoption
from gcsidecar.cache.folders.census import Census
from gcsidecar.cache.folders.finder import Finder
from gcsidecar.cache.folders.hearers import NO_WATCH, Watch
from gcsidecar.cache.folders.listing import FolderGlob
from gcsidecar.cache.folders.reconciling import Reconciling
from gcsidecar.cache.jumps import Jumps
from gcsidecar.cache.restraints import Restraints
from gcsidecar.cache.use.guards import Guards
from gcsidecar.cache.use.lease import LeasePatterns
from gcsidecar.cache.use.lookout import Lookout
from gcsidecar.cache.use.open_files import OpenFiles
from gcsidecar.gc.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gcsidecar.cache.folders.tally import RootTally
    from gcsidecar.cache.regrets import Regret
    from gcsidecar.cache.spec import RootSpec
    from gcsidecar.cache.use.verdict import Reaped
    from gcsidecar.gc.source import SourceTracker


def _unheard(*_values: object) -> None:
    """Nobody wants to know."""


class Root:
    """One root, open.

    Args:
        spec: What it is configured to be.
        tracker: Whom it gives its folders.
        clock: Both clocks.
        dry_run: Whether nothing may be created, reaped, recovered or evicted.
        stop: Whether the process is to end.
        watch: Watches the folders for hints.
        wait: Waits so many seconds, or until the process is to end.
        step: Told each step of the eviction protocol.
        regretted: Told of each folder that came back after its eviction; in whatever thread found it.
        reaped: Told of each lease that was removed, since it had ended; in whatever thread found it.
        said: Told what becomes of its history: an event's name, and a problem.
        wake: Called when its history has told what it knows of folders, or is awaited no longer; in any thread.
        open_files: Tells what processes have open, where the spec asks for it.

    Raises:
        RootUnavailableError: It can't be opened; try again later.
    """

    def __init__(
        self,
        spec: RootSpec,
        tracker: SourceTracker,
        *,
        clock: Clock = SYSTEM_CLOCK,
        dry_run: bool = False,
        stop: Callable[[], bool] = never,
        watch: Watch = NO_WATCH,
        wait: Callable[[float], object] = no_wait,
        step: Callable[[str], None] = no_step,
        regretted: Callable[[Regret], object] = _unheard,
        reaped: Callable[[Reaped], object] = _unheard,
        said: Callable[[str, str], object] = _unheard,
        wake: Callable[[], object] = _unheard,
        open_files: OpenFiles | None = None,
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.priority = spec.priority
        self.min_age_seconds = float(spec.min_age)
        self.max_idle_seconds = None if spec.max_idle is None else float(spec.max_idle)
        self.reaped = reaped
        self._watch = watch
        self.fd = _open(spec.path)
        if spec.last_used == "atime" and os.fstatvfs(self.fd).f_flag & os.ST_NOATIME:
            os.close(self.fd)
            raise RootUnavailableError(
                f"{spec.path} is mounted noatime, so reading leaves no trace; set last_used: mtime"
            )
        status = os.fstat(self.fd)
        self._identity = (status.st_dev, status.st_ino)
        try:
            self.filesystem = filesystem_of(self.fd, status.st_dev)
        except OSError as error:
            os.close(self.fd)
            raise RootUnavailableError(f"{spec.path}: {error.strerror}; it is tried again") from error
        self.in_memory = self.filesystem.in_memory
        self.patterns = LeasePatterns(spec.lease.files)
        self.glob = FolderGlob(spec.folders, self.patterns)
        self.lookout = Lookout(self, clock)
        guards = Guards(spec, self.fd, open_files or OpenFiles(clock), clock)
        self.jumps = Jumps(clock)
        self.custody: Custody = Custody(self, guards, Course(stop, wait, step), clock, dry_run=dry_run)
        self.chronicle: Chronicle = Chronicle(spec, regretted=regretted, said=said, wake=wake, clock=clock)
        if not dry_run:
            self.chronicle.expect(self.fd)
        self.census: Census = Census(self, tracker, watch, self.chronicle, clock)
        self.restraints = Restraints(self, guards, clock, dry_run=dry_run)
        self.finder = Finder(self, self.census, watch, clock)
        self.reconciling = Reconciling(self, self.census, self.finder, watch)
        self.adoption = Adoption(self, self.census, self.finder, self.reconciling, watch)

    def close(self) -> None:
        """Let go of everything; nobody is given its folders any more."""
        self.chronicle.end()  # before: that the folders are forgotten now is no departure of theirs
        self.census.clear()
        self.custody.close()
        os.close(self.fd)

    def check(self) -> None:
        """See that the path still leads here.

        Raises:
            RootUnavailableError: It was unmounted, removed or replaced.
        """
        try:
            found = os.stat(self.spec.path)
        except OSError as error:
            raise RootUnavailableError(f"{self.spec.path}: {error.strerror}") from error
        if (found.st_dev, found.st_ino) != self._identity:
            raise RootUnavailableError(f"{self.spec.path} is another directory now")

    def capacity_bytes(self) -> int:
        """Of the filesystem, or of the root where it has a budget of its own."""
        try:
            found = os.fstatvfs(self.fd)
        except OSError:
            return 0
        capacity = found.f_blocks * found.f_frsize
        return capacity if self.spec.max_size is None else min(capacity, self.spec.max_size)

    def look_at_clock(self) -> float:
        """See whether the calendar's clock has jumped, so that no age and no idle time changes by that.

        Returns:
            By how many seconds it did; 0 for what it may have been slewed by.
        """
        return self.jumps.look(self.census.clock_jumped)

    def used_bytes(self) -> int:
        """What it takes of a budget: all measured folders, and `.gcsidecar/` with what lies in it."""
        return self.census.known_bytes + self.custody.own_bytes()

    def tally(self) -> RootTally:
        """The totals of its folders, and the largest of them."""
        return self.census.tally(self.custody.own_bytes())

    def want_sizes(self, names: Iterable[str]) -> None:
        """Have these folders, or what lies apart under such a path, measured before all else; returns at once."""
        for name in names:
            self._watch.wanted(name)


def _open(path: str) -> int:
    try:
        return open_root(path)
    except FileNotFoundError as error:
        raise RootUnavailableError(f"{path} is not there (yet); it is tried again") from error
    except OSError as error:
        raise RootUnavailableError(f"{path} can't be opened: {error.strerror}; it is tried again") from error

"""A root: the way to act on it, one sidecar at a time, and what it is configured to hold back.

What is known of its folders is its census; how one is taken away is the protocol of `eviction/`.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from gcsidecar.cache.approach import open_root
from gcsidecar.cache.chronicle import Chronicle
from gcsidecar.cache.errors import RemovalError, RootUnavailableError, StateDirectoryError
from gcsidecar.cache.eviction.protocol import IMMOVABLE, Ground, evict, no_step, no_wait
from gcsidecar.cache.eviction.recovery import Recovered, Recovery
from gcsidecar.cache.eviction.removal import never
from gcsidecar.cache.eviction.state import StateDirectory
from gcsidecar.cache.filesystem import filesystem_of
from gcsidecar.cache.folders.census import Census
from gcsidecar.cache.folders.hearers import NO_WATCH, Watch
from gcsidecar.cache.folders.tally import State
from gcsidecar.cache.mounts import Mounts
from gcsidecar.cache.names import shown
from gcsidecar.cache.obstacles import LOWER
from gcsidecar.cache.use.guards import Guards
from gcsidecar.cache.use.lease import LeasePatterns
from gcsidecar.cache.use.open_files import OpenFiles
from gcsidecar.cache.walking.look import AT_WORK, Looks
from gcsidecar.contract import CONTRACT_VERSION, STATE_DIRECTORY
from gcsidecar.errors import GcsidecarError
from gcsidecar.gc.clock import SYSTEM_CLOCK, Clock
from gcsidecar.gc.errors import DisposableInUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.folders.tally import RootTally
    from gcsidecar.cache.regrets import Regret
    from gcsidecar.cache.spec import RootSpec
    from gcsidecar.cache.use.verdict import Reaped
    from gcsidecar.cache.walking.look import Look
    from gcsidecar.cache.walking.sizes import TreeSize
    from gcsidecar.gc.source import SourceTracker

STANDBY = "standby"
# By less a clock is slewed, or whoever reads both of them is held up in between.
JUMP_SECONDS = 2.0


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
        self._clock, self._dry_run = clock, dry_run
        self._stop, self._wait, self._step, self._watch = stop, wait, step, watch
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
        self._guards = Guards(spec, self.fd, open_files or OpenFiles(clock), clock)
        self._looks = Looks(spec, self.fd, self.patterns, clock)
        self._looked_at = (clock.time(), clock.monotonic())
        self._newest: tuple[int, frozenset[str]] = (-1, frozenset())
        self.chronicle = Chronicle(spec, regretted=regretted, said=said, wake=wake, clock=clock)
        if not dry_run:
            self.chronicle.expect(self.fd)
        self.census = Census(self, tracker, watch, self.chronicle, clock)
        self.parked: frozenset[str] = frozenset()
        self.condemned = 0
        self._mounts = Mounts(self.fd)
        self._state: StateDirectory | None = None
        self._recovery: Recovery | None = None
        self.active = False

    def close(self) -> None:
        """Let go of everything; nobody is given its folders any more."""
        self.chronicle.end()  # before: that the folders are forgotten now is no departure of theirs
        self.census.clear()
        self._let_go_of_state()
        self._mounts.close()
        os.close(self.fd)

    def _let_go_of_state(self) -> None:
        """Act on this root no longer."""
        self.chronicle.end()
        if self._state is not None:
            self._state.close()
        self._state, self._recovery, self.active = None, None, False

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

    def activate(self, about: Mapping[str, object]) -> bool:
        """Become the one that acts on this root; False where another sidecar is, or with `dry_run`.

        Raises:
            StateDirectoryError: `.gcsidecar/` can't be made.
        """
        if self._dry_run or self.active:
            return self.active
        try:
            if self._state is None:
                patterns = {"folders": self.spec.folders, "lease_files": list(self.spec.lease.files)}
                self._state = StateDirectory(self.fd, {"contract": CONTRACT_VERSION, **about, **patterns})
            self.active = self._state.lock()
        finally:
            if not self.active:
                self.chronicle.stand_by()
        if self.active:
            ttl, lookout = float(self.spec.lease.parked_ttl), self.census.lookout
            self._recovery = Recovery(self._ground(), self.patterns, lookout, self._guards, ttl, self._clock)
            self.chronicle.begin(self._state.fd, self.census, self._capacity_bytes())
            self.census.changed()
            self.census.look_at_dead()
        return self.active

    def recover(self) -> Recovered:
        """Deal with what lies in `.gcsidecar/`, and see that there is room in it; only while active.

        Raises:
            OSError: It can't be read.
            StateDirectoryError: There is no room in it.
        """
        if self._recovery is None or self._state is None:
            return Recovered()
        if not self._state.is_in_place():
            self._let_go_of_state()
            raise StateDirectoryError(f"{STATE_DIRECTORY}/ was moved or replaced; it is opened anew")
        # Before: once a folder is back under its name, another thread may see it.
        self.chronicle.comes_back(self._state.evicting.entries())
        recovered = self._recovery.run()
        parked = frozenset(recovered.parked)
        if parked != self.parked:
            self.parked = parked
            self.census.changed()
        self.condemned = len(recovered.remaining)
        self._state.prepare()
        self._state.evicting.trim()
        self._state.condemned.trim()
        self._look_apart(tried=recovered.tried)
        return recovered

    def may_recover(self) -> bool:
        """Whether there may be something to be done at once: a lease in a parked folder is held no longer."""
        return bool(self.parked) and self.census.lookout.has_parked_let_go()

    def _capacity_bytes(self) -> int:
        """Of the filesystem, or of the root where it has a budget of its own."""
        try:
            found = os.fstatvfs(self.fd)
        except OSError:
            return 0
        capacity = found.f_blocks * found.f_frsize
        return capacity if self.spec.max_size is None else min(capacity, self.spec.max_size)

    def _ground(self) -> Ground:
        assert self._state is not None
        return Ground(
            self.fd,
            self._state,
            self._reason,
            self._mounts.is_below,
            float(self.spec.lease.settle) if self.filesystem.is_shared else 0.0,
            self._wait,
            self._stop,
            self._step,
        )

    def _reason(self, folder_fd: int, name: str) -> str | None:
        """Why a folder has to stay, looked at now."""
        folder, status = self.census.get(name), os.fstat(folder_fd)
        if folder is not None and folder.identity != (status.st_dev, status.st_ino):
            return "changed"  # what was decided on was another folder, and not as young as this one
        try:
            leases = self.census.lookout.look_and_reap(folder_fd, name)
            return "leased" if leases.holding else self._guards.reason(folder_fd, name)
        except OSError:
            return "unreadable"

    def evict(self, folder: Folder) -> None:
        """Take a folder away by the protocol.

        Raises:
            DisposableInUseError: It stays, with the reason.
            EvictionError: It could not be moved.
            RemovalError: It is gone from its place, but not all of it could be deleted.
        """
        self._expect_place()
        inode, known_bytes = folder.identity[1], folder.disk_bytes
        try:
            with self.census.evicting(folder):
                removal = evict(self._ground(), folder.name)
        except GcsidecarError as error:
            if isinstance(error, DisposableInUseError) and error.reason == IMMOVABLE:
                self.census.obstructed(folder, f".: {LOWER}")  # and will be: it is tried again only once measured
            if self.census.get(folder.name) is not folder and known_bytes is not None:  # it may be parked
                self._look_apart({inode: known_bytes})
            raise
        self.take_ballast()
        if removal.complete:
            return
        self.condemned += 1
        self._look_apart()
        if removal.failures:
            raise RemovalError(
                f"{self.name}/{shown(folder.name)}: {removal.failed} entries can't be deleted, the first is "
                f"{removal.failures[0]}; what is left lies in {STATE_DIRECTORY}/condemned/ and is tried again"
            )

    def take_ballast(self) -> None:
        """Have again what was given up for a rename on a full disk, before others take all that came back."""
        if self._state is not None and self.active:
            self._state.take_ballast()

    def _expect_place(self) -> None:
        """See that the root is where the config says, and ours to evict from; asked before each eviction."""
        if not self.active or self._state is None:
            raise DisposableInUseError(f"{self.name} is not ours to evict from", reason=STANDBY)
        try:
            self.check()
        except RootUnavailableError as error:
            raise DisposableInUseError(str(error), reason="gone") from error
        if not self._state.is_in_place():
            raise DisposableInUseError(f"{self.name}: {STATE_DIRECTORY}/ is not what it was", reason=STANDBY)

    def look(self, folder: Folder) -> Look | None:
        """Look at it before it goes; none where what is known is not too old for that, or where it can't be looked at.

        For what that is, the protocol meets as well, and says it.
        """
        if not self._looks.is_due(folder):
            return None
        with contextlib.suppress(OSError):
            found = self._looks.look(folder)
            if found.is_whole:
                self.census.measured(folder, found.size, found.at)
            return found
        return None

    def released(self, name: str) -> None:
        """A folder has no lease any more: what was changed in it before was its holder's work."""
        self._looks.released(name)

    def holds_back(self, folder: Folder) -> str | None:
        """Why the root keeps it: another sidecar acts here, a parked folder has its name, or it is of the newest.

        While it isn't known yet when it arrived, it may be young. What was seen to be in use a moment ago isn't tried,
        nor is that where somebody was at work.
        """
        if not self.active and not self._dry_run:
            return STANDBY
        if folder.name in self.parked:
            return "parked"
        if self.chronicle.may_be_young(folder):
            return State.YOUNG
        if self._looks.at_work_until(folder.name) > self._clock.time():
            return AT_WORK
        return "newest" if folder.name in self._newest_names() else self._guards.holds_back(folder.name)

    def held_until(self, folder: Folder, reason: str) -> float | None:
        """When to look again at what it holds back, POSIX seconds; none: that shows otherwise."""
        return (
            self._looks.at_work_until(folder.name) if reason == AT_WORK else self._guards.ends_at(folder.name, reason)
        )

    def _newest_names(self) -> frozenset[str]:
        if not self.spec.keep_newest:
            return frozenset()
        version, names = self._newest
        if version != self.census.version:
            version = self.census.version
            names = frozenset(folder.name for folder in self.census.newest())
            self._newest = (version, names)
        return names

    def used_bytes(self) -> int:
        """What it takes of a budget: all measured folders, and `.gcsidecar/` with what lies in it."""
        return self.census.known_bytes + (self._state.own_bytes() if self._state is not None else 0)

    def tally(self) -> RootTally:
        """The totals of its folders, and the largest of them."""
        return self.census.tally(self._state.own_bytes() if self._state is not None else 0)

    def want_sizes(self, names: Iterable[str]) -> None:
        """Have these folders, or what lies apart under such a path, measured before all else; returns at once."""
        for name in names:
            self._watch.wanted(name)

    def growing_apart(self) -> list[str]:
        """Paths of what lies apart, and whose holders may still write in it."""
        return self._state.apart.parked() if self._state is not None else []

    def measured_apart(self, path: str, size: TreeSize) -> None:
        """Take in the size of what lies apart."""
        if self._state is not None:
            self._state.apart.measured(path, size.disk_bytes)
            self.census.changed()

    def _look_apart(self, known: Mapping[int, int] | None = None, *, tried: Collection[str] = ()) -> None:
        if self._state is not None:
            with contextlib.suppress(OSError):  # what was known stays, and the next recovery says what is wrong
                self._state.apart.look(known, tried=tried)
            self.want_sizes(self._state.apart.unknown())

    def trusted_now(self, now: float) -> float:
        """The time, but never ahead of the clock that doesn't jump: a clock jump must not empty a cache."""
        time_then, monotonic_then = self._looked_at
        return min(now, time_then + self._clock.monotonic() - monotonic_then)

    def look_at_clock(self) -> float:
        """See whether the calendar's clock has jumped, so that no age and no idle time changes by that.

        Returns:
            By how many seconds it did; 0 for what it may have been slewed by.
        """
        (time_then, monotonic_then), now = self._looked_at, self._clock.time()
        monotonic = self._clock.monotonic()
        jumped = (now - time_then) - (monotonic - monotonic_then)
        if abs(jumped) < JUMP_SECONDS:
            jumped = 0.0
        else:
            self.census.clock_jumped(jumped)
        self._looked_at = (now, monotonic)
        return jumped


def _open(path: str) -> int:
    try:
        return open_root(path)
    except FileNotFoundError as error:
        raise RootUnavailableError(f"{path} is not there (yet); it is tried again") from error
    except OSError as error:
        raise RootUnavailableError(f"{path} can't be opened: {error.strerror}; it is tried again") from error

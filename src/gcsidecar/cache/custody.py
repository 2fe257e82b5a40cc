"""The custody of a root: that this sidecar acts on it, and no other; it evicts, and looks after `.gcsidecar/`.

How one folder is taken away is the protocol of `eviction/`; which one, the planner has decided.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from gcsidecar.cache.errors import RemovalError, RootUnavailableError, StateDirectoryError
from gcsidecar.cache.eviction.protocol import IMMOVABLE, Ground, evict, no_step, no_wait
from gcsidecar.cache.eviction.recovery import Recovered, Recovery
from gcsidecar.cache.eviction.removal import never
from gcsidecar.cache.eviction.state import StateDirectory
from gcsidecar.cache.mounts import Mounts
from gcsidecar.cache.names import shown
from gcsidecar.cache.obstacles import LOWER
from gcsidecar.contract import CONTRACT_VERSION, STATE_DIRECTORY
from gcsidecar.errors import GcsidecarError
from gcsidecar.gc.errors import DisposableInUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.root import Root
    from gcsidecar.cache.use.guards import Guards
    from gcsidecar.cache.walking.sizes import TreeSize
    from gcsidecar.gc.clock import Clock

STANDBY = "standby"


class Course(NamedTuple):
    """How evictions and recoveries go along.

    Attributes:
        stop: Whether the process is to end.
        wait: Waits so many seconds, or until the process is to end.
        step: Told each step of the eviction protocol.
    """

    stop: Callable[[], bool] = never
    wait: Callable[[float], object] = no_wait
    step: Callable[[str], None] = no_step


class Custody:
    """Of one root.

    Args:
        root: Which.
        guards: What beside leases shows that a folder is in use.
        course: How it goes along.
        clock: Both clocks.
        dry_run: Whether it never begins.

    Attributes:
        active: Whether it has begun.
        parked: Names of folders that can't go back yet.
        condemned: How many could not be deleted whole, as of the last recovery and evictions since.
    """

    def __init__(self, root: Root, guards: Guards, course: Course, clock: Clock, *, dry_run: bool) -> None:
        self._root, self._guards, self._course, self._clock, self._dry_run = root, guards, course, clock, dry_run
        self._mounts = Mounts()
        self._state: StateDirectory | None = None
        self._recovery: Recovery | None = None
        self.active = False
        self.parked: frozenset[str] = frozenset()
        self.condemned = 0

    def close(self) -> None:
        """Let go of everything."""
        self.end()
        self._mounts.close()

    def end(self) -> None:
        """Act on this root no longer."""
        self._root.chronicle.end()
        if self._state is not None:
            self._state.close()
        self._state, self._recovery, self.active = None, None, False

    # Who acts

    def activate(self, about: Mapping[str, object]) -> bool:
        """Become the one that acts on this root; False where another sidecar is, or with `dry_run`.

        Raises:
            StateDirectoryError: `.gcsidecar/` can't be made.
        """
        if self._dry_run or self.active:
            return self.active
        root, spec = self._root, self._root.spec
        try:
            if self._state is None:
                patterns = {"folders": spec.folders, "lease_files": list(spec.lease.files)}
                self._state = StateDirectory(root.fd, {"contract": CONTRACT_VERSION, **about, **patterns})
            self.active = self._state.lock()
        finally:
            if not self.active:
                root.chronicle.stand_by()
        if self.active:
            ttl_seconds = float(spec.lease.parked_ttl)
            self._recovery = Recovery(
                self.ground(), root.patterns, root.lookout, self._guards, ttl_seconds, self._clock
            )
            root.chronicle.begin(self._state.fd, root.census, root.adoption, root.capacity_bytes())
            root.census.changed()
            root.finder.look_at_dead()
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
            self.end()
            raise StateDirectoryError(f"{STATE_DIRECTORY}/ was moved or replaced; it is opened anew")
        # Before: once a folder is back under its name, another thread may see it.
        self._root.chronicle.comes_back(self._state.evicting.entries())
        recovered = self._recovery.run()
        parked = frozenset(recovered.parked)
        if parked != self.parked:
            self.parked = parked
            self._root.census.changed()
        self.condemned = len(recovered.remaining)
        self._state.prepare()
        self._state.evicting.trim()
        self._state.condemned.trim()
        self._look_apart(tried=recovered.tried)
        return recovered

    def may_recover(self) -> bool:
        """Whether there may be something to be done at once: a lease in a parked folder is held no longer."""
        return bool(self.parked) and self._root.lookout.has_parked_let_go()

    # One folder goes

    def evict(self, folder: Folder) -> None:
        """Take a folder away by the protocol.

        Raises:
            DisposableInUseError: It stays, with the reason.
            EvictionError: It could not be moved.
            RemovalError: It is gone from its place, but not all of it could be deleted.
        """
        self._expect_place()
        census, inode, known_bytes = self._root.census, folder.identity[1], folder.disk_bytes
        try:
            with self._root.finder.evicting(folder):
                removal = evict(self.ground(), folder.name)
        except GcsidecarError as error:
            if isinstance(error, DisposableInUseError) and error.reason == IMMOVABLE:
                census.obstructed(folder, f".: {LOWER}")  # and will be: it is tried again only once measured
            if census.get(folder.name) is not folder and known_bytes is not None:  # it may be parked
                self._look_apart({inode: known_bytes})
            raise
        self.take_ballast()
        if removal.complete:
            return
        self.condemned += 1
        self._look_apart()
        if removal.failures:
            raise RemovalError(
                f"{self._root.name}/{shown(folder.name)}: {removal.failed} entries can't be deleted, the first is "
                f"{removal.failures[0]}; what is left lies in {STATE_DIRECTORY}/condemned/ and is tried again"
            )

    def take_ballast(self) -> None:
        """Have again what was given up for a rename on a full disk, before others take all that came back."""
        if self._state is not None and self.active:
            self._state.take_ballast()

    def ground(self) -> Ground:
        """Where evictions take place; only while there is a `.gcsidecar/`."""
        assert self._state is not None
        return Ground(
            self._root.fd,
            self._state,
            self._reason,
            self._mounts.is_below,
            float(self._root.spec.lease.settle) if self._root.filesystem.is_shared else 0.0,
            self._course.wait,
            self._course.stop,
            self._course.step,
        )

    def _reason(self, folder_fd: int, name: str) -> str | None:
        """Why a folder has to stay, looked at now."""
        folder, status = self._root.census.get(name), os.fstat(folder_fd)
        if folder is not None and folder.identity != (status.st_dev, status.st_ino):
            return "changed"  # what was decided on was another folder, and not as young as this one
        try:
            leases = self._root.lookout.look_and_reap(folder_fd, name)
            return "leased" if leases.holding else self._guards.reason(folder_fd, name)
        except OSError:
            return "unreadable"

    def _expect_place(self) -> None:
        """See that the root is where the config says, and ours to evict from; asked before each eviction."""
        name = self._root.name
        if not self.active or self._state is None:
            raise DisposableInUseError(f"{name} is not ours to evict from", reason=STANDBY)
        try:
            self._root.check()
        except RootUnavailableError as error:
            raise DisposableInUseError(str(error), reason="gone") from error
        if not self._state.is_in_place():
            raise DisposableInUseError(f"{name}: {STATE_DIRECTORY}/ is not what it was", reason=STANDBY)

    # What lies apart

    def own_bytes(self) -> int:
        """What `.gcsidecar/` takes, with what lies in it."""
        return self._state.own_bytes() if self._state is not None else 0

    def growing_apart(self) -> list[str]:
        """Paths of what lies apart, and whose holders may still write in it."""
        return self._state.apart.parked() if self._state is not None else []

    def measured_apart(self, path: str, size: TreeSize) -> None:
        """Take in the size of what lies apart."""
        if self._state is not None:
            self._state.apart.measured(path, size.disk_bytes)
            self._root.census.changed()

    def _look_apart(self, known: Mapping[int, int] | None = None, *, tried: Collection[str] = ()) -> None:
        if self._state is not None:
            with contextlib.suppress(OSError):  # what was known stays, and the next recovery says what is wrong
                self._state.apart.look(known, tried=tried)
            self._root.want_sizes(self._state.apart.unknown())

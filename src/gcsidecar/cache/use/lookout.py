"""The lookout for leases: finds those of a folder, has them judged, and does what is left to do where one has ended.

What is known of folders is the census's.
"""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from gcsidecar.cache.spec import LeaseSpec
from gcsidecar.cache.use.liveness import Liveness
from gcsidecar.cache.use.reaping import Fate, reap
from gcsidecar.cache.use.verdict import Leases, Reaped

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from gcsidecar.cache.custody import Custody
    from gcsidecar.cache.filesystem import Filesystem
    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.spec import RootSpec
    from gcsidecar.cache.use.lease import LeasePatterns
    from gcsidecar.gc.clock import Clock


# A look at all locks takes so small a part of the time at most, however often it is asked for.
COST_FACTOR = 100.0


class LookoutHome(Protocol):
    """What the lookout needs of its root."""

    fd: int
    name: str
    spec: RootSpec
    filesystem: Filesystem
    patterns: LeasePatterns
    custody: Custody
    reaped: Callable[[Reaped], object]


class Lookout:
    """For one root.

    Args:
        root: Whose.
        clock: Both clocks.
    """

    def __init__(self, root: LookoutHome, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        real = root.filesystem.locks_are_real
        self._liveness = Liveness(root.spec.lease, locks_are_real=real, clock=clock)
        # In a parked folder a bare lease is out of its holder's reach: only `lease.parked_ttl` ends it.
        self._parked = Liveness(LeaseSpec(), locks_are_real=real, clock=clock)
        self._asked_at, self._asked_seconds = -math.inf, 0.0

    def look(self, folder_fd: int, name: str, *, beside: bool = True) -> Leases:
        """The leases of a folder now; those `beside` it, too, unless it is known that there are none.

        Raises:
            OSError: They can't be looked at: then it is in use.
        """
        patterns = self._root.patterns
        found = [*patterns.inside(folder_fd), *(patterns.beside(self._root.fd, name) if beside else ())]
        return self._liveness.judge(name, folder_fd, found)

    def look_and_reap(self, folder_fd: int, name: str, *, beside: bool = True) -> Leases:
        """The same, with those that have ended reaped, if this sidecar acts on the root.

        Raises:
            OSError: They can't be looked at: then it is in use.
        """
        return self._reap(folder_fd, name, self.look(folder_fd, name, beside=beside))

    def look_after(self, fd: int, name: str, known: Folder | None, *, beside: bool) -> Leases | None:
        """The leases of a folder, those that have ended reaped; none where they can't be looked at."""
        try:
            leases = self.look(fd, name, beside=beside)
        except FileNotFoundError:
            raise
        except OSError:
            return None
        left = self._reap(fd, name, leases)
        if known is not None:
            self._note_release_beside(fd, known, leases)
        return left

    def look_at_parked(self, fd: int, name: str, path: str) -> Leases:
        """The leases in a parked folder, those that have ended reaped.

        Args:
            fd: The folder.
            name: What it is called.
            path: Where it lies, from the root.

        Raises:
            OSError: They can't be looked at: then it is in use.
        """
        leases = self._parked.judge(path, fd, self._root.patterns.inside(fd))
        return self._reap(fd, name, leases)

    def may_change(self, folder: Folder) -> bool:
        """Whether its leases may have ended, or be suspect now, with nothing having changed in it."""
        return self._liveness.may_change(folder.name, folder.oldest_lease_at)

    def let_go(self, pause_seconds: float) -> list[str]:
        """Folders with a lease whose lock was held and is no longer; none sooner than so long after the last time.

        It costs so little that holders are found dead at once where it matters, whatever hints there are: the kernel
        tells nobody that a lock was dropped.
        """
        began = self._clock.monotonic()
        if began < self._next_at(pause_seconds):
            return []
        found = self._liveness.let_go(self._root.fd)
        self._asked_at = self._clock.monotonic()
        self._asked_seconds = self._asked_at - began
        return found

    def seconds_to_next(self, pause_seconds: float) -> float:
        """In how many seconds `let_go` looks again; infinity while there is no lock that it would look at."""
        if not self._liveness.knows_locks:
            return math.inf
        return max(0.0, self._next_at(pause_seconds) - self._clock.monotonic())

    def _next_at(self, pause_seconds: float) -> float:
        return self._asked_at + max(pause_seconds, COST_FACTOR * self._asked_seconds)

    def has_parked_let_go(self) -> bool:
        """Whether a lease in a parked folder lost its lock."""
        return bool(self._parked.let_go(self._root.fd))

    def forget(self, name: str) -> None:
        """A folder is gone: so are its leases."""
        self._liveness.forget(name)

    def forget_parked_but(self, paths: Collection[str]) -> None:
        """No other folders are parked now."""
        self._parked.forget_but(paths)

    def _reap(self, fd: int, name: str, leases: Leases) -> Leases:
        """Remove those that have ended; what can't be removed stays among them, and holds nothing."""
        if not leases.ended or not self._root.custody.active:
            return leases
        fates = list(zip(leases.ended, reap(fd, self._root.fd, leases.ended, self._clock.time()), strict=True))
        for ended, fate in fates:
            if fate is Fate.REAPED:
                self._root.reaped(Reaped(self._root.name, name, ended))
        alive = tuple(ended.lease for ended, fate in fates if fate is Fate.ALIVE)
        left = tuple(ended for ended, fate in fates if fate is Fate.LEFT)
        return replace(leases, holding=(*leases.holding, *alive), ended=left)

    def _note_release_beside(self, fd: int, folder: Folder, leases: Leases) -> None:
        """A lease beside the folder left no trace in it: its release is the moment of last use."""
        # One that expired was not released: its holder's last sign of life counts.
        there = (*leases.holding, *(ended.lease for ended in leases.ended))
        if sum(not lease.inside for lease in there) >= folder.beside:
            return
        now = self._clock.time()
        folder.touched_at = now
        if self._root.custody.active:
            with contextlib.suppress(OSError):
                os.utime(fd, (os.fstat(fd).st_atime, now))

"""The lookout for leases: which hold a folder now, which have gone stale, and what is left to do where one has ended.

It sees the disk and judges; what is known of folders is the census's.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gcsidecar.cache.lease import Heartbeats, Lease, LeasePatterns

if TYPE_CHECKING:
    from gcsidecar.cache.folder import Folder
    from gcsidecar.cache.spec import RootSpec
    from gcsidecar.gc.clock import Clock


class LookoutHome(Protocol):
    """What the lookout needs of its root."""

    fd: int
    spec: RootSpec
    patterns: LeasePatterns
    active: bool


@dataclass(frozen=True, slots=True)
class Leases:
    """The leases of one folder, judged.

    Attributes:
        holding: Those that hold it.
        stale: How many of these are stale, and hold it all the same.
        expired: Those that no longer hold it, and are to be reaped.
    """

    holding: tuple[Lease, ...]
    stale: int
    expired: tuple[Lease, ...]


class Lookout:
    """For one root.

    Args:
        root: Whose.
        clock: Both clocks.
    """

    def __init__(self, root: LookoutHome, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._lock = threading.Lock()
        ttl = root.spec.lease.ttl
        self._heartbeats = Heartbeats(ttl) if ttl is not None else None

    @property
    def beats(self) -> bool:
        """Whether leases are kept alive by touching them, which leaves no trace in the folder's own times."""
        return self._heartbeats is not None

    def look(self, folder_fd: int, name: str, *, beside: bool = True) -> Leases:
        """The leases of a folder now; those `beside` it, too, unless it is known that there are none.

        Raises:
            OSError: They can't be looked at: then it is in use.
        """
        patterns = self._root.patterns
        found = [*patterns.inside(folder_fd), *(patterns.beside(self._root.fd, name) if beside else ())]
        if self._heartbeats is None:
            return Leases(tuple(found), 0, ())
        now, monotonic = self._clock.time(), self._clock.monotonic()
        with self._lock:
            stale = self._heartbeats.stale(name, found, now, monotonic)
        if self._root.spec.lease.on_stale == "keep":
            return Leases(tuple(found), len(stale), ())
        return Leases(tuple(lease for lease in found if lease not in stale), 0, tuple(stale))

    def look_after(self, fd: int, name: str, known: Folder | None, *, beside: bool) -> Leases | None:
        """The leases of a folder, those that have expired reaped; none where they can't be looked at."""
        try:
            leases = self.look(fd, name, beside=beside)
        except FileNotFoundError:
            raise
        except OSError:
            return None
        if leases.expired and self._root.active:
            self._reap(fd, leases)
        if known is not None:
            self._note_release_beside(fd, known, leases)
        return leases

    def forget(self, name: str) -> None:
        """A folder is gone: so are its leases."""
        if self._heartbeats is not None:
            with self._lock:
                self._heartbeats.forget(name)

    def _reap(self, fd: int, leases: Leases) -> None:
        """Remove expired leases, and leave the folder as it was last used: by its holder's last sign of life."""
        before = os.fstat(fd)
        ended = [lease for lease in leases.expired if self._end(lease, fd if lease.inside else self._root.fd)]
        if not ended:
            return
        last = max(before.st_mtime_ns, *(int(lease.mtime * 1e9) for lease in ended))
        with contextlib.suppress(OSError):
            os.utime(fd, ns=(before.st_atime_ns, min(last, int(self._clock.time() * 1e9))))

    def _end(self, lease: Lease, dir_fd: int) -> bool:
        """Remove a lease, unless its holder has touched it after all."""
        try:
            if os.stat(lease.path, dir_fd=dir_fd, follow_symlinks=False).st_mtime != lease.mtime:
                return False
            os.unlink(lease.path, dir_fd=dir_fd)
        except OSError:
            return False
        return True

    def _note_release_beside(self, fd: int, folder: Folder, leases: Leases) -> None:
        """A lease beside the folder left no trace in it: its release is the moment of last use."""
        # One that expired was not released: its holder's last sign of life counts.
        beside = sum(not lease.inside for lease in (*leases.holding, *leases.expired))
        if beside >= folder.beside:
            return
        now = self._clock.time()
        folder.touched_at = now
        if self._root.active:
            with contextlib.suppress(OSError):
                os.utime(fd, (os.fstat(fd).st_atime, now))

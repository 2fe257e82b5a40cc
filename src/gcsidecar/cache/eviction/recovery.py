"""What to do with what lies in `.gcsidecar/`, after a crash and ever again: the two listings are the whole log.

In `evicting/` all is whole: it goes back, or is parked until its leases end. In `condemned/` nothing is: it goes.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gcsidecar.cache.eviction.protocol import Ground, condemn, is_named, lock_or_keep, put_back
from gcsidecar.cache.eviction.removal import Removal, remove_tree
from gcsidecar.cache.eviction.slots import EVICTING, Slot, decode
from gcsidecar.cache.use.open_files import is_open_below
from gcsidecar.contract import MARK, STATE_DIRECTORY
from gcsidecar.gc.backoff import Backoff
from gcsidecar.gc.errors import DisposableInUseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsidecar.cache.eviction.removal import RemovalFailure
    from gcsidecar.cache.use.guards import Guards
    from gcsidecar.cache.use.lease import Lease, LeasePatterns
    from gcsidecar.cache.use.lookout import Lookout
    from gcsidecar.gc.clock import Clock

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(slots=True)
class Recovered:
    """What one pass found and did, by the names of folders.

    Attributes:
        restored: Back under their names.
        parked: Kept apart, whole, until their leases end.
        deleted: Gone now.
        remaining: Condemned, and not to be deleted (yet).
        tried: Of these the ones of which some may be deleted now.
        failures: Why not.
    """

    restored: list[str] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    remaining: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    failures: list[tuple[str, RemovalFailure]] = field(default_factory=list)


class Recovery:
    """Recovers one root, again and again; it remembers since when a folder is parked, and which deletion failed.

    Args:
        ground: Where.
        patterns: The root's lease patterns.
        lookout: The root's lookout for leases.
        guards: What beside leases holds a folder there.
        parked_ttl_seconds: When a bare lease in a parked folder ends, after the later of parking and its last touch.
        clock: Both clocks.
    """

    def __init__(
        self,
        ground: Ground,
        patterns: LeasePatterns,
        lookout: Lookout,
        guards: Guards,
        parked_ttl_seconds: float,
        clock: Clock,
    ) -> None:
        self._ground = ground
        self._patterns = patterns
        self._lookout = lookout
        self._guards = guards
        self._parked_ttl = parked_ttl_seconds
        self._clock = clock
        # Of those that are parked now: an inode that was parked before, or another with its number, starts anew.
        self._parked_since: dict[tuple[int, int], float] = {}
        self._seen_parked: set[tuple[int, int]] = set()
        self._looked_at: set[str] = set()
        self._backoff = Backoff()

    def run(self) -> Recovered:
        """Look at everything that lies there once.

        Raises:
            OSError: The state directory can't be read.
        """
        found = Recovered()
        self._seen_parked.clear()
        self._looked_at.clear()
        with self._ground.state.evicting.occupied() as slots:
            for slot in slots:
                if not self._ground.stop():
                    self._whole(slot, found)
        if not self._ground.stop():
            self._parked_since = {key: at for key, at in self._parked_since.items() if key in self._seen_parked}
            self._lookout.forget_parked_but(self._looked_at)
        with self._ground.state.condemned.occupied() as slots:
            for slot in slots:
                if not self._ground.stop():
                    self._condemned(slot, found)
        return found

    def _whole(self, slot: Slot, found: Recovered) -> None:
        name = decode(slot.entry)
        try:
            fd = os.open(slot.entry, _FLAGS, dir_fd=slot.fd)
        except OSError:
            found.parked.append(name)
            return
        try:
            lock_or_keep(fd, name)
            self._ground.step("locked in its slot")
            # Else another sidecar had it until now, and has put it back or condemned it.
            if is_named(slot.fd, slot.entry, fd):
                self._restore_or_condemn(slot, fd, found)
        except (DisposableInUseError, OSError):
            found.parked.append(name)
        finally:
            os.close(fd)

    def _restore_or_condemn(self, slot: Slot, fd: int, found: Recovered) -> None:
        name = decode(slot.entry)
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if mode & MARK:
            os.fchmod(fd, mode & ~MARK)
        if put_back(self._ground, name, slot):
            found.restored.append(name)
        elif self._is_leased(slot, name, fd) or self._guards.reason(fd, name) is not None:
            found.parked.append(name)
        else:
            removal = condemn(self._ground, slot, fd)
            (found.deleted if removal.complete else found.remaining).append(name)

    def _is_leased(self, slot: Slot, name: str, fd: int) -> bool:
        """Whether a parked folder's leases still hold; a bare one inside, which nobody can remove now, ends by time."""
        status, monotonic = os.fstat(fd), self._clock.monotonic()
        key = (status.st_dev, status.st_ino)
        since = self._parked_since.setdefault(key, monotonic)
        self._seen_parked.add(key)
        # An eviction that ended before other hosts' views had settled left the wait to us.
        if monotonic - since < self._ground.settle_seconds or self._patterns.beside(self._ground.root_fd, name):
            return True
        path = f"{STATE_DIRECTORY}/{EVICTING}/{slot.name}/{slot.entry}"
        leases = self._lookout.look_at_parked(fd, name, path)
        if not leases.holding:
            return False
        self._looked_at.add(path)
        if leases.vouched:
            return True
        return not self._has_expired(leases.holding, status.st_ctime, since, monotonic) or is_open_below(fd)

    def _has_expired(self, leases: Sequence[Lease], moved_at: float, since: float, monotonic: float) -> bool:
        last = max(moved_at, *(lease.mtime for lease in leases))
        return self._clock.time() - last > self._parked_ttl and monotonic - since > self._parked_ttl

    def _condemned(self, slot: Slot, found: Recovered) -> None:
        name, monotonic = decode(slot.entry), self._clock.monotonic()
        if slot.name in self._backoff.waiting(monotonic):
            found.remaining.append(name)
            return
        removal = self._delete(slot)
        if removal is not None and removal.complete:
            self._backoff.forget(slot.name)
            found.deleted.append(name)
            return
        found.remaining.append(name)
        if removal is not None:
            found.tried.append(name)
        if removal is not None and not removal.stopped:
            self._backoff.failed(slot.name, monotonic)
            found.failures.extend((name, failure) for failure in removal.failures)

    def _delete(self, slot: Slot) -> Removal | None:
        """Delete what is condemned, under its lock only; none where somebody holds that."""
        try:
            fd = os.open(slot.entry, _FLAGS, dir_fd=slot.fd)
        except OSError:
            # Not a directory, or not readable: the deletion deals with either.
            return remove_tree(slot.fd, slot.entry, stop=self._ground.stop)
        try:
            lock_or_keep(fd, slot.entry)
            return remove_tree(slot.fd, slot.entry, stop=self._ground.stop, dir_fd=fd)
        except DisposableInUseError:
            return None
        finally:
            os.close(fd)

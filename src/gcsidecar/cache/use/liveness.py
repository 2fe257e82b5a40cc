"""Liveness: whether the leases of a folder hold it, judged by their locks where these can be believed, else by time.

In doubt a lease holds. It looks and remembers; what has ended is removed elsewhere.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from gcsidecar.cache.use.lease import version_of
from gcsidecar.cache.use.leasefile import boot_id, holder_of, is_held, opened
from gcsidecar.cache.use.verdict import End, Ended, Leases

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gcsidecar.cache.spec import LeaseSpec
    from gcsidecar.cache.use.lease import Lease
    from gcsidecar.contract import Holder
    from gcsidecar.gc.clock import Clock

# Where there is no `lease.ttl`, a bare lease is suspect once it was untouched for so long.
SUSPECT_SECONDS = 24 * 3600.0


class _Standing(StrEnum):
    """What a lease is that holds its folder, and one that was released while it was looked at."""

    LOCKED = "locked"
    BEATING = "beating"
    BARE = "bare"
    STALE = "stale"
    RELEASED = "released"


@dataclass(slots=True)
class _Seen:
    """What was seen of one lease before.

    Attributes:
        mtime: When it was last touched.
        since: Since when it has been seen with that mtime, by the monotonic clock.
        locked_at: When its lock was last seen held, POSIX seconds; 0 if never.
    """

    mtime: float
    since: float
    locked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at one folder: its descriptor, its device, and both clocks."""

    fd: int
    device: int
    now: float
    monotonic: float


class Liveness:
    """Of the leases of one root. Thread-safe.

    Args:
        spec: How leases end there.
        locks_are_real: Whether a lock on that filesystem is seen by all of its machine, and ends with its holder.
        clock: Both clocks: a jump of the calendar's expires nothing.
    """

    def __init__(self, spec: LeaseSpec, *, locks_are_real: bool, clock: Clock) -> None:
        self._ttl = spec.ttl
        self._expires = spec.ttl is not None and spec.on_stale == "expire"
        self._locks_are_real, self._boot_id = locks_are_real, boot_id()
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, dict[str, _Seen]] = {}
        self._locked: dict[str, tuple[str, ...]] = {}
        self._changing: set[str] = set()

    def judge(self, key: str, folder_fd: int, found: Sequence[Lease]) -> Leases:
        """Judge all leases of a folder, and remember having seen them.

        Args:
            key: The folder's path from the root.
            folder_fd: The folder.
            found: Its leases.

        Raises:
            OSError: One of them can't be looked at; the folder is in use then.
        """
        if not found:
            self.forget(key)
            return Leases()
        look = _Look(folder_fd, os.fstat(folder_fd).st_dev, self._clock.time(), self._clock.monotonic())
        with self._lock:
            known = self._seen.get(key, {})
        seen = {lease.path: _seen_again(known.get(lease.path), lease, look) for lease in found}
        judged = [(lease, self._judged(lease, seen[lease.path], look)) for lease in found]
        locked = tuple(lease.path for lease, standing in judged if standing is _Standing.LOCKED)
        verdict = _verdict(judged)
        with self._lock:
            self._seen[key] = seen
            self._note(key, locked, changing=bool(verdict.vouched or verdict.ended or self._ttl is not None))
        return verdict

    def forget(self, key: str) -> None:
        """A folder is gone, or all its leases are."""
        with self._lock:
            self._seen.pop(key, None)
            self._note(key, (), changing=False)

    def forget_but(self, keys: Collection[str]) -> None:
        """No other folders are left."""
        with self._lock:
            gone = [key for key in self._seen if key not in keys]
        for key in gone:
            self.forget(key)

    def let_go(self, root_fd: int) -> list[str]:
        """Of all folders with a lease whose lock was held those where it isn't now; cheaper than a look at each."""
        with self._lock:
            locked = list(self._locked.items())
        return [key for key, paths in locked if not all(_is_still_held(root_fd, f"{key}/{path}") for path in paths)]

    @property
    def knows_locks(self) -> bool:
        """Whether some lease's lock was held when it was last looked at."""
        return bool(self._locked)

    def may_change(self, key: str, oldest_at: float | None) -> bool:
        """Whether the verdict on a folder may change with nothing having changed in it.

        Args:
            key: The folder.
            oldest_at: When the lease that was touched the longest ago was, POSIX seconds; none without leases.
        """
        suspect = oldest_at is not None and self._clock.time() - oldest_at > SUSPECT_SECONDS
        return suspect or key in self._changing

    def _note(self, key: str, locked: tuple[str, ...], *, changing: bool) -> None:
        if locked:
            self._locked[key] = locked
        else:
            self._locked.pop(key, None)
        (self._changing.add if changing else self._changing.discard)(key)

    def _judged(self, lease: Lease, seen: _Seen, look: _Look) -> _Standing | Ended:
        if lease.version is None:
            return self._by_time(None, lease, seen, look)
        try:
            with opened(look.fd, lease.path) as fd:
                if version_of(os.fstat(fd)) == lease.version:
                    return self._asked(fd, lease, seen, look)
        except FileNotFoundError:
            return _Standing.RELEASED
        except PermissionError:
            return _Standing.STALE if self._is_suspect(lease, seen, look) else _Standing.BARE
        return _Standing.BARE  # touched or replaced this very moment

    def _asked(self, fd: int, lease: Lease, seen: _Seen, look: _Look) -> _Standing | Ended:
        """By its file, which is open."""
        holder = holder_of(fd)
        if holder is not None and holder.locked and self._locks_are_real:
            if is_held(fd):
                seen.locked_at = look.now
                return _Standing.LOCKED
            # Held it is by somebody, wherever he lives; but only on this kernel nobody's lock is nobody.
            if (holder.boot_id, holder.device) == (self._boot_id, look.device):
                return Ended(lease, End.DEAD, holder, max(lease.mtime, seen.locked_at))
        return self._by_time(holder, lease, seen, look)

    def _by_time(self, holder: Holder | None, lease: Lease, seen: _Seen, look: _Look) -> _Standing | Ended:
        alive_at = max(lease.mtime, seen.locked_at)
        if holder is not None and holder.ttl_seconds is not None:
            beats = _quiet_seconds(seen, look) <= holder.ttl_seconds
            return _Standing.BEATING if beats else Ended(lease, End.EXPIRED, holder, alive_at)
        if not self._is_suspect(lease, seen, look):
            return _Standing.BARE
        return Ended(lease, End.EXPIRED, holder, alive_at) if self._expires else _Standing.STALE

    def _is_suspect(self, lease: Lease, seen: _Seen, look: _Look) -> bool:
        if self._ttl is None:
            return look.now - lease.mtime > SUSPECT_SECONDS
        return _quiet_seconds(seen, look) > self._ttl


def _seen_again(known: _Seen | None, lease: Lease, look: _Look) -> _Seen:
    if known is None or known.mtime != lease.mtime:
        return _Seen(lease.mtime, look.monotonic)
    return _Seen(known.mtime, known.since, known.locked_at)


def _quiet_seconds(seen: _Seen, look: _Look) -> float:
    """For how long it was not touched, as both clocks have it."""
    return min(look.now - seen.mtime, look.monotonic - seen.since)


def _is_still_held(root_fd: int, path: str) -> bool:
    try:
        with opened(root_fd, path) as fd:
            return is_held(fd)
    except OSError:
        return False


def _verdict(judged: Sequence[tuple[Lease, _Standing | Ended]]) -> Leases:
    ended = tuple(one for _, one in judged if isinstance(one, Ended))
    holding = [(lease, one) for lease, one in judged if not isinstance(one, Ended) and one is not _Standing.RELEASED]
    return Leases(
        tuple(lease for lease, _ in holding),
        sum(one is _Standing.STALE for _, one in holding),
        sum(one in {_Standing.LOCKED, _Standing.BEATING} for _, one in holding),
        ended,
    )

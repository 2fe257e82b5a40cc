"""Reaping: removes leases that have ended, and leaves the folder as it was last used.

What ended and why is decided before; here is seen to it that nothing else is removed.
"""

from __future__ import annotations

import contextlib
import os
from enum import Enum, auto
from typing import TYPE_CHECKING

from gcsidecar.cache.use.lease import version_of
from gcsidecar.cache.use.leasefile import is_held, opened
from gcsidecar.cache.use.verdict import End

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsidecar.cache.use.lease import Lease
    from gcsidecar.cache.use.verdict import Ended


class Fate(Enum):
    """What became of a lease that was to be reaped."""

    REAPED = auto()
    VANISHED = auto()  # somebody else has removed it
    ALIVE = auto()  # it is not what was judged: its holder gave a sign of life after all, or another has its name
    LEFT = auto()  # it can't be removed


def reap(folder_fd: int, root_fd: int, ended: Sequence[Ended], now: float) -> list[Fate]:
    """Remove leases that have ended; the folder's mtime becomes their holders' last sign of life, if that is newer.

    Where that time couldn't be set, nothing is removed: a folder that counts as used just now would change the order.

    Args:
        folder_fd: The folder, wherever it is now.
        root_fd: The root, for leases beside it.
        ended: Which.
        now: POSIX seconds; no sign of life is later.
    """
    before = os.fstat(folder_fd)
    if os.geteuid() not in {before.st_uid, 0}:
        return [Fate.LEFT] * len(ended)
    fates = [_end(one, folder_fd if one.lease.inside else root_fd) for one in ended]
    signs = [int(one.alive_at * 1e9) for one, fate in zip(ended, fates, strict=True) if fate is Fate.REAPED]
    if signs:
        last = max(before.st_mtime_ns, *signs)
        with contextlib.suppress(OSError):
            os.utime(folder_fd, ns=(before.st_atime_ns, min(last, int(now * 1e9))))
    return fates


def _end(ended: Ended, dir_fd: int) -> Fate:
    try:
        if ended.why is End.DEAD:
            return _end_dead(ended.lease, dir_fd)
        return _unlink(ended.lease, dir_fd)
    except FileNotFoundError:
        return Fate.VANISHED
    except OSError:
        return Fate.LEFT


def _end_dead(lease: Lease, dir_fd: int) -> Fate:
    """With a lock of ours on it: so nobody holds it, from here to the end."""
    with opened(dir_fd, lease.path) as fd:
        return Fate.ALIVE if is_held(fd) else _unlink(lease, dir_fd)


def _unlink(lease: Lease, dir_fd: int) -> Fate:
    """Remove it, if its name still names what was judged."""
    status = os.stat(lease.path, dir_fd=dir_fd, follow_symlinks=False)
    same = status.st_mtime == lease.mtime if lease.version is None else version_of(status) == lease.version
    if not same:
        return Fate.ALIVE
    os.unlink(lease.path, dir_fd=dir_fd)
    return Fate.REAPED

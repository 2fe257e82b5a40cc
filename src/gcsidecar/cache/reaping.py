"""Reaping: removes leases that have ended, and leaves the folder as it was last used.

What ended and why is decided before; here is seen to it that nothing else is removed.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from gcsidecar.cache.lease import version_of
from gcsidecar.cache.leasefile import is_held, opened
from gcsidecar.cache.verdict import End

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsidecar.cache.lease import Lease
    from gcsidecar.cache.verdict import Ended


def reap(folder_fd: int, root_fd: int, ended: Sequence[Ended], now: float) -> list[Ended]:
    """Remove leases that have ended; the folder's mtime becomes their holders' last sign of life, if that is newer.

    Where that time couldn't be set, nothing is removed: a folder that counts as used just now would change the order.

    Args:
        folder_fd: The folder, wherever it is now.
        root_fd: The root, for leases beside it.
        ended: Which.
        now: POSIX seconds; no sign of life is later.

    Returns:
        Those that are gone now.
    """
    before = os.fstat(folder_fd)
    if os.geteuid() not in {before.st_uid, 0}:
        return []
    gone = [one for one in ended if _end(one, folder_fd if one.lease.inside else root_fd)]
    if gone:
        last = max(before.st_mtime_ns, *(int(one.alive_at * 1e9) for one in gone))
        with contextlib.suppress(OSError):
            os.utime(folder_fd, ns=(before.st_atime_ns, min(last, int(now * 1e9))))
    return gone


def _end(ended: Ended, dir_fd: int) -> bool:
    """Remove one lease; False where its holder has touched it after all, or it can't be removed."""
    try:
        if ended.why is End.DEAD:
            return _end_dead(ended.lease, dir_fd)
        return _unlink(ended.lease, dir_fd)
    except OSError:
        return False


def _end_dead(lease: Lease, dir_fd: int) -> bool:
    """With a lock of ours on it: so nobody holds it, from here to the end."""
    with opened(dir_fd, lease.path) as fd:
        if is_held(fd) or version_of(os.fstat(fd)) != lease.version:
            return False
        return _unlink(lease, dir_fd)


def _unlink(lease: Lease, dir_fd: int) -> bool:
    """Remove it, if its name still names what was judged."""
    status = os.stat(lease.path, dir_fd=dir_fd, follow_symlinks=False)
    if status.st_mtime != lease.mtime or lease.version not in {None, version_of(status)}:
        return False
    os.unlink(lease.path, dir_fd=dir_fd)
    return True

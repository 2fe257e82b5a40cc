"""What forbids to delete in a directory, by what it says of itself and by our rights; in the words of the report.

What lies in it is not looked at here; that a deletion fails all the same is for `removal` to report.
"""

from __future__ import annotations

import os
from stat import S_ISVTX

from gcsidecar.cache.syscalls import is_immutable

MOUNTED = "another filesystem is mounted there"
MOVED = "it was moved while it was being measured"
LOWER = "it can't be moved: it lies in a lower layer of an overlay, or under another project quota"
IMMUTABLE = "it is immutable or append-only (chattr)"
FOREIGN_DIRECTORY = "it belongs to another user, and we may not delete in it"
FOREIGN_ENTRY = "it belongs to another user, in a sticky directory that isn't ours"
_CAP_FOWNER = 3  # <linux/capability.h>


def obstacle_in(fd: int) -> str | None:
    """Why nothing could be deleted in an open directory, or none that it tells of.

    Raises:
        OSError: It can't be looked at.
    """
    if is_immutable(fd):
        return IMMUTABLE
    return FOREIGN_DIRECTORY if is_forbidden(fd, os.fstat(fd)) else None


def is_forbidden(fd: int, status: os.stat_result) -> bool:
    """Whether we may not delete in a directory; one of ours may be locked, since its owner can unlock it."""
    return status.st_uid != os.geteuid() and not os.access(".", os.W_OK | os.X_OK, dir_fd=fd, effective_ids=True)


def is_sticky(status: os.stat_result) -> bool:
    """Whether we may delete in a directory what is ours only."""
    return bool(status.st_mode & S_ISVTX) and status.st_uid != os.geteuid() and not _owns_all()


def rights() -> str:
    """All that decides about what is forbidden to us, in a form that can be compared."""
    groups = ",".join(str(group) for group in sorted(os.getgroups()))
    return f"user={os.geteuid()} group={os.getegid()} groups={groups} capabilities={_capabilities():x}"


def _owns_all() -> bool:
    """Whether other people's files count as ours (`CAP_FOWNER`): uid 0 alone doesn't say so, in a container least."""
    return bool(_capabilities() >> _CAP_FOWNER & 1)


def _capabilities() -> int:
    """Those in force; none where that can't be known."""
    try:
        with open("/proc/self/status", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return 0
    effective = next((line.partition(b":")[2] for line in lines if line.startswith(b"CapEff:")), b"0")
    return int(effective, 16)

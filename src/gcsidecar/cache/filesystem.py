"""What is known of a filesystem by its kind: whether its locks are real, who shares it, how late it gives space back.

Facts only, found by trying; nothing is measured here.
"""

from __future__ import annotations

from dataclasses import dataclass

from gcsidecar.cache.syscalls import FILESYSTEM_NAMES, filesystem_type
from gcsidecar.contract import locks_are_real

# Other hosts see these, and a rename here may reach their view late.
_SHARED = frozenset({"nfs", "cifs", "smb2", "smb", "ceph", "fuse", "9p"})
# How late a deletion was seen to come back (btrfs: 15 to 31 s, xfs: within 50 ms), with room to spare. Where it is soon
# that is little: what is waited for in vain a fast writer may take meanwhile.
_RECLAIM_SECONDS = {"btrfs": 45.0, "xfs": 0.25, "zfs": 30.0, "overlay": 1.0}


@dataclass(frozen=True, slots=True)
class Filesystem:
    """One mounted filesystem.

    Attributes:
        device: Its number; roots with the same one share their free space.
        kind: `ext4`, `tmpfs`, ...; the number in hexadecimal where there is no name for it.
        reclaim_seconds: How long it may take to give back what was deleted.
        is_shared: Whether other hosts may see it, whose view of it may lag.
        in_memory: Whether what lies on it is memory.
        locks_are_real: Whether all of this machine sees a lock on it, and the kernel ends it with its holder.
    """

    device: int
    kind: str
    reclaim_seconds: float
    is_shared: bool
    in_memory: bool
    locks_are_real: bool


def filesystem_of(fd: int, device: int) -> Filesystem:
    """The filesystem that an open directory is on.

    Raises:
        OSError: It can't be asked.
    """
    number = filesystem_type(fd)
    kind = FILESYSTEM_NAMES.get(number, f"{number:#x}")
    return Filesystem(
        device,
        kind,
        _RECLAIM_SECONDS.get(kind, 0.0),
        kind in _SHARED,
        kind in {"tmpfs", "ramfs"},
        locks_are_real(kind),
    )

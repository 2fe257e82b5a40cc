"""A lease file of our client, opened: what it says of its holder, and whether somebody holds its lock.

It never waits, follows no link and changes nothing; what the answers mean for a folder is for `liveness.py`.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gcsidecar.cache.syscalls import open_beneath
from gcsidecar.contract import MAX_HOLDER_BYTES, decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsidecar.contract import Holder

# Another file may have got the name since it was seen: opening a FIFO must not wait for a writer.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


@contextmanager
def opened(dir_fd: int, path: str) -> Iterator[int]:
    """The file, open for reading; closing it ends a lock that `is_held` has left on it.

    Raises:
        OSError: It isn't there (any more), or can't be read.
    """
    fd = open_beneath(dir_fd, path, _FLAGS)
    try:
        yield fd
    finally:
        os.close(fd)


def holder_of(fd: int) -> Holder | None:
    """Who holds it, by its own word; none where it is no lease of our client.

    Raises:
        OSError: It can't be read.
    """
    return decoded(os.pread(fd, MAX_HOLDER_BYTES + 1, 0))


def is_held(fd: int) -> bool:
    """Whether some process holds its lock; if none does, a shared one of ours is on it until it is closed.

    A shared one, since whoever else asks at the same time must not take us for the holder. In doubt it is held.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def boot_id() -> str | None:
    """The run of the kernel that this process lives in; none where it can't be told."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip() or None
    except (OSError, ValueError):
        return None

"""The entries of an open directory, listed without disturbing anybody else who lists it.

What the entries mean is for its users.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gcsidecar.cache.syscalls import records_of_entries

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ_BYTES = 16 << 10  # the names of some hundred files


@contextmanager
def entries_of(fd: int) -> Iterator[Iterator[os.DirEntry[str]]]:
    """List a directory from its first entry on.

    It is opened anew for that: `os.scandir(fd)` reads on from a position that all users of `fd` share, so that of two
    threads each would miss what the other has read, and a missed lease costs a folder.

    Raises:
        OSError: It can't be opened or listed.
    """
    own = os.open(".", _FLAGS, dir_fd=fd)
    try:
        with os.scandir(own) as entries:
            yield entries
    finally:
        os.close(own)


def may_hold(fd: int, needles: Collection[bytes]) -> bool:
    """Whether the name of some entry may hold one of these; False where none does, which is told at little cost.

    Raises:
        OSError: It can't be opened or listed.
    """
    own = os.open(".", _FLAGS, dir_fd=fd)
    try:
        some = records_of_entries(own, _READ_BYTES)
        return any(room.find(needle, 0, count) >= 0 for room, count in some for needle in needles)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        return True
    finally:
        os.close(own)

"""The entries of an open directory, listed without disturbing anybody else who lists it.

What the entries mean is for its users.
"""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gcsidecar.cache.syscalls import read_entries

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# As the C library takes for it; a record takes 24 bytes and its name.
_ROOM_BYTES = 1 << 15
_Room = ctypes.c_char * _ROOM_BYTES


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


def may_have(fd: int, parts: Collection[bytes]) -> bool:
    """Whether an entry of a directory may have one of these in its name; where it has not, that is certain.

    No object is made of any entry, which takes a third of the time of a listing, and nearly all directories have none.

    Raises:
        OSError: It can't be opened or read.
    """
    own = os.open(".", _FLAGS, dir_fd=fd)
    try:
        records = bytearray(_ROOM_BYTES)
        room = _Room.from_buffer(records)
        while length := read_entries(own, room):
            if any(records.find(part, 0, length) >= 0 for part in parts):
                return True
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        return True  # a C library without that call
    finally:
        os.close(own)
    return False

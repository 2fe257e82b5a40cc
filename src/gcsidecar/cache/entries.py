"""The entries of an open directory, listed without disturbing anybody else who lists it.

What the entries mean is for its users.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


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

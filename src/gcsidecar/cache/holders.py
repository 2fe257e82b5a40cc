"""Who has something open below a directory: what any visible process holds, maps, or works in.

It is asked seldom, since it looks at every process; what may not be looked at counts as nothing found.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_open_below(fd: int) -> bool:
    """Whether any other process that can be seen has a file or directory at or below `fd` open or mapped, or is in it.

    Raises:
        OSError: `/proc` can't tell where the directory is.
    """
    here = os.readlink(f"/proc/self/fd/{fd}")
    below = here.rstrip("/") + "/"
    return any(path == here or path.startswith(below) for path in _held_paths())


def _held_paths() -> Iterator[str]:
    me = str(os.getpid())
    for process in os.listdir("/proc"):
        if not process.isdigit() or process == me:
            continue
        for link in ("cwd", "root"):
            with contextlib.suppress(OSError):
                yield os.readlink(f"/proc/{process}/{link}")
        for directory in ("fd", "map_files"):
            with contextlib.suppress(OSError):
                yield from _links(f"/proc/{process}/{directory}")


def _links(directory: str) -> Iterator[str]:
    for name in os.listdir(directory):
        with contextlib.suppress(OSError):
            yield os.readlink(f"{directory}/{name}")

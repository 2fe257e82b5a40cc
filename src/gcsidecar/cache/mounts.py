"""What is mounted where, from `/proc/self/mountinfo` (see `proc(5)`).

By path, since a directory doesn't know what is mounted below it; a mount in another container's namespace isn't seen.
"""

from __future__ import annotations

import os
import re

_OCTAL = re.compile(rb"\\([0-7]{3})")


def mount_points() -> list[bytes]:
    """The paths of all mounts that this process sees; none where `/proc` isn't mounted."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    return [_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), line.split(b" ", 5)[4]) for line in lines]


def is_mounted_below(fd: int) -> bool:
    """Whether something is mounted on an entry below an open directory.

    Raises:
        OSError: `/proc` can't tell where the directory is.
    """
    here = os.readlink(f"/proc/self/fd/{fd}".encode()).rstrip(b"/") + b"/"
    return any(point.startswith(here) for point in mount_points())

"""How much of the machine's cores this process may use, by its affinity and by the quotas of its cgroups.

What they are used for is decided elsewhere.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOUNT = "/sys/fs/cgroup"


def cores() -> int:
    """How many cores it may run on."""
    return len(os.sched_getaffinity(0))


def quota(own: str = "/proc/self/cgroup", mount: str = MOUNT) -> float | None:
    """How much of how many cores it may take before it is stopped until the next tenth of a second; none if unlimited.

    Args:
        own: The file that names the cgroups that this process is in.
        mount: Where the cgroups are.
    """
    return min(_quotas(own, mount), default=None)


def _quotas(own: str, mount: str) -> Iterator[float]:
    """The quota of each cgroup from its own upwards; those above a container's own it can't see."""
    for line in _read(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            while path := path.rstrip("/"):
                yield from _quota(os.path.join(mount, controllers, path.lstrip("/")))
                path = os.path.dirname(path)
            yield from _quota(os.path.join(mount, controllers))


def _quota(directory: str) -> Iterator[float]:
    """Of version 2 in one file (`max 100000` is none), of version 1 in two (-1 is none)."""
    words = _read(f"{directory}/cpu.max").split()
    if not words:
        words = [*_read(f"{directory}/cpu.cfs_quota_us").split(), *_read(f"{directory}/cpu.cfs_period_us").split()]
    if len(words) == 2 and all(word.isdigit() and int(word) for word in words):  # noqa: PLR2004  quota and period
        yield int(words[0]) / int(words[1])


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""

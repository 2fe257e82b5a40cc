"""Files that may become others while they are in use: looked at now and then, by who they are.

Nothing is read here, and nothing watched: a look costs a `stat` for each.
"""

from __future__ import annotations

import os

Identity = tuple[int, int, int, int] | None


def identity_of(path: str) -> Identity:
    """Which file the path leads to, links followed: a ConfigMap or a Secret is changed by swapping a link."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


class Followed:
    """Files that belong together, such as a certificate and its key."""

    def __init__(self) -> None:
        self._taken: dict[str, Identity] = {}
        self._seen: dict[str, Identity] = {}

    def add(self, path: str) -> None:
        """Follow this file; to be called before it is read, so that no change is missed."""
        self._taken[path] = self._seen[path] = identity_of(path)

    def have_changed(self) -> bool:
        """Whether one has become another since it was added, and all are as they were at the last look.

        Where they are written one after the other, there is a moment when they don't fit together.
        """
        before, self._seen = self._seen, {path: identity_of(path) for path in self._taken}
        return self._seen != self._taken and self._seen == before

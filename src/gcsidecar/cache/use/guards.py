"""What beside leases shows that a folder is in use: locks that tools keep, and what processes have open.

It judges folders one by one; what leases say is the lookout's business.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gcsidecar.cache.use.locks import LOCKED, ToolLocks
from gcsidecar.cache.use.open_files import MAX_AGE_SECONDS, OPEN, Held, OpenFiles
from gcsidecar.cache.use.places import place_of

if TYPE_CHECKING:
    from gcsidecar.cache.spec import RootSpec
    from gcsidecar.gc.clock import Clock


class Guards:
    """Of one root.

    Args:
        spec: What the root is configured to be.
        root_fd: The root.
        open_files: Tells what is open, for this root and others.
        clock: Both clocks.
    """

    def __init__(self, spec: RootSpec, root_fd: int, open_files: OpenFiles, clock: Clock) -> None:
        self._root_fd = root_fd
        self._clock = clock
        self._locks = ToolLocks(spec.lease.locks, float(spec.lease.lock_grace), clock)
        self._open_files = open_files if spec.in_use.open_files else None
        self._depth = spec.folders.count("/") + 1
        self._seen: tuple[Held | None, frozenset[str]] = (None, frozenset())

    def reason(self, folder_fd: int, name: str) -> str | None:
        """Why a folder that is about to go has to stay, or none; it may have been moved by now.

        Raises:
            OSError: That can't be told: then it is in use.
        """
        if self._locks.hold(self._root_fd, folder_fd, name):
            return LOCKED
        return OPEN if self._open_files is not None and self._open_files.is_open_below(folder_fd) else None

    def holds_back(self, name: str) -> str | None:
        """Why a folder need not be tried, by what was seen a moment ago; no lock is touched for that."""
        if self._locks.seconds_left(name):
            return LOCKED
        return OPEN if self._open_files is not None and name in self._open_folders(self._open_files) else None

    def ends_at(self, name: str, reason: str) -> float | None:
        """When to look again at a folder that was held back for such a reason, POSIX seconds; none: not by itself."""
        seconds = {LOCKED: self._locks.seconds_left(name), OPEN: MAX_AGE_SECONDS}.get(reason)
        return None if seconds is None else self._clock.time() + seconds

    def _open_folders(self, open_files: OpenFiles) -> frozenset[str]:
        latest = open_files.latest()
        held, names = self._seen
        if held is not latest:
            # Where that can't be told, it is said at the decision.
            with contextlib.suppress(OSError):
                names = latest.folders(place_of(self._root_fd), self._depth)
            self._seen = (latest, names)
        return names

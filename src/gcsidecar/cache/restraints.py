"""The restraints of a root: for what reasons beyond its own a folder stays, as far as that is known beforehand.

What a folder has of its own (leases, its age, a pin) is its record's; what is asked at the decision is custody's.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gcsidecar.cache.custody import STANDBY
from gcsidecar.cache.folders.tally import State
from gcsidecar.cache.walking.look import AT_WORK, Looks

if TYPE_CHECKING:
    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.root import Root
    from gcsidecar.cache.use.guards import Guards
    from gcsidecar.cache.walking.look import Look
    from gcsidecar.gc.clock import Clock


class Restraints:
    """Of one root.

    Args:
        root: Which.
        guards: What beside leases shows that a folder is in use.
        clock: Both clocks.
        dry_run: Whether nothing is to be evicted, so that it doesn't matter who acts on the root.
    """

    def __init__(self, root: Root, guards: Guards, clock: Clock, *, dry_run: bool) -> None:
        self._census, self._custody, self._chronicle = root.census, root.custody, root.chronicle
        self._guards, self._clock, self._dry_run = guards, clock, dry_run
        self._keeps_newest = root.spec.keep_newest > 0
        self._looks = Looks(root.spec, root.fd, root.patterns, clock)
        self._newest: tuple[int, frozenset[str]] = (-1, frozenset())

    def holds_back(self, folder: Folder) -> str | None:
        """Why the root keeps it: another sidecar acts here, a parked folder has its name, or it is of the newest.

        While it isn't known yet when it arrived, it may be young. What was seen to be in use a moment ago isn't tried,
        nor is that where somebody was at work.
        """
        custody = self._custody
        if not custody.active and not self._dry_run:
            return STANDBY
        if folder.name in custody.parked:
            return "parked"
        if self._chronicle.may_be_young(folder):
            return State.YOUNG
        if self._looks.at_work_until(folder.name) > self._clock.time():
            return AT_WORK
        if self._keeps_newest and folder.name in self._newest_names():
            return "newest"
        return self._guards.holds_back(folder.name)

    def held_until(self, folder: Folder, reason: str) -> float | None:
        """When to look again at what it holds back, POSIX seconds; none: that shows otherwise."""
        return (
            self._looks.at_work_until(folder.name) if reason == AT_WORK else self._guards.ends_at(folder.name, reason)
        )

    def look(self, folder: Folder) -> Look | None:
        """Look at it before it goes; none where what is known is not too old for that, or where it can't be looked at.

        For what that is, the protocol meets as well, and says it.
        """
        if not self._looks.is_due(folder):
            return None
        with contextlib.suppress(OSError):
            found = self._looks.look(folder)
            if found.is_whole:
                self._census.measured(folder, found.size, found.at)
            return found
        return None

    def released(self, name: str) -> None:
        """A folder has no lease any more: what was changed in it before was its holder's work."""
        self._looks.released(name)

    def _newest_names(self) -> frozenset[str]:
        census = self._census
        version, names = self._newest
        if version != census.version:
            version = census.version
            names = frozenset(folder.name for folder in census.newest())
            self._newest = (version, names)
        return names

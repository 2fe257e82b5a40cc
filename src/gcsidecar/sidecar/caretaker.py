"""The caretaker of roots: sees that each is where it was, becomes the one that acts on it, and clears `.gcsidecar/`.

It is called from the keeper's thread, so that it never meets an eviction under way.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gcsidecar.cache.errors import RootUnavailableError, StateDirectoryError
from gcsidecar.sidecar import journal
from gcsidecar.sidecar.log import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gcsidecar.cache.root import Root
    from gcsidecar.gc.clock import Clock

_log = logging.getLogger("gcsidecar.roots")

# A root that another sidecar acts on, or where `.gcsidecar/` can't be made, is tried again so often.
RETRY_SECONDS = 1.0
RECOVER_SECONDS = 60.0


class Caretaker:
    """Of the roots on one filesystem.

    Args:
        roots: All of them.
        about: What the lock files say of their holder.
        lost: Called when a root is not where it was.
        clock: Both clocks.
    """

    def __init__(
        self, roots: Sequence[Root], about: Mapping[str, object], lost: Callable[[Root, str], None], clock: Clock
    ) -> None:
        self._roots, self._about, self._lost, self._clock = tuple(roots), about, lost, clock
        self._retry_at = self._recover_at = 0.0
        self._problems: dict[str, str] = {}

    def problem(self, root: Root) -> str | None:
        """What keeps a root from being acted on, or none."""
        return self._problems.get(root.name)

    def look_after(self) -> bool:
        """Do what is to be done by now; True where folders came back under their names."""
        monotonic = self._clock.monotonic()
        came_back = False
        if monotonic >= self._retry_at:
            self._retry_at = monotonic + RETRY_SECONDS
            for root in self._roots:
                self._expect_in_place(root)
                root.custody.take_ballast()
            for root in self._roots:
                if not root.custody.active and self._activate(root):
                    came_back |= self._recover(root)
            for root in self._roots:
                if root.custody.may_recover():
                    came_back |= self._recover(root)
        if monotonic >= self._recover_at:
            self._recover_at = monotonic + RECOVER_SECONDS
            for root in self._roots:
                came_back |= self._recover(root)
        return came_back

    def _expect_in_place(self, root: Root) -> None:
        """There is no hint of what is mounted over a root, or taken off; what came there has to be kept soon."""
        try:
            root.check()
        except RootUnavailableError as error:
            self._lost(root, str(error))

    def _activate(self, root: Root) -> bool:
        try:
            active = root.custody.activate(self._about)
        except StateDirectoryError as error:
            self._say_once(root, str(error))
            return False
        self._problems.pop(root.name, None)
        if active:
            _log.info("active", extra=fields(root=root.name))
        return active

    def _recover(self, root: Root) -> bool:
        try:
            found = root.custody.recover()
        except (StateDirectoryError, OSError) as error:
            self._say_once(root, f"can't look after .gcsidecar/: {error}")
            return False
        if root.custody.active:
            self._problems.pop(root.name, None)
        journal.recovered(root.name, found)
        return bool(found.restored)

    def _say_once(self, root: Root, problem: str) -> None:
        if self._problems.get(root.name) != problem:
            self._problems[root.name] = problem
            _log.error("blocked", extra=fields(root=root.name, problem=problem))

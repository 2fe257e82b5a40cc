"""Whether the process works, and whether it has taken up its work: verdicts, made of what is known without waiting.

A filesystem that hangs is not the process's fault, and a restart mends none: it makes nothing unhealthy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.sidecar.web.pages import Health, Readiness

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gcsidecar.sidecar.keeper import Keeper
    from gcsidecar.sidecar.status import RootStatus

# The main thread turns once a second. To follow a new config it ends keepers (0.6 s) and closes roots.
STUCK_SECONDS = 30.0
# A root in which nothing new was found for so long counts as hung, and holds `/readyz` up no longer.
HUNG_SECONDS = 5.0


def health(keepers: Iterable[Keeper], since_turned_seconds: float) -> Health:
    """Whether the process works.

    Args:
        keepers: Those that are to be at work.
        since_turned_seconds: How long ago the main thread last looked for something to do.
    """
    lines = [
        f"filesystem {keeper.status.name}: the thread {name} has ended" for keeper in keepers for name in keeper.dead
    ]
    if since_turned_seconds > STUCK_SECONDS:
        lines.append(f"the main thread is stuck for {since_turned_seconds:.0f} s")
    return Health(not lines, tuple(lines))


def readiness(roots: Iterable[RootStatus], absent: Collection[str], *, patient: bool) -> Readiness:
    """Ready after the first reconcile of each root; one that is missing or hangs holds nothing up.

    Args:
        roots: All roots.
        absent: Those that can't be opened for now.
        patient: Whether one that hasn't been heard of yet may still come.
    """
    waiting, lines = [], []
    for root in roots:
        if not root.reconciled_at and root.name not in absent and patient:
            waiting.append(f"{root.name}: not reconciled yet")
        elif root.role != "active":
            lines.append(": ".join(filter(None, (root.name, root.role, root.problem))))
    return Readiness(not waiting, tuple(waiting + lines))


class FirstLook:
    """How the first look at all roots goes on: while more and more folders are found nothing hangs, however many.

    Args:
        monotonic: When it began.
    """

    def __init__(self, monotonic: float) -> None:
        self._folders, self._found_at = 0, monotonic

    def goes_on(self, roots: Iterable[RootStatus], monotonic: float) -> bool:
        """Whether something was found not long ago."""
        tallies = [root.tally for root in roots if root.tally is not None and not root.reconciled_at]
        folders = sum(amount.folders for tally in tallies for amount in tally.by_state.values())
        if folders != self._folders:
            self._folders, self._found_at = folders, monotonic
        return monotonic - self._found_at < HUNG_SECONDS

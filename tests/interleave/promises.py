"""What the design promises, looked at in each state of a run, and after its end."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from cache.helpers import reconcile
from fakes import FakeClock
from gcsidecar.cache.eviction.slots import CONDEMNED, EVICTING
from interleave.picture import AWAY
from interleave.roles import NAME, evict, opened

if TYPE_CHECKING:
    from gcsidecar.cache.root import Root
    from interleave.actor import Hold
    from interleave.scheduler import Run

DAY_SECONDS = 24 * 3600.0


def look(run: Run) -> str | None:
    """What is wrong in this state, or none."""
    lost = [(actor.name, hold, _lost(hold, run)) for actor in run.actors for hold in actor.holds]
    for name, hold, wrong in lost:
        if wrong is not None:
            return f"{name} holds {hold.folder}: {wrong}"
    for folder in run.picture().folders:
        if folder.where == "name" and not run.whole.get(folder.label, frozenset()) <= folder.names:
            return f"what is partial has a name: {folder}"
        if folder.where == "name" and folder.is_marked:
            return f"what is condemned has a name: {folder}"
    return None


def _lost(hold: Hold, run: Run) -> str | None:
    """What is wrong with the folder that somebody holds."""
    folder = run.picture().folder(hold.folder)
    if folder is None:
        return "it is gone"
    if folder.where == CONDEMNED:
        return f"it is condemned: {folder}"
    if hold.stays and folder.where == EVICTING:
        return f"it was moved away: {folder}"
    if not hold.files <= folder.names:
        return f"{sorted(hold.files - folder.names)} are missing in it: {folder}"
    return None


def look_back(run: Run) -> str | None:
    """What is wrong after all are through, or none: nothing stays behind, and what nobody holds does go in the end."""
    clock = FakeClock(os.stat(run.root).st_mtime)
    root = opened(run.root, clock)
    try:
        root.custody.recover()
        run.version += 1
        wrong = look(run)
        if wrong is not None:
            return f"after a last recovery: {wrong}"
        _release_what_the_dead_hold(run)
        became = _clear(root, clock)
    finally:
        root.close()
    run.version += 1
    left = [folder for folder in run.picture().folders if folder.where != AWAY]
    return f"{became}, and it stays behind: {left}" if left or became != "gone" else None


def _release_what_the_dead_hold(run: Run) -> None:
    """A bare lease of a simple client that was killed: somebody removes it, or it would hold for ever."""
    for actor in run.actors:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{run.root}/{NAME}/.lease.{actor.name}")


def _clear(root: Root, clock: FakeClock) -> str:
    """What becomes of the folder when time goes by: parked ones come back, or their leases end."""
    for _ in range(3):
        root.custody.recover()
        clock.advance(DAY_SECONDS + 1)
    reconcile(root)
    return evict(root)

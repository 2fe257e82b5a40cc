"""One process of a story: a thread that goes on only when it has the turn, and may be killed in place of it.

What it does stands in `roles.py`; who has the turn, its run says.
"""

from __future__ import annotations

import os
import threading
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interleave.calls import Calls, KilledError
from interleave.picture import AWAY
from interleave.wrapping import REAL, calling

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from interleave.scheduler import Run

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Hold:
    """What somebody relies on.

    Attributes:
        folder: The label of the folder.
        files: What has to be in it.
        stays: Whether it may not even be away for a moment.
        outlives: Whether a holder that is killed holds on.
    """

    folder: Hashable
    files: frozenset[str]
    stays: bool
    outlives: bool


class Actor:
    """One process of the story.

    Args:
        name: Of one word.
        act: All that it does; told the actor.
        kills: How often it may be killed.
        then: What begins anew after that, if anything.
        is_sidecar: Whether it looks into the state directory.
        shares: What else it is stopped at, where another sidecar looks into the state directory, too.
        heeds_modes: Whether it asks for more than the identity of what it has open.
        has_lock_file: Whether the lock on the state directory means something to it.
        has_locks: Whether the filesystem knows locks.
        may_move: Whether its folder may be moved under its hands, by its owner or for a moment.
    """

    def __init__(
        self,
        name: str,
        act: Callable[[Actor], object],
        *,
        kills: int = 0,
        then: Callable[[Actor], object] | None = None,
        is_sidecar: bool = False,
        shares: Iterable[str] = (),
        heeds_modes: bool = True,
        has_lock_file: bool = True,
        has_locks: bool = True,
        may_move: bool = False,
    ) -> None:
        self.name = name
        self.kills = kills
        self.is_sidecar = is_sidecar
        self.shares, self.heeds_modes = frozenset(shares), heeds_modes
        self.has_lock_file, self.has_locks = has_lock_file, has_locks
        self.may_move = may_move
        self.is_dead = self.has_ended = False
        self.holds: list[Hold] = []
        self.call = ""
        self.may_go: Callable[[], bool] | None = None
        self.past: int = 0
        self._act, self._then = act, then
        self._turn = taken()
        self._made = 0

    def enter(self, run: Run) -> None:
        """Become part of a run."""
        self.run = run
        self.calls = Calls(self, run.root)
        self.life = run.threads.submit(self._live)

    # What it says of itself

    def holds_on(self, folder: Hashable, *files: str, stays: bool = False, outlives: bool = False) -> None:
        """From now on it relies on a folder and its files."""
        self.holds.append(Hold(folder, frozenset(files), stays, outlives))
        self.note("holds", folder)

    def lets_go(self) -> None:
        """It relies on nothing any more."""
        self.holds.clear()
        self.note("lets go")

    def folder_at(self, path: str) -> Hashable:
        """The folder that a path names now."""
        return self.label_of(REAL["stat"](path))

    def folder_with(self, file: str) -> Hashable:
        """The folder that a file is in, wherever that is."""
        return next((folder.label for folder in self.run.picture().folders if file in folder.names), None)

    def files_of(self, folder: Hashable) -> frozenset[str]:
        """What is in it now, and has to stay."""
        found = self.run.picture().folder(folder)
        return found.content if found is not None else frozenset()

    def is_away(self, folder: Hashable) -> bool:
        """Whether it was moved out of the root."""
        found = self.run.picture().folder(folder)
        return found is not None and found.where == AWAY

    def has_filled(self, fd: int) -> None:
        """It has made a file, which belongs to the folder it lies in from now on, wherever that is."""
        folder, file = os.path.split(REAL["readlink"](f"/proc/self/fd/{fd}"))
        label = self.folder_at(folder)
        self.run.whole[label] = self.run.whole.get(label, frozenset()) | {file}

    # What its calls ask

    def stop(self, call: str) -> None:
        """Wait for the turn."""
        self.call = call
        self.run.hand_over(self)
        self.may_go = None
        if self.is_dead:
            raise KilledError
        self.note("had its turn")

    def wait_for_lock(self) -> None:
        """Have no turn until something has changed."""
        seen = self.run.version
        self.may_go = lambda: self.run.version > seen

    def note(self, *result: Hashable) -> None:
        """What it does next follows from what its calls gave, and from nothing else."""
        self.past = hash((self.past, result))

    def label_of(self, status: os.stat_result) -> Hashable:
        """What the run calls it."""
        return self.run.labels.get(status.st_ino, "nobody's")

    def made(self, status: os.stat_result) -> None:
        """What it makes is called by its own count."""
        self._made += 1
        self.run.labels[status.st_ino] = f"{self.name}'s {self._made}"

    def changed(self) -> None:
        """The picture is to be taken anew."""
        self.run.version += 1

    # How it goes on

    def wait(self) -> None:
        """Until it has the turn."""
        if not self._turn.acquire(timeout=PATIENCE_SECONDS):
            raise KilledError

    def wake(self) -> None:
        """Give it the turn."""
        self._turn.release()

    @property
    def can_go(self) -> bool:
        """Whether it could have the next turn."""
        return not self.has_ended and (self.may_go is None or self.may_go())

    def state(self) -> Hashable:
        """All that decides what it does next, and what is to be kept for it."""
        return self.has_ended, self.past, self.kills, self.can_go, tuple(self.holds)

    def _live(self) -> None:
        with calling(self.calls):
            act: Callable[[Actor], object] | None = self._act
            while act is not None:
                act = self._lived(act)
        self.has_ended = True
        self.run.ended()

    def _lived(self, act: Callable[[Actor], object]) -> Callable[[Actor], object] | None:
        """One life, and what comes after it."""
        try:
            act(self)
        except KilledError:
            pass
        except BaseException as error:  # noqa: BLE001 an actor that fails is what the run is to find
            self.run.fail(f"{self.name} failed: {''.join(traceback.format_exception(error))}")
        if not self.is_dead:
            return None
        self.calls.let_go()
        self.run.version += 1
        self.holds = [hold for hold in self.holds if hold.outlives]
        self.past = 0
        if self.run.is_left:
            return None
        self.is_dead = False
        return self._then


def taken() -> threading.Lock:
    """A lock on which one waits for another's release of it."""
    lock = threading.Lock()
    lock.acquire()
    return lock

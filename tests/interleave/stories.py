"""Stories: who takes part, and how one of their runs is set up and looked at."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import needs
from gcsidecar.cache.eviction import slots, state
from gcsidecar.client import holding
from interleave.actor import Actor
from interleave.exploration import Exploration, Explored
from interleave.promises import look, look_back
from interleave.reach import SIDE, SLOT, STATE
from interleave.roles import DATA, MOUNT, NAME, bound, careful, evictor, lay_out, patient, replacer
from interleave.scheduler import Run
from interleave.wrapping import wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    from interleave.scheduler import Director

    Act = Callable[[Actor], object]

# On a tmpfs a directory costs microseconds, and no number of an inode is used twice.
_SHM = "/dev/shm"
_MS_BIND, _MNT_DETACH = 4096, 2


@dataclass(frozen=True, slots=True)
class Story:
    """Who takes part.

    Attributes:
        clients: All but the evictor.
        evictor: What the evictor does; and again, when it was killed.
        evictor_kills: How often that may be.
        client_kills: How often each client may be killed.
        second: Whether a second evictor acts beside it by mistake.
        has_locks: Whether the filesystem knows locks.
        is_bound: Whether the folder itself is mounted somewhere.
    """

    clients: tuple[Act, ...]
    evictor: Act = evictor
    evictor_kills: int = 0
    client_kills: int = 0
    second: bool = False
    has_locks: bool = True

    def cast(self) -> list[Actor]:
        """All of them, anew."""
        return [*self._evictors(), *(self._client(act, number) for number, act in enumerate(self.clients, 1))]

    def _evictors(self) -> Iterator[Actor]:
        shares = (SLOT, SIDE, STATE) if self.second else ()
        for name, kills in (("evictor", self.evictor_kills), ("second", 0))[: 1 + self.second]:
            yield Actor(
                name,
                self.evictor,
                kills=kills,
                then=self.evictor,
                is_sidecar=True,
                shares=shares,
                heeds_modes=False,
                has_lock_file=name == "evictor",
                has_locks=self.has_locks,
            )

    def _client(self, act: Act, number: int) -> Actor:
        return Actor(
            f"{act.__name__}{number}",
            act,
            kills=0 if act is replacer else self.client_kills,
            heeds_modes=act not in {careful, patient, bound},
            has_locks=self.has_locks,
            may_move=replacer in self.clients or bound in self.clients,
        )


def explore(story: Story, most_seconds: float = float("inf")) -> Explored:
    """All runs of a story."""
    if not os.path.isdir(_SHM):
        needs.unavailable(f"it needs a tmpfs, and {_SHM} is missing")
    if bound in story.clients:
        needs.root()
    base = Path(tempfile.mkdtemp(prefix="gcsidecar-", dir=_SHM))
    try:
        with wrapped(), _few_slots(), ThreadPoolExecutor() as threads:
            return Exploration(partial(_run, story, base, threads), look, look_back, most_seconds).explore()
    finally:
        shutil.rmtree(base)


@contextmanager
def _run(story: Story, base: Path, threads: Executor, director: Director) -> Iterator[Run]:
    here = base / "run"
    here.mkdir()
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, here)
        # Of clients that were killed: nothing of theirs is to be done at our own end.
        undo.callback(holding._unreleased.clear)
        root = lay_out(here)
        labels = {entry.stat().st_ino: entry.name for entry in [Path(root, NAME), *Path(root, NAME).iterdir()]}
        if bound in story.clients:
            undo.enter_context(_bound(Path(root, NAME), here / MOUNT))
        yield Run(root, story.cast(), director, labels, {NAME: frozenset({DATA})}, threads)


@contextmanager
def _few_slots() -> Iterator[None]:
    """What no story needs more of: to make them takes most of the time of a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slots, "SPARE_SLOTS", 1)
        patch.setattr(state, "BALLAST_BYTES", 4096)
        yield


@contextmanager
def _bound(folder: Path, target: Path) -> Iterator[None]:
    """A bind mount, without a process for each."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(folder), os.fsencode(target), None, _MS_BIND, None) != 0:
        needs.unavailable(f"nothing can be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        libc.umount2(os.fsencode(target), _MNT_DETACH)

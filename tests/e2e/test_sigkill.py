"""SIGKILL at random moments amid evictions, again and again, while other processes hold leases and write."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from e2e.crew import Crew
from e2e.harness import Sidecar, eventually
from e2e.writers import MANIFEST, Work

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

pytestmark = pytest.mark.e2e

KILLS = 50
# So many of them have to meet an eviction under way, or the test has shown nothing.
AMID = 10
SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
MAX_FOLDERS, MOST_FOLDERS = 10, 18
WRITERS, HOLDERS = 3, 2
# A folder takes a while to delete, and three writers make more of them than may stay while the sidecar starts.
FILES, FILE_BYTES, BYTES_PER_SECOND = 500, 32, 100_000
# A third of the kills come wherever the start has got to, the others once evictions have begun.
START_SHARE, START_SECONDS, EVICTING_SECONDS = 0.3, 0.6, 0.03
SPARE_SLOTS = 8


class Cache:
    """The root, and what has to lie in its folders."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.mkdir()

    def names(self) -> list[str]:
        return [name for name in os.listdir(self.path) if not name.startswith(".")]

    def partial(self, made: Collection[str]) -> list[str]:
        """Those of the folders that were made whole which lie under their names and are not whole."""
        return [name for name in self.names() if name in made and not self._is_whole(name)]

    def _is_whole(self, name: str) -> bool:
        """Also where it is moved away meanwhile; what is open is looked at, wherever it is."""
        try:
            fd = os.open(self.path / name, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return True
        try:
            found = set(os.listdir(fd))
            if MANIFEST in found:
                with open(os.open(MANIFEST, os.O_RDONLY, dir_fd=fd)) as file:
                    if set(file.read().split()) <= found:
                        return True
            return not os.path.samestat(os.stat(self.path / name), os.fstat(fd))
        except FileNotFoundError:
            return not (self.path / name).exists()
        finally:
            os.close(fd)

    def left(self, side: str) -> list[str]:
        """The folders that lie in `evicting` or `condemned`."""
        return [path.name for path in (self.path / ".gcsidecar" / side).glob("*/*")]

    def slots(self) -> int:
        return len(list((self.path / ".gcsidecar").glob("*/*")))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def config(cache: Cache) -> dict[str, Any]:
    off = {"disk": None, "inodes": None}
    root = {"name": "jobs", "path": str(cache.path), "min_age": 0, "max_folders": MAX_FOLDERS}
    return {"thresholds": off, "roots": [root]}


def test_fifty_kills_leave_nothing_leased_incomplete_and_nothing_behind(tmp_path: Path, cache: Cache) -> None:
    chance, met = random.Random(SEED), Counter[str]()
    print(f"SEED={SEED}")
    began = time.monotonic()
    with Crew(tmp_path) as crew:
        held = hire(crew, cache)
        for _ in range(KILLS):
            made = kill_one(tmp_path, cache, crew, chance, met) | held
            assert held <= set(cache.names())
            assert cache.partial(made) == []
        print(f"{time.monotonic() - began:.1f} s, {dict(met)}, {len(crew.uses())} uses, {len(crew.missed())} missed")
        with Sidecar(tmp_path, config(cache)) as sidecar:
            crew.dismiss()
            eventually(lambda: len(cache.names()) <= MAX_FOLDERS, "it evicts as ever")
            eventually(lambda: not cache.left("evicting") and not cache.left("condemned"), "nothing stays behind")
            assert cache.partial({use.folder for use in crew.uses()}) == []
            assert cache.slots() <= 2 * SPARE_SLOTS
            assert not sidecar.events("cannot-delete")
        assert [use for use in crew.uses() if not use.went_well] == []
        assert met["amid a deletion"] + met["amid a decision"] >= AMID


def hire(crew: Crew, cache: Cache) -> set[str]:
    """Start all writers; gives the folders of those who hold on to the end, which are the oldest."""
    for number in range(HOLDERS):
        crew.hire(Work(str(cache.path), f"holder{number}", number, FILES, FILE_BYTES, hold_seconds=600))
    held = {f"holder{number}-0" for number in range(HOLDERS)}
    eventually(lambda: all((cache.path / name / MANIFEST).exists() for name in held), "the holders have their folders")
    for number in range(WRITERS):
        work = Work(
            str(cache.path), f"job{number}", number, FILES, FILE_BYTES, BYTES_PER_SECOND, 0.2, 0.02, MOST_FOLDERS
        )
        crew.hire(work)
    return held


def kill_one(tmp_path: Path, cache: Cache, crew: Crew, chance: random.Random, met: Counter[str]) -> set[str]:
    """Start a sidecar and kill it; gives the folders that had been made whole by then."""
    with ExitStack() as killed:
        sidecar = Sidecar(tmp_path, config(cache)).start()
        killed.push(sidecar)  # its end is a SIGKILL
        if chance.random() < START_SHARE:
            time.sleep(chance.uniform(0, START_SECONDS))
        else:
            eventually(lambda: sidecar.events("planned"), "it evicts")
            assert cache.partial({use.folder for use in crew.uses() if use.made}) == []
            time.sleep(chance.uniform(0, EVICTING_SECONDS))
    made = {use.folder for use in crew.uses() if use.made}
    met["amid a deletion"] += bool(cache.left("condemned"))
    met["amid a decision"] += bool(cache.left("evicting"))
    met.update(
        event["event"] for event in sidecar.events() if event["event"] in {"evicted", "restored", "deleted-rest"}
    )
    return made

"""Clients of all kinds and two sidecars on one root, under constant pressure, any of them killed at any moment."""

from __future__ import annotations

import glob
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness import PATIENCE_SECONDS, Sidecar
from gcsidecar.contract import STATE_DIRECTORY
from stress.load import Load

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

SECONDS = float(os.environ.get("STRESS_SECONDS", "60"))
NAIVE_SECONDS = 6.0
MAX_FOLDERS = 5
BETWEEN_KILLS_SECONDS = 0.4
SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
# Or it has shown nothing.
LEAST_EVICTIONS, LEAST_HOLDS = 5 * SECONDS, 50 * SECONDS


@pytest.fixture
def root() -> Iterator[Path]:
    """In memory where that can be, so that the disk of the machine sets no pace."""
    base = Path(tempfile.mkdtemp(prefix="gcsidecar-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    (base / "root").mkdir()
    yield base / "root"
    shutil.rmtree(base)


class Pair:
    """Two sidecars on one root: one acts, the other stands by."""

    def __init__(self, directory: Path, root: Path, chance: random.Random) -> None:
        self._directory, self._root, self._chance = directory, root, chance
        self._ended: list[Sidecar] = []
        self._running = [self._started(number) for number in range(2)]
        self.kills = 0

    def kill_one(self) -> None:
        """By SIGKILL; another one takes its place."""
        self._kill(self._chance.randrange(2))

    def kill_both(self) -> None:
        """One after the other."""
        for number in range(2):
            self._kill(number)

    def close(self) -> None:
        """End both."""
        for sidecar in self._running:
            sidecar.__exit__()

    def events(self) -> Counter[str]:
        """What all of them logged."""
        return Counter(event["event"] for sidecar in self._ended + self._running for event in sidecar.events())

    def _kill(self, number: int) -> None:
        sidecar = self._running[number]
        assert not sidecar.has_ended(), sidecar.log_path.read_text()[-2000:]
        self._ended.append(sidecar)
        sidecar.__exit__()
        self.kills += 1
        self._running[number] = self._started(number)

    def _started(self, number: int) -> Sidecar:
        directory = self._directory / f"sidecar{number}"
        directory.mkdir(exist_ok=True)
        return Sidecar(directory, config(self._root)).start()


def config(root: Path) -> dict[str, Any]:
    off = {"disk": None, "inodes": None}
    return {"thresholds": off, "roots": [{"name": "jobs", "path": str(root), "min_age": 0, "max_folders": MAX_FOLDERS}]}


def found_in(root: Path, *pattern: str) -> list[str]:
    """What matches; not by `Path.glob`, which fails where a directory goes meanwhile."""
    return glob.glob(os.path.join(glob.escape(str(root)), *pattern))


def unsettled(root: Path) -> dict[str, list[str]]:
    """What should be otherwise once nobody uses anything: parked, condemned, too many, or leased by the dead."""
    names = [name for name in os.listdir(root) if not name.startswith(".")]
    found = {
        "too many": names if len(names) > MAX_FOLDERS else [],
        "parked": found_in(root, STATE_DIRECTORY, "evicting/*/*"),
        "condemned": found_in(root, STATE_DIRECTORY, "condemned/*/*"),
        "leased": found_in(root, "*/.lease*"),
    }
    return {what: which for what, which in found.items() if which}


def wait_until_settled(load: Load, root: Path) -> None:
    """The sidecar evicts as ever, nothing stays behind, and the leases of the dead are reaped."""
    until = time.monotonic() + PATIENCE_SECONDS
    while (found := unsettled(root)) and time.monotonic() < until:
        load.sweep()
        time.sleep(0.05)
    assert not found


@pytest.mark.timeout(180 + SECONDS)
def test_nothing_that_is_leased_is_ever_lost(tmp_path: Path, root: Path) -> None:
    chance = random.Random(SEED)
    print(f"SEED={SEED}")
    with ExitStack() as undo:
        pair = Pair(tmp_path, root, chance)
        undo.callback(pair.close)
        with Load(tmp_path, root, chance) as load:
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                time.sleep(chance.uniform(0, 2 * BETWEEN_KILLS_SECONDS))
                (load if chance.random() < 0.7 else pair).kill_one()
                load.sweep()
        # Where others took what an eviction brought, it may have held back, for minutes.
        pair.kill_both()
        wait_until_settled(load, root)
        did, events, violations = load.did(), pair.events(), load.violations()
    print(
        f"two sidecars: {len(violations)} violations in {dict(did)}, {load.kills} clients, {pair.kills} sidecars killed"
    )
    print(dict(events))
    assert violations == []
    assert events["evicted"] >= LEAST_EVICTIONS
    assert did["holds"] >= LEAST_HOLDS


def test_check_the_lease_then_rmtree_loses_what_is_leased(tmp_path: Path, root: Path) -> None:
    """So it is known that the clients would see it."""
    chance = random.Random(SEED)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    cleaner = subprocess.Popen([sys.executable, "-m", "stress.naive", str(root), str(MAX_FOLDERS)], env=environment)
    try:
        with Load(tmp_path, root, chance) as load:
            until = time.monotonic() + NAIVE_SECONDS
            while time.monotonic() < until:
                time.sleep(chance.uniform(0, 2 * BETWEEN_KILLS_SECONDS))
                load.sweep()
        print(f"check, then rmtree: {len(load.violations())} violations in {dict(load.did())}, nobody killed")
    finally:
        cleaner.kill()
        cleaner.wait()
    assert load.violations()

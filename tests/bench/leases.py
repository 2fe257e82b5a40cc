"""From a lease file made to the gauge that counts it, as a scraper sees both; beside it, a watcher's own notice."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from bench.memory import TREES
from bench.process import STATE, BenchError, measured_sidecar
from bench.row import Point, Row, peer
from bench.samples import seconds, written
from bench.scraper import PLAIN_HEADERS, kept, scrape

if TYPE_CHECKING:
    import http.client
    from collections.abc import Iterator
    from pathlib import Path

    from bench.ground import Ground
    from bench.samples import Samples

GOAL_SECONDS = 0.02
GOAL_FOLDERS = 10_000
LEASES = 200
# So long at most between two of them.
_REST_SECONDS = 0.15
_POLL_SECONDS = 0.001
_PATIENCE_SECONDS = 30.0
PLOT = "lease"
_GAUGE = "gcsidecar_root_folders"


def rows(ground: Ground) -> Iterator[Row | Point]:
    """By number of folders."""
    for folders, files in TREES.items():
        root = ground.tree(folders, files)
        with measured_sidecar(root) as sidecar, kept(sidecar.port) as connection:
            ours, polls = _latencies(root, connection, ground.few(LEASES, least=20))
        theirs = _watchers(root, ground.few(LEASES, least=20)) if folders == GOAL_FOLDERS else None
        yield Point(PLOT, "gcsidecar, median", ground.few(folders), ours.median)
        yield Point(PLOT, "gcsidecar, p99", ground.few(folders), ours.quantile(0.99))
        if theirs is not None:
            yield Point(PLOT, "watchdog's observer, to its callback, median", ground.few(folders), theirs.median)
        yield Row(
            f"lease file made to gauge changed, {ground.few(folders):,} folders",
            ours.quantile(0.99),
            "s",
            "p99",
            GOAL_SECONDS if folders == GOAL_FOLDERS else None,
            f"median {written(ours.median, 's')}, {ours.spread()}",
            () if theirs is None else (peer("watchdog's observer on the same tree, to its callback", theirs),),
            f"`{_GAUGE}` is asked for a millisecond after each answer, by a connection kept alive; to ask once takes "
            f"{written(polls.median, 's')}",
            key=f"lease-gauge-{folders}",
        )


def _latencies(root: Path, connection: http.client.HTTPConnection, count: int) -> tuple[Samples, Samples]:
    """How long each lease took, and each question."""
    chance, taken = random.Random(1), []
    polls: list[float] = []
    folders = sorted(path for path in root.iterdir() if path.name != STATE)
    for folder in chance.choices(folders, k=count):
        lease = folder / ".lease.bench"
        began = time.perf_counter()
        lease.touch()
        _await_leased(connection, 1.0, polls)
        taken.append(time.perf_counter() - began)
        lease.unlink()
        _await_leased(connection, 0.0, polls)
        time.sleep(chance.uniform(0.0, _REST_SECONDS))
    return seconds(taken), seconds(polls)


def _await_leased(connection: http.client.HTTPConnection, leased: float, polls: list[float]) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        answer = scrape(connection, PLAIN_HEADERS, f"/metrics?name[]={_GAUGE}")
        polls.append(answer.seconds)
        if f'state="leased"}} {leased}' in answer.text:
            return
        time.sleep(_POLL_SECONDS)
        if time.monotonic() > until:
            raise BenchError(f"{_GAUGE} does not show {leased:.0f} leased folders")


def _watchers(root: Path, count: int) -> Samples:
    """How long watchdog's observer takes to tell of a file."""
    chance, taken = random.Random(1), []
    folders = sorted(path for path in root.iterdir() if path.name != STATE)
    command = (sys.executable, "-m", "bench.plain_watcher", str(root))
    with contextlib.closing(_Lines(command)) as lines:
        lines.await_line("watching")
        for folder in chance.choices(folders, k=count):
            lease = folder / ".lease.bench"
            began = time.perf_counter()
            lease.touch()
            lines.await_line(str(lease))
            taken.append(time.perf_counter() - began)
            lease.unlink()
            time.sleep(chance.uniform(0.0, _REST_SECONDS))
    return seconds(taken)


class _Lines:
    """What a program prints, line by line."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def await_line(self, line: str) -> None:
        """Read on up to this line."""
        assert self._popen.stdout is not None
        for found in self._popen.stdout:
            if found.rstrip("\n") == line:
                return
        raise BenchError(f"it ended before it printed {line}")

    def close(self) -> None:
        """End it."""
        self._popen.terminate()
        self._popen.communicate()

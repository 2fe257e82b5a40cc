"""`make run`: a small cache, jobs that need more than it may hold, and the sidecar at work on it, told in words.

It starts and ends the processes; what they do is theirs (`job.sh`, `gcsidecar run`), the words are the story's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import urllib.request
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from pathlib import Path
from typing import TYPE_CHECKING

from demo.story import MIB, Story
from gcsidecar import GcsidecarError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

JOB = Path(__file__).with_name("job.sh")
ROOT = "builds"
MAX_BYTES = 40 * MIB
FILES = 6
WORKERS = 3
# The first are in use most often. `train` takes its lease at the start and holds it to the end.
PROJECTS = ("web", "api", "search", "docs", "mobile", "billing", "maps", "mail", "login", "legacy")
LONG_JOB, LONG_SECONDS = "train", 7 * 24 * 3600
LEVEL_SECONDS = 2.0
START_SECONDS = 10.0
STOP_SECONDS = 1.5
# The series shown at the end.
TELLING = (
    'gcsidecar_evictions_total{reason="size"',
    "gcsidecar_eviction_reclaimed_bytes_total",
    'gcsidecar_kept_total{reason="leased"',
    "gcsidecar_root_max_size_bytes",
    "gcsidecar_root_cap_pressure_ratio",
)

# JSON is YAML, too. Other thresholds are off, so that the demo does the same on a full disk.
CONFIG = {
    "listen": "127.0.0.1:0",
    "log": {"format": "json"},
    "thresholds": {"disk": None, "inodes": None},
}

OPENING = f"""\
A cache that may hold {MAX_BYTES // MIB} MiB, and {len(PROJECTS) + 1} projects whose jobs keep {FILES} MiB each in it.
A job takes a lease on its project's folder, fills it, works for a while, and
releases the lease. The sidecar evicts what was not in use for longest, and never
what is leased. The project "train" holds its lease all the time.

  cache    {{directory}}
  metrics  {{metrics}}
  to end   Ctrl-C

"""


class Demo:
    """One run of it, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._cache = directory / "cache"
        self._config = directory / "gcsidecar.yaml"
        self._story = Story(ROOT, FILES)
        self._metrics = ""
        self._random = random.Random(4)

    async def run(self, seconds: float | None, stop: asyncio.Event) -> bool:
        """Run until it is to stop; whether the sidecar kept what it promises."""
        self._cache.mkdir()
        root = {"name": ROOT, "path": str(self._cache), "min_age": 0, "max_size": MAX_BYTES}
        self._config.write_text(json.dumps({**CONFIG, "roots": [root]}, indent=2))
        async with _process(sys.executable, "-m", "gcsidecar.sidecar.cli", "run", "--config", self._config) as log:
            async with asyncio.timeout(START_SECONDS):
                await self._until_it_listens(log)
            print(OPENING.format(directory=self._cache, metrics=self._metrics), end="", flush=True)
            await self._until(seconds, stop, log)
        print(f"\n{self._story.summary()}")
        return self._story.went_well

    async def _until(self, seconds: float | None, stop: asyncio.Event, log: asyncio.StreamReader) -> None:
        """All goes on at once until the time is over or somebody stops it; nothing else may end before."""
        endless = [self._follow(log), self._show_level(), self._job(LONG_JOB, LONG_SECONDS)]
        endless += [self._work(number) for number in range(WORKERS)]
        tasks = [asyncio.create_task(part) for part in (stop.wait(), *endless)]
        try:
            ended, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
            self._check_what_is_leased()
            print("\nPrometheus reads now:", *await asyncio.to_thread(_telling, self._metrics), sep="\n  ")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # Jobs

    async def _work(self, number: int) -> None:
        """One worker: job after job."""
        await asyncio.sleep(0.7 * number)
        while True:
            idle = [project for project in PROJECTS if project not in self._story.busy]
            weights = [len(PROJECTS) - PROJECTS.index(project) for project in idle]
            await self._job(self._random.choices(idle, weights)[0], self._random.uniform(1.0, 3.5))

    async def _job(self, name: str, seconds: float) -> None:
        self._story.job_starts(name)
        async with _process("sh", JOB, self._cache / name, FILES, round(seconds, 1)) as output:
            async for line in output:
                self._story.job_says(name, line.decode())

    def _check_what_is_leased(self) -> None:
        """Of jobs that are in the middle of it."""
        for name in self._story.filled:
            self._story.check(name, len(list((self._cache / name).glob("[!.]*"))))

    # The sidecar

    async def _until_it_listens(self, log: asyncio.StreamReader) -> None:
        async for line in log:
            if not line.startswith(b"{"):
                raise DemoError(f"the sidecar can't start: {line.decode()}")
            event = json.loads(line)
            if event["event"] == "listening":
                self._metrics = f"http://127.0.0.1:{event['ports']}/metrics"
                return
        raise DemoError("the sidecar ended at its start")

    async def _follow(self, log: asyncio.StreamReader) -> None:
        async for line in log:
            self._story.sidecar_says(json.loads(line))
        raise DemoError("the sidecar has ended")

    async def _show_level(self) -> None:
        while True:
            await asyncio.sleep(LEVEL_SECONDS)
            self._story.level(*_sizes(self._cache), MAX_BYTES)


class DemoError(GcsidecarError):
    """The demo can't go on."""


@contextlib.asynccontextmanager
async def _process(*command: object) -> AsyncIterator[asyncio.StreamReader]:
    """A process that is ended with all that it started; gives what it prints.

    It is in a group of its own, so that Ctrl-C ends it in our order.
    """
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, process_group=0
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                os.killpg(process.pid, number)
                await asyncio.wait_for(process.wait(), STOP_SECONDS)


def _sizes(cache: Path) -> tuple[int, int]:
    """Bytes in folders that are leased and in those that are not, as they lie there."""
    sizes = {True: 0, False: 0}
    for folder in cache.glob("[!.]*"):
        with contextlib.suppress(FileNotFoundError):
            files = list(folder.iterdir())
            is_leased = any(file.name.startswith(".lease.") for file in files)
            sizes[is_leased] += sum(file.stat().st_size for file in files)
    return sizes[True], sizes[False]


def _telling(url: str) -> list[str]:
    """The lines of a scrape that say most."""
    with urllib.request.urlopen(url, timeout=STOP_SECONDS) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return [line for line in lines if line.startswith(TELLING)]


async def _main(seconds: float | None) -> bool:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with tempfile.TemporaryDirectory(prefix="gcsidecar-demo-") as directory:
        return await Demo(Path(directory)).run(seconds, stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 where the sidecar kept what it promises."""
    parser = argparse.ArgumentParser(prog="demo", description="Shows the sidecar at work on a small cache.")
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="end by itself after so long")
    try:
        return 0 if asyncio.run(_main(parser.parse_args(arguments).duration)) else 1
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

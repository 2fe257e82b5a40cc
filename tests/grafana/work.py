"""Jobs for a cache that is to be looked at: threads that want a project's folder, fill it, and let go of it."""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

KIB = 1 << 10
BLOCK = os.urandom(64 * KIB)


@dataclass(frozen=True, slots=True)
class Job:
    """What a thread does again and again.

    Attributes:
        root: Where.
        projects: How many there are; the first are wanted most often.
        file_bytes: The size of a file.
        files: How many a folder has, at least and at most.
        pause_seconds: Between two uses, about.
        hold_seconds: How long it uses what it has, about.
    """

    root: Path
    projects: int
    file_bytes: int
    files: tuple[int, int]
    pause_seconds: float
    hold_seconds: float = 1.0

    def folder(self, chance: random.Random) -> Path:
        """One of the projects, the first ones more often."""
        return self.root / f"project-{int(self.projects * chance.random() ** 2):02}"

    def size(self, folder: Path) -> int:
        """How many files a project's folder has: always the same."""
        return random.Random(folder.name).randint(*self.files)


class Workers:
    """Threads at work until the end."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def hire(self, job: Job, seed: int) -> None:
        """Start one."""
        self._start(lambda: self._work(job, random.Random(seed)))

    def _start(self, what: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=what))
        self._threads[-1].start()

    def _work(self, job: Job, chance: random.Random) -> None:
        while not self._over.wait(chance.expovariate(1 / job.pause_seconds)):
            folder = job.folder(chance)
            lease = _take(folder)
            if lease is not None:
                self._fill(job, folder)
                self._over.wait(chance.expovariate(1 / job.hold_seconds))
                lease.unlink(missing_ok=True)

    def _fill(self, job: Job, folder: Path) -> None:
        """A file after the other; a full disk ends it, as it would end a build."""
        for number in range(job.size(folder)):
            path = folder / str(number)
            if path.exists():
                continue
            try:
                write(path, job.file_bytes)
            except OSError:
                return
            if self._over.wait(0.02):
                return


def _take(folder: Path) -> Path | None:
    """A lease, or none where the folder went in that very moment."""
    try:
        folder.mkdir(exist_ok=True)
        handle, lease = tempfile.mkstemp(prefix=".lease.", dir=folder)
    except OSError:
        return None
    os.close(handle)
    return Path(lease) if os.path.exists(lease) else None


def write(path: Path, size_bytes: int) -> None:
    """A file of so many bytes."""
    with path.open("wb") as file:
        for begin in range(0, size_bytes, len(BLOCK)):
            file.write(BLOCK[: size_bytes - begin])


def old(job: Job, ages_seconds: list[float]) -> None:
    """Folders that were there before and were last used so long ago, one for each."""
    for number, age in enumerate(ages_seconds):
        folder = job.root / f"project-{number:02}"
        folder.mkdir()
        for file in range(job.size(folder)):
            write(folder / str(file), job.file_bytes)
        then = time.time() - age
        for path in (*folder.iterdir(), folder):
            os.utime(path, (then, then))

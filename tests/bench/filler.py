"""A client that fills a root with folders at some speed, each under a lease while it is written."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.process import BenchError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

# The default thresholds.
TRIGGER_SHARE, TARGET_SHARE = 0.20, 0.25
_POLL_SECONDS = 0.0002
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Shape:
    """What is written: into a filesystem of so many bytes, folders of so many files of so many bytes."""

    size_bytes: int
    files: int
    file_bytes: int


class Client:
    """Fills a root as the README asks clients to.

    What it sees is timed: from the first `statvfs` that shows less free than the trigger, right after the write that
    made it so, to the first one that shows more free than before. It writes nothing between the two, as that would
    hide the rise.
    """

    def __init__(self, root: Path, shape: Shape) -> None:
        self._root, self._shape = root, shape
        self._numbers = itertools.count()
        self._content = bytes(shape.file_bytes)
        self._trigger = math.ceil(shape.size_bytes * TRIGGER_SHARE)

    def fill_up_to(self, share: float) -> None:
        """Write at full speed until no more than this share is free."""
        writing = self._writes(math.inf)
        while self.free() > self._shape.size_bytes * share:
            next(writing)
        writing.close()

    def clear(self, share: float) -> None:
        """Remove the oldest folders, as their owner may, until this share is free."""
        for folder in sorted(self._root.glob("project-*")):
            if self.free() >= self._shape.size_bytes * share:
                return
            shutil.rmtree(folder, ignore_errors=True)

    def cross(self, rate: float) -> float:
        """Write until the trigger is crossed; returns after how many seconds something was freed."""
        writing = self._writes(rate)
        while (free := self.free()) >= self._trigger:
            next(writing)
        crossed = time.perf_counter()
        while self.free() <= free:
            if time.perf_counter() - crossed > _PATIENCE_SECONDS:
                raise BenchError(f"nothing was freed within {_PATIENCE_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)
        reacted = time.perf_counter() - crossed
        writing.close()
        return reacted

    def await_target(self) -> None:
        """Wait until the collection is over."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while self.free() < self._shape.size_bytes * TARGET_SHARE:
            if time.monotonic() > until:
                raise BenchError(f"the target was not reached within {_PATIENCE_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    def free(self) -> int:
        """What an ordinary user may still take, in bytes."""
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize

    def _writes(self, rate: float) -> Generator[None, None, None]:
        """Write folder after folder at this rate, a file each step."""
        due = time.perf_counter()
        while True:
            folder = self._root / f"project-{next(self._numbers):06}"
            folder.mkdir()
            lease = folder / ".lease"
            lease.touch()
            try:
                for number in range(self._shape.files):
                    (folder / f"file-{number}").write_bytes(self._content)
                    due += self._shape.file_bytes / rate
                    time.sleep(max(0.0, due - time.perf_counter()))
                    yield
            finally:
                lease.unlink()

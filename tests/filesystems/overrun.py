"""How far and for how long a capped root is over its budget while one leased folder of it grows deep inside.

The root has a filesystem of its own, so that what it takes is known at any moment without a walk.
"""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
FILE_BYTES = 256 * 1024
FILES_A_DIRECTORY = 1000
IDLE_BYTES = 32 * MIB
LEASED = "leased"
_LOOK_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Overrun:
    """One time that a root was over its cap: for how long, and by how much at most."""

    seconds: float
    most_bytes: int


def furnish(root: Path, *, files: int, idle: int) -> None:
    """Make one leased folder with so many empty files, and so many idle folders of 32 MiB."""
    for directory in range(-(-files // FILES_A_DIRECTORY)):
        path = root / LEASED / f"{directory:04}"
        path.mkdir(parents=True, exist_ok=True)
        for number in range(min(FILES_A_DIRECTORY, files - directory * FILES_A_DIRECTORY)):
            os.close(os.open(path / f"{number:03}", os.O_WRONLY | os.O_CREAT))
    (root / LEASED / "deep/inside").mkdir(parents=True, exist_ok=True)
    (root / LEASED / ".lease").touch()
    for number in range(idle):
        (root / f"idle-{number:03}").mkdir()
        (root / f"idle-{number:03}/data").write_bytes(bytes(IDLE_BYTES))


def used_bytes(root: Path) -> int:
    """What the root takes, where nothing else lies on its filesystem."""
    found = os.statvfs(root)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def overruns(root: Path, max_bytes: int, *, bytes_per_second: float, patience_seconds: float) -> Iterator[Overrun]:
    """Let the leased folder grow without a pause; gives each time that the root was over its cap.

    It ends where the root stays over its cap for longer than it has patience: what that comes to is the last.
    """
    deep, numbers, content = root / LEASED / "deep/inside", itertools.count(), bytes(FILE_BYTES)
    due = time.monotonic()
    over_since: float | None = None
    most = 0
    while True:
        (deep / f"{next(numbers):08}").write_bytes(content)
        due += FILE_BYTES / bytes_per_second
        while True:
            over = used_bytes(root) - max_bytes
            now = time.monotonic()
            if over > 0:
                over_since, most = now if over_since is None else over_since, max(most, over)
            if over_since is not None and (over <= 0 or now - over_since > patience_seconds):
                yield Overrun(now - over_since, most)
                if over > 0:
                    return
                over_since, most = None, 0
            if now >= due:
                break
            time.sleep(min(_LOOK_SECONDS, due - now))

"""A root that only says what it is configured to be, and folders of it, for tests."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from gcsidecar.cache.folders.folder import Folder
from gcsidecar.cache.folders.table import Table
from gcsidecar.cache.walking.sizes import TreeSize

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_700_000_000.0
SIZE = TreeSize(4096, 3, 100, NOW - 50, NOW - 20, 3, None, 0)


@dataclasses.dataclass
class FakeHome:
    """A root that only says what it is configured to be."""

    name: str = "jobs"
    priority: int = 0
    min_age_seconds: float = 0.0
    max_idle_seconds: float | None = None
    in_memory: bool = False
    reason: str | None = None

    def __post_init__(self) -> None:
        self.restraints: Any = self
        self.jumps: Any = self
        self.custody: Any = None

    def look(self, _folder: Folder) -> None:
        return None

    def held_until(self, _folder: Folder, _reason: str) -> float | None:
        return None

    def holds_back(self, _folder: Folder) -> str | None:
        return self.reason

    def trusted_now(self, now: float) -> float:
        return now


def folder_at(path: Path, home: FakeHome, *, pinned: bool = False, arrived_at: float | None = None) -> Folder:
    os.utime(path, (NOW - 100, NOW - 100))
    status = path.stat()
    return Folder(Table(home, status.st_dev), "a", status, pinned=pinned, arrived_at=arrived_at)

"""What lies apart in `.gcsidecar/`, parked or condemned, and what it takes, as far as that is known.

It lists and remembers, and walks through nothing: sizes are what was known of a folder, or what it is told.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.cache.eviction.slots import CONDEMNED, EVICTING, decode
from gcsidecar.contract import STATE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gcsidecar.cache.eviction.slots import Side


@dataclass(slots=True)
class _Lying:
    """One folder that lies apart: its path below the root, and its size, none until that is known."""

    path: str
    disk_bytes: int | None
    is_asked: bool = False


class Apart:
    """What lies in the slots of these sides. Thread-safe."""

    def __init__(self, *sides: Side) -> None:
        self._sides = sides
        self._lock = threading.Lock()
        # An entry's name tells most folders apart, and its inode those whose names are too long for that.
        self._lying: dict[tuple[str, str, int], _Lying] = {}
        self._slots_bytes = 0

    @property
    def disk_bytes(self) -> int:
        """What it takes, the slots included; what isn't known yet counts nothing."""
        with self._lock:
            return self._slots_bytes + sum(lying.disk_bytes or 0 for lying in self._lying.values())

    def look(self, known: Mapping[int, int] | None = None, *, tried: Collection[str] = ()) -> None:
        """List it anew.

        Args:
            known: What folders took, by inode, that may be lying here whole now.
            tried: Folders of which some may have been deleted since the last look.

        Raises:
            OSError: It can't be listed; what was known stays.
        """
        found: dict[tuple[str, str, int], _Lying] = {}
        slots_bytes = 0
        for side in self._sides:
            slots_bytes += side.own_bytes()
            found |= self._found(side, known or {}, tried)
        with self._lock:
            self._lying, self._slots_bytes = found, slots_bytes

    def unknown(self) -> list[str]:
        """Paths of what is to be measured; each is named once in a look's time, measured or not."""
        with self._lock:
            asked = [lying for lying in self._lying.values() if lying.disk_bytes is None and not lying.is_asked]
            for lying in asked:
                lying.is_asked = True
            return [lying.path for lying in asked]

    def parked(self) -> list[str]:
        """Paths of what holders may still write in."""
        with self._lock:
            return [lying.path for (side, _, _), lying in self._lying.items() if side == EVICTING]

    def measured(self, path: str, disk_bytes: int) -> None:
        """Take in a size."""
        with self._lock:
            for lying in self._lying.values():
                if lying.path == path:
                    lying.disk_bytes = disk_bytes

    def _found(
        self, side: Side, known: Mapping[int, int], tried: Collection[str]
    ) -> dict[tuple[str, str, int], _Lying]:
        found = {}
        with side.occupied() as slots:
            for slot in slots:
                with contextlib.suppress(FileNotFoundError):
                    inode = os.stat(slot.entry, dir_fd=slot.fd, follow_symlinks=False).st_ino
                    key = (side.side, slot.entry, inode)
                    path = f"{STATE_DIRECTORY}/{side.side}/{slot.name}/{slot.entry}"
                    found[key] = self._lies(key, path, known, tried)
        return found

    def _lies(self, key: tuple[str, str, int], path: str, known: Mapping[int, int], tried: Collection[str]) -> _Lying:
        """What is known of it: before, or by whoever moved it; of what was condemned some may be gone by now."""
        side, entry, inode = key
        before = self._lying.get(key)
        if before is None:
            return _Lying(path, known.get(inode))
        return _Lying(path, None if side == CONDEMNED and decode(entry) in tried else before.disk_bytes)

"""The folders of a root as a source of candidates: in planning order, each described only when its turn comes.

It sorts and describes; what goes is for the planner.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from gcsidecar.cache.folders.table import NO_STATE
from gcsidecar.gc.pressure import Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.folders.table import Table
    from gcsidecar.gc.disposable import Disposable
    from gcsidecar.gc.planning import Candidate
    from gcsidecar.gc.pressure import Threshold


class FolderSource:
    """The `DisposableSource` of one root.

    Args:
        table: Of its folders.
        get: One of them by its name.
    """

    def __init__(self, table: Table, get: Callable[[str], Folder | None]) -> None:
        self._table, self._get = table, get

    def candidates(self, now: float, thresholds: Sequence[Threshold]) -> Iterator[Candidate]:
        """All of them, in order."""
        return self._described(self._table.folders(), now, thresholds)

    def due(self, now: float, thresholds: Sequence[Threshold]) -> Iterator[Candidate]:
        """Those that have been idle for too long, in order; while there are none, that costs next to nothing."""
        limit_seconds = self._table.home.max_idle_seconds
        if limit_seconds is None:
            return iter(())
        used_at, since = self._table.used_at, self._table.home.jumps.trusted_now(now) - limit_seconds
        if min(used_at, default=since) >= since:
            return iter(())
        idle = [folder for folder in self._table.folders() if used_at[folder.row] < since]
        return (candidate for candidate in self._described(idle, now, thresholds) if candidate.due is not None)

    def has(self, disposable: Disposable) -> bool:
        """Whether it is one of them now."""
        name = getattr(disposable, "name", None)
        return isinstance(name, str) and self._get(name) is disposable

    def _described(self, folders: list[Folder], now: float, thresholds: Sequence[Threshold]) -> Iterator[Candidate]:
        used_at, disk_bytes, state = self._table.used_at, self._table.disk_bytes, self._table.state
        folders.sort(key=lambda folder: used_at[folder.row])
        parts: tuple[Iterable[Folder], ...] = (folders,)
        if self._is_size_asked_for(thresholds):
            known = (folder for folder in folders if disk_bytes[folder.row] >= 0)
            unknown = (folder for folder in folders if disk_bytes[folder.row] < 0)
            parts = (known, unknown)
        for part in parts:
            for folder in _with_ties_by_name(part, used_at, now):
                if state[folder.row] != NO_STATE:  # else it went since they were sorted
                    yield folder.candidate(now)

    def _is_size_asked_for(self, thresholds: Sequence[Threshold]) -> bool:
        home = self._table.home
        sizes = {Resource.DISK, Resource.INODES, Resource.SIZE} | ({Resource.MEMORY} if home.in_memory else set())
        return any(held.resource in sizes and held.group in {None, home.name} for held in thresholds)


def _with_ties_by_name(folders: Iterable[Folder], used_at: Sequence[float], now: float) -> Iterator[Folder]:
    """A last use in the future counts as now, so that those, too, are in the order of their names."""
    for _, tied in itertools.groupby(folders, key=lambda folder: min(used_at[folder.row], now)):
        found = list(tied)
        yield from found if len(found) == 1 else sorted(found, key=lambda folder: folder.name)

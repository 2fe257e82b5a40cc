"""Stocktaking: what the history knew of a root's folders, compared with those that are there.

After it the census knows when each arrived, and the history what came and went while nobody looked. Both are walked in
small parts; no list of all arrivals is ever made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.cache.history.limits import BATCH
from gcsidecar.cache.history.records import Arrival, Departure, How

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsidecar.cache.census import Census
    from gcsidecar.cache.history.database import Database


def take_stock(database: Database, census: Census, returned: Callable[[str, float], None], now: float) -> None:
    """Bring history and census in line.

    Args:
        database: What was known.
        census: What is there, all of it seen once.
        returned: Told of each name that appeared while nobody looked, and when.
        now: POSIX seconds.

    Raises:
        HistoryError: The history can't be read or written.
        OSError: As that.
    """
    new = {folder.name for folder in census.folders()}
    for known in database.present():
        gone = []
        for one in known:
            if census.remember(one.name, one.inode, one.arrived_at, one.touched_at):
                new.discard(one.name)
            else:
                gone.append(Departure(one.name, one.inode, now, How.MISSED))
        if gone:
            database.write(gone)
    arrivals = _arrivals(census, new, returned if database.settled else None)
    while batch := [arrival for _, arrival in zip(range(BATCH), arrivals, strict=False)]:
        database.write(batch)
    database.settle(now)


def _arrivals(census: Census, names: set[str], returned: Callable[[str, float], None] | None) -> Iterator[Arrival]:
    """Of folders that the history didn't know; one whose arrival nobody saw arrived at its ctime, if there was one."""
    for name in names:
        folder = census.get(name)
        if folder is None:
            continue
        inode = folder.identity[1]
        if folder.arrived_at is None and returned is not None:
            changed_at = folder.ctime_ns / 1e9
            if census.remember(name, inode, changed_at, 0.0):
                returned(name, changed_at)
        yield Arrival(name, inode, folder.arrived_at)

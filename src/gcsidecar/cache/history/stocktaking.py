"""Stocktaking: what the history knew of a root's folders, compared with those that are there.

After it the census knows when each arrived, and the history what came and went while nobody looked. Both are walked in
small parts; no list of all arrivals is ever made.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from gcsidecar.cache.history.limits import BATCH
from gcsidecar.cache.history.records import Arrival, Departure, How

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsidecar.cache.folders.census import Census
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
    some_are_gone = False
    for known in database.present():
        for one in known:
            if census.remember(one.name, one.inode, one.arrived_at, one.touched_at):
                new.discard(one.name)
            else:
                some_are_gone = True
    if database.settled:
        for name in new:
            _arrived_unseen(census, name, returned)
    # From here on it is only written: on a full disk all that decisions need is known by now.
    if some_are_gone:
        _write_departures(database, census, now)
    arrivals = _arrivals(census, new)
    while batch := list(itertools.islice(arrivals, BATCH)):
        database.write(batch)
    if census.complete:
        database.settle(now)


def _arrived_unseen(census: Census, name: str, returned: Callable[[str, float], None]) -> None:
    """A folder that the history doesn't know, and whose arrival nobody saw, arrived at its ctime."""
    folder = census.get(name)
    if folder is None or folder.arrived_at is not None:
        return
    changed_at = folder.ctime_ns / 1e9
    if census.remember(name, folder.identity[1], changed_at, 0.0):
        returned(name, changed_at)


def _write_departures(database: Database, census: Census, now: float) -> None:
    for known in database.present():
        found = [(one, census.get(one.name)) for one in known]
        gone = [one for one, folder in found if folder is None or folder.identity[1] != one.inode]
        # A census that is being closed forgets its folders; while this is still so, it knew them all just now.
        if gone and census.complete:
            database.write([Departure(one.name, one.inode, now, How.MISSED) for one in gone])


def _arrivals(census: Census, names: set[str]) -> Iterator[Arrival]:
    for name in names:
        folder = census.get(name)
        if folder is not None:
            yield Arrival(name, folder.identity[1], folder.arrived_at)

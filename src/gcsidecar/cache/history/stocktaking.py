"""Stocktaking: what the history knew of a root's folders, compared with those that are there.

After it the census knows when each arrived, and the history what came and went while nobody looked. Both are walked in
small parts; no list of all folders is ever made.
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
    """Bring history and census in line; the census has been told already what was known of each folder.

    Args:
        database: What was known.
        census: What is there, all of it seen once.
        returned: Told of each name that appeared while nobody looked, and when.
        now: POSIX seconds.

    Raises:
        HistoryError: The history can't be read or written.
        OSError: As that.
    """
    matched, some_are_gone = _compare(database, census)
    some_are_new = matched < census.count
    if some_are_new and database.settled:
        for new in _new(database, census):
            for name, _ in new:
                _arrived_unseen(census, name, returned)
    # From here on it is only written: on a full disk all that decisions need is known by now.
    if some_are_gone:
        _write_departures(database, census, now)
    if some_are_new:
        for new in _new(database, census):
            database.write([arrival for name, _ in new if (arrival := _arrival(census, name)) is not None])
    if census.complete:
        database.settle(now)


def _compare(database: Database, census: Census) -> tuple[int, bool]:
    """How many of those that were known are there, and whether some are not."""
    known = matched = 0
    for some in database.names():
        known += len(some)
        matched += sum(_is_there(census, name, inode) for name, inode in some)
    return matched, matched < known


def _is_there(census: Census, name: str, inode: int) -> bool:
    folder = census.get(name)
    return folder is not None and folder.identity[1] == inode


def _new(database: Database, census: Census) -> Iterator[list[tuple[str, int]]]:
    """Names and inodes of folders that are there and not in the history, some at a time."""
    there = ((folder.name, folder.identity[1]) for folder in census.folders())
    while some := list(itertools.islice(there, BATCH)):
        if new := database.missing(some):
            yield new


def _arrived_unseen(census: Census, name: str, returned: Callable[[str, float], None]) -> None:
    """A folder that the history doesn't know, and whose arrival nobody saw, arrived at its ctime."""
    folder = census.get(name)
    if folder is None or folder.arrived_at is not None:
        return
    changed_at = folder.ctime_ns / 1e9
    if census.came(name, folder.identity[1], changed_at):
        returned(name, changed_at)


def _write_departures(database: Database, census: Census, now: float) -> None:
    for known in database.names():
        gone = [(name, inode) for name, inode in known if not _is_there(census, name, inode)]
        # A census that is being closed forgets its folders; while this is still so, it knew them all just now.
        if gone and census.complete:
            database.write([Departure(name, inode, now, How.MISSED) for name, inode in gone])


def _arrival(census: Census, name: str) -> Arrival | None:
    folder = census.get(name)
    return None if folder is None else Arrival(name, folder.identity[1], folder.arrived_at)

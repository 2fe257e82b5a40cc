"""Reconciling: one listing of a root tells which of its folders have to be looked at, since they are new or changed.

Names, times and leases, no sizes; each look is the finder's.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Protocol

from gcsidecar.cache.folders.finder import FinderHome

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

    from gcsidecar.cache.folders.census import Census
    from gcsidecar.cache.folders.finder import Finder
    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.folders.hearers import Watch
    from gcsidecar.cache.use.lease import LeasePatterns

# After so many folders others have a turn.
CHUNK = 64


class ReconcilingHome(FinderHome, Protocol):
    """What reconciling needs of its root."""

    patterns: LeasePatterns


class Reconciling:
    """Of one root.

    Args:
        root: Which.
        census: What is known of its folders.
        finder: Looks at one of them.
        watch: Told of directories above folders, before they are listed.
    """

    def __init__(self, root: ReconcilingHome, census: Census, finder: Finder, watch: Watch) -> None:
        self._root, self._census, self._finder, self._watch = root, census, finder, watch
        self._table = census.table

    def run(self) -> Iterator[None]:
        """Do it; gives others a turn now and then.

        Raises:
            OSError: The root can't be listed; what was known stays.
        """
        census, table = self._census, self._table
        table.begin_round()
        new: list[tuple[int, str]] = []
        beside = self._where_to_look_beside()
        for number, found in enumerate(self._root.glob.list(self._root.fd, self._watch.add_above), start=1):
            folder = census.get(found.name)
            if folder is None and census.complete:
                new.append((found.status.st_ctime_ns, found.name))
            elif folder is None or not self.stands_still(folder, found.status):
                self._finder.refresh(found.name, beside=beside(found.name))
            if number % CHUNK == 0:
                yield
        # They arrive one after the other, the one that was there first before the others, however they are listed.
        yield from self._look_at((name for _, name in sorted(new)), beside)
        yield from self._look_at((folder.name for folder in table.not_seen()), lambda _name: True)
        self.look_beside()
        census.whole()

    def stands_still(self, folder: Folder, status: os.stat_result) -> bool:
        """A folder whose mtime and ctime stand still has the same entries; but how its leases are may have changed."""
        table, row = self._table, folder.row
        table.see(row)
        return (
            table.stands_still(row, status)
            and bool(table.settled[row])
            and self._root.patterns.shows_in_mtime
            and not self._root.lookout.may_change(folder)
        )

    def look_beside(self) -> None:
        """Look anew at each folder beside which a lease came or went.

        Raises:
            OSError: The root can't be listed.
        """
        names, is_folder = self._census.names(), self._census.is_known
        found = self._root.patterns.folders_with_lease_beside(self._root.fd, names, is_folder)
        had = {folder.name for folder in self._table.rare_folders() if folder.beside}
        for name in found ^ had:
            self._finder.refresh(name)

    def _look_at(self, names: Iterable[str], beside: Callable[[str], bool]) -> Iterator[None]:
        for number, name in enumerate(names, start=1):
            self._finder.refresh(name, beside=beside(name))
            if number % CHUNK == 0:
                yield

    def _where_to_look_beside(self) -> Callable[[str], bool]:
        """Beside every folder, unless there is much to be looked at: then one listing tells which, for all of them.

        At the start that is cheaper; and where a look beside one lists a directory, 10,000 of them took a minute.
        """
        if self._census.complete and not self._root.patterns.lists_beside:
            return lambda _name: True
        listed = functools.cache(self._with_lease_beside)
        return lambda name: name in listed()

    def _with_lease_beside(self) -> set[str]:
        names = {found.name for found in self._root.glob.list(self._root.fd)}
        return self._root.patterns.folders_with_lease_beside(self._root.fd, names, names.__contains__)

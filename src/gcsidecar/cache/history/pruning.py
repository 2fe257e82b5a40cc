"""Keeps the history's tables within their bounds: what happened longest ago goes first, what is there stays.

It counts what the database tells it; which record becomes which row is the database's.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from gcsidecar.cache.history.connection import transaction

if TYPE_CHECKING:
    from gcsidecar.cache.history.limits import Limits

# So many folders, or uses, go at once: as little as a transaction of new records changes.
_FOLDERS, _USES = 64, 1024
# A row for each start.
_RECORDINGS = 1000

_OLDEST_USES = "DELETE FROM uses WHERE rowid IN (SELECT rowid FROM uses ORDER BY rowid LIMIT ?)"
_OLDEST_GONE = "SELECT id FROM folders WHERE departed_at IS NOT NULL ORDER BY departed_at, id LIMIT ?"
_ALL_OF_A_FOLDER = (
    "DELETE FROM uses WHERE folder = ?",
    "DELETE FROM wants WHERE folder = ?",
    "DELETE FROM evictions WHERE folder = ?",
    "DELETE FROM folders WHERE id = ?",
)


class Pruning:
    """Of one open database.

    Attributes:
        folders: Rows of folders, there and gone; `gone` of them are.
        uses: Rows of uses.
    """

    def __init__(self, connection: sqlite3.Connection, limits: Limits) -> None:
        self._connection, self._limits = connection, limits
        self.folders = self.gone = self.uses = 0
        self.count()
        self.prune()
        if self._value("PRAGMA page_count") > limits.pages:  # the bound was larger before
            connection.execute("PRAGMA incremental_vacuum").fetchall()
        connection.execute(f"PRAGMA max_page_count={limits.pages}")

    def count(self) -> None:
        """Count anew, after what was counted came to nothing."""
        self.folders = self._value("SELECT count(*) FROM folders")
        self.gone = self._value("SELECT count(*) FROM folders WHERE departed_at IS NOT NULL")
        self.uses = self._value("SELECT count(*) FROM uses")

    def has_room(self) -> bool:
        """Whether one more folder that is there may have a row; gone ones make room."""
        return self.folders - self.gone < self._limits.rows

    def is_full(self, error: sqlite3.Error) -> bool:
        """Whether it is our own bound that an error tells of, and not the disk's."""
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        return full and self._value("PRAGMA page_count") >= self._limits.pages

    def prune(self) -> None:
        """Let the oldest go, for as long as it is too large and there is something that may go."""
        while self._is_too_large() and self.prune_some():
            pass

    def prune_some(self) -> bool:
        """Let some of the oldest go; False where all is of folders that are there."""
        rows = self._limits.rows
        if self.uses > rows or (self.folders <= rows and self.uses > self.gone):
            self._prune_uses()
        elif self.gone:
            self._prune_gone()
        else:
            return self.uses > 0 and self._prune_uses()
        return True

    def _prune_uses(self) -> bool:
        with transaction(self._connection):
            self.uses -= self._connection.execute(_OLDEST_USES, (_USES,)).rowcount
        return True

    def _prune_gone(self) -> None:
        """A folder that is gone, and all that is known of it."""
        with transaction(self._connection):
            rows = self._connection.execute(_OLDEST_GONE, (_FOLDERS,)).fetchall()
            for statement in _ALL_OF_A_FOLDER:
                self._connection.executemany(statement, rows)
        self.count()

    def forget_recordings(self, last: int) -> None:
        """Keep the times of the last recordings only."""
        self._connection.execute("DELETE FROM recordings WHERE id <= ?", (last - _RECORDINGS,))

    def _is_too_large(self) -> bool:
        rows, free = self._limits.rows, self._value("PRAGMA freelist_count")
        pages = self._value("PRAGMA page_count") - free
        return self.folders > rows or self.uses > rows or pages > self._limits.full_pages

    def _value(self, query: str) -> int:
        row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0

"""Keeps the history's tables within their bounds: what happened longest ago goes first, what is there stays.

It counts what the database tells it; which record becomes which row is the database's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.cache.history.connection import transaction
from gcsidecar.cache.history.limits import KNOWN_BYTES, row_bytes

if TYPE_CHECKING:
    import sqlite3

    from gcsidecar.cache.history.limits import Limits

# So many folders, or uses, go at once at most: as little as a transaction of new records changes.
_FOLDERS, _USES = 64, 1024
# The version of the tables from which on more is known of a folder that is there than that it is.
_KNOWN_SINCE = 2
# A row for each start.
_RECORDINGS = 1000

_PRESENT = "SELECT count(*), sum(length(name)), {known} FROM folders WHERE departed_at IS NULL"
_OLDEST_USES = "DELETE FROM uses WHERE rowid IN (SELECT rowid FROM uses ORDER BY rowid LIMIT ?)"
_OLDEST_GONE = "SELECT id FROM folders WHERE departed_at IS NOT NULL ORDER BY departed_at, id LIMIT ?"
_ALL_OF_A_FOLDER = (
    "DELETE FROM uses WHERE folder = ?",
    "DELETE FROM wants WHERE folder = ?",
    "DELETE FROM evictions WHERE folder = ?",
    "DELETE FROM folders WHERE id = ?",
)


class NoRoomError(Exception):
    """The history is as large as it may become; caught where it is written."""


class Pruning:
    """Of one open database.

    Attributes:
        folders: Rows of folders, there and gone; `gone` of them are.
        present_bytes: What the rows of those that are there take, about.
        uses: Rows of uses.
    """

    def __init__(self, connection: sqlite3.Connection, limits: Limits) -> None:
        self._connection, self._limits = connection, limits
        self._last_page = limits.last_page  # asked for with each record
        self.folders = self.gone = self.present_bytes = self.uses = 0
        self.count()
        self.prune()
        if self._value("PRAGMA page_count") > limits.pages:  # the bound was larger before
            # A step a page; `execute` would take the first only, since they give no values.
            connection.executescript("PRAGMA incremental_vacuum")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute(f"PRAGMA max_page_count={limits.pages}")

    def count(self) -> None:
        """Count anew, after what was counted came to nothing."""
        self.folders = self._value("SELECT count(*) FROM folders")
        self.gone = self._value("SELECT count(*) FROM folders WHERE departed_at IS NOT NULL")
        self.uses = self._value("SELECT count(*) FROM uses")
        known = "count(ctime_ns)" if self._value("PRAGMA user_version") >= _KNOWN_SINCE else "0"
        present, names_bytes, known_rows = self._connection.execute(_PRESENT.format(known=known)).fetchone()
        self.present_bytes = 2 * (names_bytes or 0) + present * row_bytes(b"") + known_rows * KNOWN_BYTES

    def arrived(self, name: bytes) -> bool:
        """Count one more folder that is there; False where there is no room for it beside others that are."""
        more_bytes = row_bytes(name)
        if self.folders - self.gone >= self._limits.rows:
            return False
        if self.present_bytes + more_bytes > self._limits.present_bytes:
            return False
        self.folders += 1
        self.present_bytes += more_bytes
        return True

    def became_known(self) -> bool:
        """Count that more is known of one that is there; False where there is no room for that."""
        if self.present_bytes + KNOWN_BYTES > self._limits.present_bytes:
            return False
        self.present_bytes += KNOWN_BYTES
        return True

    def departed(self, name: bytes, *, known: bool) -> None:
        """Count one less, of which more was known, or not."""
        self.gone += 1
        self.present_bytes -= row_bytes(name) + known * KNOWN_BYTES

    def expect_room(self) -> None:
        """See that the transaction under way may go on.

        Raises:
            NoRoomError: Our own bound is reached; the disk's would be an error of sqlite's.
        """
        if self._value("PRAGMA page_count") >= self._last_page and not self._value("PRAGMA freelist_count"):
            raise NoRoomError

    def prune(self) -> None:
        """Let the oldest go, for as long as it is too large and there is something that may go."""
        while self._is_too_large() and self.prune_some():
            pass

    def prune_some(self) -> bool:
        """Let some of the oldest go; False where all is of folders that are there."""
        rows = self._limits.rows
        if self.uses and (self.uses > rows or (self.folders <= rows and self.uses > self.gone) or not self.gone):
            self._prune_uses(_some(self.uses, self.uses - rows, _USES))
        elif self.gone:
            self._prune_gone(_some(self.gone, self.folders - rows, _FOLDERS))
        else:
            return False
        return True

    def _prune_uses(self, uses: int) -> None:
        with transaction(self._connection):
            self.uses -= self._connection.execute(_OLDEST_USES, (uses,)).rowcount

    def _prune_gone(self, folders: int) -> None:
        """A folder that is gone, and all that is known of it."""
        with transaction(self._connection):
            rows = self._connection.execute(_OLDEST_GONE, (folders,)).fetchall()
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
        return int(row[0] or 0) if row else 0


def _some(there: int, too_many: int, most: int) -> int:
    """How many go at once: those that are too many, or else a share of what is there."""
    return max(1, min(most, too_many if too_many > 0 else there // 8))

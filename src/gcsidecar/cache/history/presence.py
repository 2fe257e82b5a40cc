"""What a history knows of the folders that are there: read at a start, and kept up to date.

A row says as of when, for which times of its directory, and on what basis; whether it still holds, its reader finds.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gcsidecar.cache.history import values
from gcsidecar.cache.history.basis import Basis
from gcsidecar.cache.history.limits import BATCH
from gcsidecar.cache.history.records import Present
from gcsidecar.cache.history.schema import VERSION

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Sequence

    from gcsidecar.cache.history.pruning import Pruning

# So many bases are kept: each change of the lease patterns, or of our rights, makes one more.
_BASES = 16

_KNOWN = "mtime_ns, ctime_ns, leaseless, disk_bytes, inodes, inner_at, measured_at, obstacle, basis"
# In a file that could not be brought up to date, on a full disk.
_KNOWN_BEFORE = "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
_SOME = (
    "SELECT id, name, inode, arrived_at, touched_at, {known} FROM folders"
    " WHERE departed_at IS NULL AND id > ? ORDER BY id LIMIT ?"
)
_SOME_NAMES = "SELECT id, name, inode FROM folders WHERE departed_at IS NULL AND id > ? ORDER BY id LIMIT ?"
_THESE = "SELECT name, inode FROM folders WHERE departed_at IS NULL AND name IN ({places})"
_UPDATE = (
    "UPDATE folders SET mtime_ns = ?, ctime_ns = ?, leaseless = ?, disk_bytes = ?, inodes = ?, inner_at = ?,"
    " measured_at = ?, obstacle = ?, basis = ?, touched_at = coalesce(?, touched_at) WHERE id = ?"
)


class Presence:
    """The rows of folders that are there, of one open database.

    Args:
        connection: The database.
        basis: On which this process looks and measures.
    """

    def __init__(self, connection: sqlite3.Connection, basis: Basis) -> None:
        self._connection, self._basis = connection, basis
        self._number = 0
        self._looked_alike: set[int] = set()
        self._measured_alike: set[int] = set()
        self._known = _KNOWN
        if self._value("PRAGMA user_version") < VERSION:
            self._known = _KNOWN_BEFORE
            return
        for number, *columns in connection.execute("SELECT id, lease_files, last_used, rights FROM bases"):
            self._take_in(number, Basis(*map(str, columns)))

    # What is asked

    def all(self) -> Iterator[list[Present]]:
        """The folders that were there, some at a time; what is asked of others between is allowed to change them."""
        for rows in self._some(_SOME.format(known=self._known)):
            yield [self._present(*row[1:]) for row in rows]

    def names(self) -> Iterator[list[tuple[str, int]]]:
        """Their names and inodes only, likewise."""
        for rows in self._some(_SOME_NAMES):
            yield [(values.name(name), values.unsigned(values.number(inode))) for _, name, inode in rows]

    def missing(self, folders: Collection[tuple[str, int]]) -> list[tuple[str, int]]:
        """Those of some folders, by name and inode, that have no row; a batch of them at most."""
        query = _THESE.format(places=", ".join("?" * len(folders)))
        rows = self._connection.execute(query, [os.fsencode(name) for name, _ in folders])
        known = {(values.name(name), values.unsigned(values.number(inode))) for name, inode in rows}
        return [folder for folder in folders if folder not in known]

    # What is written

    def begin(self) -> None:
        """See that there is a row for the basis of this process."""
        if self._number:
            return
        columns = (self._basis.lease_files, self._basis.last_used, self._basis.rights)
        statement = "INSERT INTO bases (lease_files, last_used, rights) VALUES (?, ?, ?)"
        self._take_in(self._connection.execute(statement, columns).lastrowid or 0, self._basis)
        self._connection.execute("DELETE FROM bases WHERE id <= ?", (self._number - _BASES,))
        self._known = _KNOWN

    def write(self, one: Present, pruning: Pruning) -> bool:
        """What is known of a folder now; False where there is no room for it."""
        encoded = os.fsencode(one.name)
        row = self._connection.execute(
            "SELECT id, ctime_ns IS NOT NULL FROM folders WHERE name = ? AND inode = ? AND departed_at IS NULL",
            (encoded, values.signed(one.inode)),
        ).fetchone()
        mtime_ns, ctime_ns = values.storable(one.mtime_ns), values.storable(one.ctime_ns)
        if row is None or mtime_ns is None or ctime_ns is None:
            return True
        if not row[1] and not pruning.became_known():
            return False
        size: tuple[object, ...] = (None, None, None, None, None)
        if values.storable(one.disk_bytes) is not None and values.storable(one.inodes) is not None:
            size = (one.disk_bytes, one.inodes, one.inner_at, one.measured_at, values.text_bytes(one.obstacle))
        columns = (mtime_ns, ctime_ns, int(one.leaseless), *size, self._number, one.touched_at or None, row[0])
        self._connection.execute(_UPDATE, columns)
        return True

    # How

    def _take_in(self, number: int, basis: Basis) -> None:
        if basis.looked_alike(self._basis):
            self._looked_alike.add(number)
        if basis.measured_alike(self._basis):
            self._measured_alike.add(number)
        if basis == self._basis:
            self._number = number

    def _some(self, query: str) -> Iterator[Sequence[tuple[object, ...]]]:
        last: object = 0
        while rows := self._connection.execute(query, (last, BATCH)).fetchall():
            last = rows[-1][0]
            yield rows

    def _present(  # noqa: PLR0917  a row has as many columns
        self,
        name: object,
        inode: object,
        arrived_at: object,
        touched_at: object,
        mtime_ns: object,
        ctime_ns: object,
        leaseless: object,
        disk_bytes: object,
        inodes: object,
        inner_at: object,
        measured_at: object,
        obstacle: object,
        basis: object,
    ) -> Present:
        arrived_at = None if arrived_at is None else values.time(arrived_at)
        known = (values.name(name), values.unsigned(values.number(inode)), arrived_at, values.time(touched_at or 0.0))
        if mtime_ns is None or ctime_ns is None:
            return Present(*known)
        bare = leaseless == 1 and basis in self._looked_alike
        looked = (values.number(mtime_ns), values.number(ctime_ns), bare)
        if disk_bytes is None or basis not in self._measured_alike:
            return Present(*known, *looked)
        return Present(
            *known,
            *looked,
            values.amount(disk_bytes),
            values.amount(inodes),
            values.time(inner_at),
            values.time(measured_at),
            None if obstacle is None else values.text(obstacle),
        )

    def _value(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])

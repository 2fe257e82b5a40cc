"""The history's database: writes records, keeps within its bounds, and tells what is needed at a start.

Used by one thread. It decides nothing about folders; `connection.py` sees to it that the file is the right one.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, TypeVar

from gcsidecar.cache.errors import HistoryLostError
from gcsidecar.cache.history import values
from gcsidecar.cache.history.connection import bring_up_to_date, close, connect, judged, transaction
from gcsidecar.cache.history.file import NAME, is_in_place, keep_place_of_log, open_file
from gcsidecar.cache.history.presence import Presence
from gcsidecar.cache.history.pruning import NoRoomError, Pruning
from gcsidecar.cache.history.records import Arrival, Departure, Evicted, How, Present, Record, Use
from gcsidecar.gc.pressure import Resource

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Sequence

    from gcsidecar.cache.history.basis import Basis
    from gcsidecar.cache.history.limits import Limits
    from gcsidecar.cache.regrets import Regret

_T = TypeVar("_T")
# Of what is gone only the size is of interest still, and how old it is.
_DEPART = (
    "UPDATE folders SET departed_at = ?, departure = ?, disk_bytes = coalesce(?, disk_bytes), mtime_ns = NULL,"
    " ctime_ns = NULL, leaseless = NULL, inner_at = NULL, obstacle = NULL, basis = NULL WHERE id = ?"
)


class Database:
    """The open history of one root; all that raises may raise `HistoryError` or `OSError`.

    Args:
        directory_fd: `.gcsidecar/`.
        limits: Its bounds.
        basis: On which folders are looked at and measured now.
        now: When this recording begins, POSIX seconds.

    Attributes:
        is_empty: Whether it knows of no folder.
        settled: Whether an earlier recording, or this one, has seen all folders: then what isn't in it is new.
    """

    def __init__(self, directory_fd: int, limits: Limits, basis: Basis, now: float) -> None:
        self._directory_fd, self._refused = directory_fd, 0
        with contextlib.ExitStack() as undo:
            self._file_fd = open_file(directory_fd)
            undo.callback(os.close, self._file_fd)
            self._connection = connect(directory_fd, self._file_fd, limits)
            undo.callback(close, self._connection)
            with judged():
                self._pruning = Pruning(self._connection, limits)
                self._presence = Presence(self._connection, basis)
                self.is_empty = not self._pruning.folders
                self.settled = self._value("SELECT count(*) FROM recordings WHERE settled_at IS NOT NULL") > 0
            self._opened = undo.pop_all()
        # Its row is made with the first record: on a full disk what is known can still be read.
        self._began_at, self._recording = now, 0

    def close(self) -> None:
        """Let go of it; nothing is raised."""
        self._opened.close()
        keep_place_of_log(self._directory_fd)

    # What is recorded

    def write(self, records: Sequence[Record]) -> int:
        """Write records in one transaction, or leave out those for which there is no room; returns how many."""
        self._expect_in_place()
        self._refused = 0
        with judged():
            self._begin()
            self._write_all(records)
        return self._refused

    def settle(self, now: float) -> None:
        """All folders that are there have been seen."""
        with judged():
            self._begin()
            self._execute("UPDATE recordings SET settled_at = ? WHERE id = ?", (now, self._recording))
        self.settled = True

    def end(self, now: float) -> None:
        """This recording is over; what happens from now on isn't known."""
        with judged():
            self._execute("UPDATE recordings SET ended_at = ? WHERE id = ?", (now, self._recording))

    # What is asked

    def present(self) -> Iterator[list[Present]]:
        """What is known of the folders that were there, some at a time."""
        return _judged(self._presence.all())

    def names(self) -> Iterator[list[tuple[str, int]]]:
        """Their names and inodes only."""
        return _judged(self._presence.names())

    def missing(self, folders: Collection[tuple[str, int]]) -> list[tuple[str, int]]:
        """Those of some folders, by name and inode, that it doesn't know; a batch of them at most."""
        with judged():
            return self._presence.missing(folders)

    def evicted_since(self, at: float, most: int) -> list[tuple[str, float, int]]:
        """What was evicted and hasn't come back: name, when, and the bytes it took; the last `most`, oldest first."""
        with judged():
            rows = self._connection.execute(
                "SELECT name, departed_at, disk_bytes FROM folders"
                " WHERE departed_at >= ? AND departure = ? AND returned_at IS NULL ORDER BY departed_at DESC LIMIT ?",
                (at, How.EVICTED, most),
            ).fetchall()
        return [
            (values.name(name), values.time(at), values.number(disk_bytes or 0))
            for name, at, disk_bytes in reversed(rows)
        ]

    # Each kind of record

    def _write_all(self, records: Sequence[Record]) -> None:
        try:
            with transaction(self._connection):
                for record in records:
                    self._write(record)
                    self._pruning.expect_room()
        except NoRoomError:
            self._make_room_and_write(records)
        else:
            self._pruning.prune()

    def _make_room_and_write(self, records: Sequence[Record]) -> None:
        """In smaller parts, and with less beside them; one for which there is no room even so is left out."""
        self._pruning.count()
        made_room, half = self._pruning.prune_some(), len(records) // 2
        if half:
            self._write_all(records[:half])
            self._write_all(records[half:])
        elif made_room:
            self._write_all(records)
        else:
            self._refused += 1

    def _write(self, record: Record) -> None:
        if isinstance(record, Use):
            self._write_use(record)
        elif isinstance(record, Arrival):
            self._write_arrival(record)
        elif isinstance(record, Departure):
            self._write_departure(record)
        elif isinstance(record, Present):
            self._refused += not self._presence.write(record, self._pruning)
        elif isinstance(record, Evicted):
            self._write_eviction(record)
        else:
            self._write_regret(record)

    def _write_arrival(self, arrival: Arrival) -> None:
        """Once more changes nothing, save that what was not known may be now."""
        known = self._present_row(arrival.name)
        if known is not None and known[1] == values.signed(arrival.inode):
            if arrival.at is not None:
                self._execute("UPDATE folders SET arrived_at = ? WHERE id = ?", (arrival.at, known[0]))
            return
        if known is not None:
            at = self._began_at if arrival.at is None else arrival.at
            self._execute(_DEPART, (at, How.MISSED, None, known[0]))
            self._pruning.departed(os.fsencode(arrival.name), known=bool(known[2]))
        if self._pruning.arrived(os.fsencode(arrival.name)):
            self._add_folder(arrival.name, arrival.inode, arrival.at)
        else:
            self._refused += 1

    def _write_use(self, use: Use) -> None:
        row = self._present_row(use.name)
        if row is None or row[1] != values.signed(use.inode):
            return
        columns = (row[0], use.at, use.disk_bytes, use.leases)
        self._execute("INSERT INTO uses (folder, at, disk_bytes, leases) VALUES (?, ?, ?, ?)", columns)
        self._pruning.uses += 1

    def _write_departure(self, gone: Departure) -> None:
        row = self._present_row(gone.name)
        if row is not None and row[1] == values.signed(gone.inode):
            folder = row[0]
            self._pruning.departed(os.fsencode(gone.name), known=bool(row[2]))
        else:
            folder = self._gone_row(gone) or self._add_gone(gone)
        self._execute(_DEPART, (gone.at, gone.how, gone.disk_bytes, folder))

    def _gone_row(self, gone: Departure) -> int:
        """Its row, where stock was taken between its departure and now, or where this is written again; else 0."""
        return self._value(
            "SELECT id FROM folders WHERE name = ? AND inode = ? AND"
            " ((departure = ? AND arrived_at IS ?) OR (departure = ? AND departed_at = ?)) ORDER BY id DESC LIMIT 1",
            (
                os.fsencode(gone.name),
                values.signed(gone.inode),
                *(How.MISSED, gone.arrived_at),
                *(gone.how, gone.at),
            ),
        )

    def _add_gone(self, gone: Departure) -> int:
        self._pruning.folders += 1
        self._pruning.gone += 1
        return self._add_folder(gone.name, gone.inode, gone.arrived_at)

    def _write_eviction(self, evicted: Evicted) -> None:
        done, sizes = evicted.eviction, evicted.eviction.expected
        folder = self._value(
            "SELECT id FROM folders WHERE name = ? AND inode = ? AND departure = ? ORDER BY id DESC LIMIT 1",
            (os.fsencode(done.key), values.signed(evicted.inode), How.EVICTED),
        )
        if not folder:
            return
        got = done.reclaimed
        self._execute(
            f"INSERT OR REPLACE INTO evictions VALUES ({', '.join('?' * 11)})",  # noqa: S608  the number of columns
            (
                folder,
                done.at,
                ",".join(done.reasons),
                done.candidate.last_used,
                done.seconds,
                *(sizes.get(resource) for resource in (Resource.DISK, Resource.INODES)),
                *(got.get(resource) for resource in (Resource.DISK, Resource.INODES, Resource.MEMORY)),
                int(done.clamped),
            ),
        )
        self._execute("DELETE FROM wants WHERE folder = ?", (folder,))  # this may be written again
        for want in done.wants:
            held, found = want.threshold, want.measurement
            columns = (folder, held.resource.value, held.group, found.at, found.capacity, found.free)
            levels = (held.trigger, held.target, want.deficit)
            self._execute("INSERT INTO wants VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*columns, *levels))

    def _write_regret(self, regret: Regret) -> None:
        self._execute(
            "UPDATE folders SET returned_at = ? WHERE id ="
            " (SELECT id FROM folders WHERE name = ? AND departure = ? ORDER BY id DESC LIMIT 1)",
            (regret.returned_at, os.fsencode(regret.folder), How.EVICTED),
        )

    # How

    def _begin(self) -> None:
        """A row for this recording, and one for its basis."""
        bring_up_to_date(self._connection)
        self._presence.begin()
        if not self._recording:
            row = self._execute("INSERT INTO recordings (began_at) VALUES (?)", (self._began_at,))
            self._recording = row.lastrowid or 0
            self._pruning.forget_recordings(self._recording)

    def _add_folder(self, name: str, inode: int, arrived_at: float | None) -> int:
        columns = (os.fsencode(name), values.signed(inode), arrived_at)
        return self._execute("INSERT INTO folders (name, inode, arrived_at) VALUES (?, ?, ?)", columns).lastrowid or 0

    def _present_row(self, name: str) -> tuple[int, int, int] | None:
        """Its number, its inode, and whether its times are known."""
        row: tuple[int, int, int] | None = self._connection.execute(
            "SELECT id, inode, ctime_ns IS NOT NULL FROM folders WHERE name = ? AND departed_at IS NULL",
            (os.fsencode(name),),
        ).fetchone()
        return row

    def _execute(self, statement: str, values: Sequence[object]) -> sqlite3.Cursor:
        return self._connection.execute(statement, tuple(values))

    def _value(self, query: str, values: Sequence[object] = ()) -> int:
        row = self._execute(query, values).fetchone()
        return 0 if row is None else int(row[0])

    def _expect_in_place(self) -> None:
        """What was deleted or replaced is written to no longer: nobody would ever read it."""
        if not is_in_place(self._directory_fd, NAME, os.fstat(self._file_fd)):
            raise HistoryLostError(f"{NAME} was deleted or replaced")


def _judged(batches: Iterator[_T]) -> Iterator[_T]:
    """The same, with errors of sqlite's saying what they mean for the file."""
    while True:
        with judged():
            batch = next(batches, None)
        if batch is None:
            return
        yield batch

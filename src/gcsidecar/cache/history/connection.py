"""The connection to a history: that what sqlite opened is our file, how it writes, and that the tables are ours.

Importing sqlite takes 10 ms and 2 MiB, so only the recording thread imports this module, when there is something to
record.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

from gcsidecar.cache.errors import HistoryDamagedError, HistoryError, HistoryFullError, HistoryUnavailableError
from gcsidecar.cache.filesystem import filesystem_of
from gcsidecar.cache.history.file import NAME, WAL, is_in_place, is_open_here
from gcsidecar.cache.history.limits import PAGE_BYTES
from gcsidecar.cache.history.schema import APPLICATION_ID, MIGRATIONS, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsidecar.cache.history.limits import Limits

# What says that the file is at fault. Everything else (I/O errors, no room, no permission) may pass.
_DAMAGE = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
    }
)
_CACHE_KIB = 256


def connect(directory_fd: int, file_fd: int, limits: Limits) -> sqlite3.Connection:
    """Open the database whose file is open as `file_fd`, its tables made or brought up to date.

    sqlite opens by path and follows links, and who may write in `.gcsidecar/` may swap things. So it is given the path
    by descriptor, and nothing is written before it is seen that it opened our file, and a log of ours beside it. What
    remains to someone who swaps at the right moment, between our look and sqlite's: that sqlite reads another file that
    we may read (which is refused then), obeys a rollback journal made to fit (in it may stand a file to be deleted that
    we may delete), or removes a `history.sqlite-wal` elsewhere when it closes. Only the user we run as, and who owns
    `.gcsidecar/`, can do that.

    Raises:
        HistoryDamagedError: It isn't ours, is of a newer version, or can't be read.
        HistoryUnavailableError: It can't be read or written now.
        OSError: As that.
    """
    # A file with anything unwritten can't be closed on a mount that hangs by then, not even by SIGKILL.
    is_synced = filesystem_of(directory_fd, 0).is_shared
    uri = f"file:/proc/self/fd/{directory_fd}/{NAME}?mode=rw&vfs=unix-none"
    with judged(), contextlib.ExitStack() as undo:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        undo.callback(connection.close)
        _expect_open(directory_fd, NAME, os.fstat(file_fd), file_fd)
        _configure(connection, limits, is_new=os.fstat(file_fd).st_size == 0, is_synced=is_synced)
        # This is the first look into the file, by which sqlite opens the log, or makes it.
        version = int(_value(connection, "PRAGMA user_version"))
        tables = int(_value(connection, "SELECT count(*) FROM sqlite_master"))
        _expect_open(directory_fd, NAME + WAL, os.stat(NAME + WAL, dir_fd=directory_fd, follow_symlinks=False), -1)
        _expect_ours(connection, version, tables)
        try:
            bring_up_to_date(connection)
        except sqlite3.OperationalError as error:
            # On a full disk what an older file knows can still be read.
            if not version or _meaning(error) is not HistoryFullError:
                raise
        _expect_whole(connection)
        if is_synced:
            os.fsync(file_fd)
        undo.pop_all()
    return connection


def close(connection: sqlite3.Connection) -> None:
    """Copy the log into the database, and let go of both; nothing is raised.

    Without waiting for the disk: where writers keep it busy that takes seconds, and the end of the process can't wait.
    So what was recorded outlives that end; a power failure within half a minute after it may damage the file, which is
    set aside then. While it is open it is the log that is synced before it is copied, and a power failure leaves it
    whole.
    """
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("PRAGMA synchronous=OFF")
    with contextlib.suppress(sqlite3.Error):
        connection.close()


@contextlib.contextmanager
def judged() -> Iterator[None]:
    """Say what an error of sqlite's means for the file.

    Raises:
        HistoryDamagedError: The file is at fault.
        HistoryFullError: There is no room.
        HistoryUnavailableError: Neither.
    """
    try:
        yield
    except (sqlite3.InterfaceError, sqlite3.ProgrammingError):
        raise  # we are
    except sqlite3.Error as error:
        raise _meaning(error)(f"{NAME}: {error}") from error
    except UnicodeDecodeError as error:  # of a message that names what is damaged
        raise HistoryDamagedError(f"{NAME} is damaged: {error}") from error


def _meaning(error: sqlite3.Error) -> type[HistoryError]:
    # Errors that the module makes itself, say of text that isn't UTF-8, have no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return HistoryFullError
    return HistoryDamagedError if code in _DAMAGE else HistoryUnavailableError


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _configure(connection: sqlite3.Connection, limits: Limits, *, is_new: bool, is_synced: bool) -> None:
    # Exclusive before anything is looked at: so there is no shared memory file, which network mounts can't have.
    settings = ["locking_mode=EXCLUSIVE", "trusted_schema=OFF", "cell_size_check=ON", "secure_delete=OFF"]
    settings += [f"cache_size=-{_CACHE_KIB}", "temp_store=MEMORY", "mmap_size=0"]
    if is_new:
        # Without a journal before there is a log: these write one page of an empty file.
        settings += ["synchronous=OFF", "journal_mode=OFF"]
        settings += [f"page_size={PAGE_BYTES}", "auto_vacuum=INCREMENTAL", "journal_mode=WAL"]
    # The log is never cut off: what it has taken it needs again, and on a full disk there would be none.
    settings += [f"wal_autocheckpoint={limits.checkpoint_pages}", "journal_size_limit=-1"]
    # The end of the process can't damage a database in WAL mode, whatever this is; with NORMAL a power failure can't
    # either, and the disk is waited for only at a checkpoint, in a thread of its own.
    settings += [f"synchronous={'FULL' if is_synced else 'NORMAL'}"]
    for setting in settings:
        connection.execute(f"PRAGMA {setting}").fetchall()


def _expect_open(directory_fd: int, name: str, status: os.stat_result, besides: int) -> None:
    if not is_in_place(directory_fd, name, status) or not is_open_here(status, besides):
        raise HistoryUnavailableError(f"{name} was replaced while it was being opened")


def _expect_ours(connection: sqlite3.Connection, version: int, tables: int) -> None:
    if not tables and not version:
        return
    application = int(_value(connection, "PRAGMA application_id"))
    if application != APPLICATION_ID:
        raise HistoryDamagedError(f"{NAME} is another program's")
    if version > VERSION:
        raise HistoryDamagedError(f"{NAME} has version {version}; this program knows {VERSION}")
    # Also no trigger or view that somebody put in, and that would act with our rights.
    if version < 1 or _schema(connection) != _schema_of(version):
        raise HistoryDamagedError(f"{NAME} has other tables than ours")


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Make the tables those of this version; nothing is done where they are."""
    version = int(_value(connection, "PRAGMA user_version"))
    if version == VERSION:
        return
    with transaction(connection):
        for statement in (statement for step in MIGRATIONS[version:] for statement in step):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={VERSION}")


def _expect_whole(connection: sqlite3.Connection) -> None:
    found = str(_value(connection, "PRAGMA quick_check(1)"))
    if found != "ok":
        raise HistoryDamagedError(f"{NAME}: {found.splitlines()[-1]}")


def _schema(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


def _schema_of(version: int) -> list[tuple[object, ...]]:
    """What the tables of a version are: migrations change the text of older statements, so it is made and looked at."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for statement in (statement for step in MIGRATIONS[:version] for statement in step):
            connection.execute(statement)
        return _schema(connection)


def _value(connection: sqlite3.Connection, query: str) -> int | str:
    row = connection.execute(query).fetchone()
    value = row[0] if row else None
    if not isinstance(value, int | str):
        raise HistoryDamagedError(f"{NAME}: {query} gives nothing")
    return value

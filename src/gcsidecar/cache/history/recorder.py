"""The recorder of one root: takes in what happens at once, and writes it in a thread of its own.

So nobody who keeps folders waits for sqlite or for the disk. At rest the thread sleeps; what can't be written is kept
while there is room, then counted, and never raised.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Protocol

from gcsidecar.cache.errors import HistoryDamagedError, HistoryError, HistoryFullError, HistoryLostError
from gcsidecar.cache.history.backlog import Backlog
from gcsidecar.cache.history.basis import Basis
from gcsidecar.cache.history.file import is_there, set_aside, size_bytes
from gcsidecar.cache.history.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsidecar.cache.history.database import Database
    from gcsidecar.cache.history.records import Departure, Present, Record, Use
    from gcsidecar.cache.spec import RootSpec
    from gcsidecar.gc.clock import Clock

_log = logging.getLogger("gcsidecar.history")

# A history that can't be written is tried again so often.
RETRY_SECONDS = 60.0
# So long after the start, or after it last told something, nothing of unknown age goes while it has not told all; and
# nobody waits longer than that in all for what it knows of folders.
PATIENCE_SECONDS, READING_SECONDS = 2.0, 20.0
# So long the end waits for what is left to be written.
STOP_SECONDS = 0.3


class Listener(Protocol):
    """Whom the recorder asks and tells, in its own thread."""

    def recall(self, known: Sequence[Present]) -> None:
        """So much was known of some folders; called for all of them, each time the history was opened."""

    def take_stock(self, database: Database) -> None:
        """Compare what it knew with what is there; called when all folders are known, each time it was opened."""

    def known_now(self, names: Sequence[tuple[str, bool]]) -> list[Record]:
        """What is to be written of some folders, by name, and whether each was used."""

    def answered(self) -> None:
        """It has told what it knows, or is awaited no longer."""


class Recorder:
    """Records what happens in one root, from when this process is the one that acts on it.

    Args:
        spec: The root, which has a history.
        directory_fd: Its `.gcsidecar/`; a descriptor of our own is made of it.
        capacity_bytes: Of what there is, the history takes a small share only.
        listener: Asked for what is to be written, and told what is known.
        said: Told when its state changes: an event's name, and a problem.
        clock: Both clocks.
    """

    def __init__(
        self,
        spec: RootSpec,
        directory_fd: int,
        capacity_bytes: int,
        *,
        listener: Listener,
        said: Callable[[str, str], object],
        clock: Clock,
    ) -> None:
        assert spec.history is not None
        self._limits = Limits.within(spec.history.max_rows, spec.history.max_size, capacity_bytes)
        self._basis = Basis.of(spec)
        self._listener, self._said, self._clock = listener, said, clock
        self._directory_fd = os.dup(directory_fd)
        self._changed = threading.Condition()
        self._backlog = Backlog()
        self._folders_are_known = self._stock_is_due = self._stock_is_taken = self._stopping = False
        self._database: Database | None = None
        self._began_at = self._resume_at = clock.monotonic()
        self._is_unread = is_there(directory_fd)
        self._awaited_until = self._began_at + (PATIENCE_SECONDS if self._is_unread else 0.0)
        self._stop_by = 0.0
        self.healthy = True
        self.set_aside = self.size_bytes = self.stocks_taken = self._refused = self._writing = 0
        self._thread = threading.Thread(target=self._run, name=f"history-{spec.name}", daemon=True)
        self._thread.start()

    # What others tell it; none of this waits

    def note(self, record: Record) -> None:
        """Something happened; it is written within a second."""
        with self._changed:
            self._add(record)

    def note_departure(self, departure: Departure, use: Use) -> None:
        """A folder is gone; with its last use, should that not have been written yet."""
        with self._changed:
            if self._backlog.forget(departure.name):
                self._add(use)
            self._add(departure)

    def _add(self, record: Record) -> None:
        if self._backlog.add(record, self._clock.monotonic()):
            self._changed.notify()

    def note_use(self, name: str) -> None:
        """A folder's last use has moved; the newest of a minute is written."""
        with self._changed:
            if self._backlog.add_used(name, self._clock.monotonic()):
                self._changed.notify()

    def note_change(self, name: str) -> None:
        """What is known of a folder has changed; what is known half a minute later is written."""
        with self._changed:
            if self._backlog.add_changed(name, self._clock.monotonic()):
                self._changed.notify()

    def stock_is_due(self) -> None:
        """All folders are known: what the history knew can be compared with them."""
        with self._changed:
            self._folders_are_known = self._stock_is_due = True
            self._changed.notify()

    def is_reading(self) -> bool:
        """Whether it is telling what was known of folders; nobody waits for that for ever."""
        return self._is_unread and self._clock.monotonic() < self._awaited_until

    def is_awaited(self) -> bool:
        """Whether there is a history that has yet to say when folders arrived; it is not waited for for ever."""
        return self._clock.monotonic() < self._awaited_until

    @property
    def dropped(self) -> int:
        """How many records could not be written."""
        return self._refused + self._backlog.dropped

    def is_due(self) -> bool:
        """Whether something waits that should be written by now."""
        with self._changed:
            seconds = self._seconds_to_work()
            return seconds is not None and seconds <= 0

    @property
    def waiting(self) -> int:
        """How many records wait to be written; uses and changes, which wait for a while, aside."""
        return self._backlog.records + self._writing

    def wake(self) -> None:
        """Look at the clock anew."""
        with self._changed:
            self._changed.notify()

    def begin_to_stop(self) -> None:
        """Write all that waits, and end; this returns at once."""
        with self._changed:
            if not self._stopping:
                self._stopping = True
                self._resume_at = self._clock.monotonic()  # a last attempt, should it be off
                self._stop_by = self._clock.monotonic() + STOP_SECONDS
                self._changed.notify()

    def stop(self) -> bool:
        """Await that end; False where it hangs, and is left behind."""
        self.begin_to_stop()
        self._thread.join(max(0.0, self._stop_by - self._clock.monotonic()))
        return not self._thread.is_alive()

    # The thread

    def _run(self) -> None:
        try:
            while self._await_work():
                self._work_or_turn_off()
        finally:
            self._close(ended=True)
            os.close(self._directory_fd)

    def _await_work(self) -> bool:
        """Wait until something is to be done; False where it is to end and there is nothing, or nothing can be."""
        with self._changed:
            while (seconds := self._seconds_to_work()) is None or seconds > 0:
                if self._stopping:
                    return False
                self._changed.wait(seconds)
            return True

    def _seconds_to_work(self) -> float | None:
        """How soon something is due; none where nothing is."""
        monotonic = self._clock.monotonic()
        if self._database is None or not self.healthy:
            return self._resume_at - monotonic
        if self._stock_is_due and not self._stopping:
            return 0.0
        due_at = self._backlog.due_at(names_too=self._stock_is_taken)
        if due_at is None:
            return None
        return 0.0 if self._stopping else due_at - monotonic

    def _work_or_turn_off(self) -> None:
        try:
            self._work_or_begin_anew()
        except (HistoryError, OSError) as error:
            self._turn_off(error)
        except Exception as error:  # noqa: BLE001  the edge of this thread: whatever it is, recording goes on later
            _log.exception("history-failed")
            self._turn_off(error)
        else:
            if not self.healthy:
                self.healthy = True
                self._said("history-on", "")
        self.size_bytes = size_bytes(self._directory_fd)

    def _turn_off(self, error: Exception) -> None:
        """Record nothing for a while; what happens meanwhile waits, as far as there is room."""
        if not isinstance(error, HistoryFullError):
            self._close(ended=False)  # else it would give back what room it has, and others would take it
        self._resume_at = self._clock.monotonic() + RETRY_SECONDS
        if self.healthy:
            self._said("history-off", str(error))
        self.healthy = False
        # Not all that happens meanwhile may find its way in.
        self._stock_is_due = self._folders_are_known
        self._answer()

    def _work_or_begin_anew(self) -> None:
        try:
            self._work()
        except HistoryDamagedError as error:
            self._close(ended=False)
            set_aside(self._directory_fd, self._limits.bytes)
            self.set_aside += 1
            self._said("history-set-aside", str(error))
            self._work()
        except HistoryLostError as error:
            self._close(ended=False)
            self.set_aside += 1
            self._said("history-lost", str(error))
            self._work()

    def _work(self) -> None:
        database = self._database or self._open()
        self._write_records(database)
        if self._stock_is_due and not self._stopping:
            self._stock_is_due = False
            self._listener.take_stock(database)
            self.stocks_taken += 1
            self._stock_is_taken = True
            self._answer()
        # Not before: the row of a folder is made by its arrival, or when stock is taken.
        if self._stock_is_taken:
            self._write_names(database)

    def _open(self) -> Database:
        from gcsidecar.cache.history.database import Database  # noqa: PLC0415  with sqlite, which is imported late

        now = self._clock.time()
        self._database = database = Database(self._directory_fd, self._limits, self._basis, now)
        # What happened while it was closed may be missing in it.
        self._stock_is_due, self._stock_is_taken = self._folders_are_known, False
        if database.is_empty:
            self._answer()
        else:
            self._tell(database)
        return database

    def _tell(self, database: Database) -> None:
        """Tell what was known of folders, batch by batch."""
        for known in database.present():
            if self._stopping:
                return
            self._listener.recall(known)
            if self._awaited_until:
                patient_until = self._clock.monotonic() + PATIENCE_SECONDS
                self._awaited_until = min(patient_until, self._began_at + READING_SECONDS)
        self._is_unread = False
        self._listener.answered()

    def _answer(self) -> None:
        """Nobody need wait for it any more."""
        self._is_unread = False
        if self._awaited_until:
            self._awaited_until = 0.0
            self._listener.answered()

    def _write_records(self, database: Database) -> None:
        while records := self._next_records():
            self._write(database, records, partial(self._backlog.put_back, records))

    def _next_records(self) -> list[Record]:
        with self._changed:
            records = self._backlog.take()
            self._writing = len(records)
            return records

    def _write_names(self, database: Database) -> None:
        """Write what is known now of folders that were used or have changed; what happens meanwhile goes first."""
        while names := self._next_names():
            self._write(database, self._listener.known_now(names), partial(self._backlog.put_names_back, names))
            self._write_records(database)

    def _next_names(self) -> list[tuple[str, bool]]:
        with self._changed:
            return self._backlog.take_names(math.inf if self._stopping else self._clock.monotonic())

    def _write(self, database: Database, records: Sequence[Record], put_back: Callable[[], None]) -> None:
        try:
            self._refused += database.write(records)
        except (HistoryError, OSError):
            with self._changed:
                put_back()
                self._writing = 0
            raise
        except Exception:  # the records themselves are at fault, and would be again
            self._refused += len(records)
            raise

    def _close(self, *, ended: bool) -> None:
        database, self._database = self._database, None
        if database is None:
            return
        if ended:
            with contextlib.suppress(HistoryError, OSError):
                database.end(self._clock.time())
        database.close()

"""The recorder of one root: takes in what happens at once, and writes it in a thread of its own.

So nobody who keeps folders waits for sqlite or for the disk. At rest the thread sleeps; what can't be written is kept
while there is room, then counted, and never raised.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from typing import TYPE_CHECKING

from gcsidecar.cache.errors import HistoryDamagedError, HistoryError, HistoryFullError, HistoryLostError
from gcsidecar.cache.history.file import is_there, set_aside, size_bytes
from gcsidecar.cache.history.limits import BATCH, Limits
from gcsidecar.cache.history.records import Departure, Record, Use

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsidecar.cache.history.database import Database
    from gcsidecar.cache.spec import HistorySpec
    from gcsidecar.gc.clock import Clock

_log = logging.getLogger("gcsidecar.history")

# What happens soon after one another is written together; uses of a folder are at most one a minute.
LINGER_SECONDS = 0.25
USES_SECONDS = 60.0
# A history that can't be written is tried again so often.
RETRY_SECONDS = 60.0
# So much waits to be written, then what comes is dropped.
MOST_RECORDS, MOST_USES = 10_000, 10_000
# So long after the start nothing of unknown age goes while the history has not been read yet.
PATIENCE_SECONDS = 2.0
# So long the end waits for what is left to be written.
STOP_SECONDS = 0.3


class Recorder:
    """Records what happens in one root, from when this process is the one that acts on it.

    Args:
        name: Of the root.
        directory_fd: Its `.gcsidecar/`; a descriptor of our own is made of it.
        spec: The history's bounds.
        capacity_bytes: Of what there is, the history takes a small share only.
        take_stock: Compares what it knew with what is there; called in the recording thread each time it was opened.
        answered: Told when it is awaited no longer.
        said: Told when its state changes: an event's name, and a problem.
        clock: Both clocks.
    """

    def __init__(
        self,
        name: str,
        directory_fd: int,
        spec: HistorySpec,
        capacity_bytes: int,
        *,
        take_stock: Callable[[Database], None],
        answered: Callable[[], None],
        said: Callable[[str, str], object],
        clock: Clock,
    ) -> None:
        self._limits = Limits.within(spec.max_rows, spec.max_size, capacity_bytes)
        self._take_stock, self._answered, self._said, self._clock = take_stock, answered, said, clock
        self._directory_fd = os.dup(directory_fd)
        self._changed = threading.Condition()
        self._records: deque[Record] = deque()
        self._uses: dict[str, Use] = {}
        self._records_at = self._uses_at = 0.0
        self._folders_are_known = self._stock_is_due = self._stopping = False
        self._database: Database | None = None
        self._resume_at = clock.monotonic()
        self._awaited_until = self._resume_at + (PATIENCE_SECONDS if is_there(directory_fd) else 0.0)
        self._stop_by = 0.0
        self.healthy = True
        self.dropped = self.set_aside = self.size_bytes = self.stocks_taken = self._writing = 0
        self._thread = threading.Thread(target=self._run, name=f"history-{name}", daemon=True)
        self._thread.start()

    # What others tell it; none of this waits

    def note(self, record: Record) -> None:
        """Something happened; it is written within a second."""
        with self._changed:
            if isinstance(record, Departure) and (use := self._uses.pop(record.name, None)) is not None:
                self._add(use)
            self._add(record)

    def _add(self, record: Record) -> None:
        if len(self._records) >= MOST_RECORDS:
            self.dropped += 1
            return
        self._records.append(record)
        if len(self._records) == 1:
            self._records_at = self._clock.monotonic() + LINGER_SECONDS
            self._changed.notify()

    def note_use(self, use: Use) -> None:
        """A folder's last use has moved; the newest of a minute is written."""
        with self._changed:
            if use.name not in self._uses and len(self._uses) >= MOST_USES:
                self.dropped += 1
                return
            if not self._uses:
                self._uses_at = self._clock.monotonic() + USES_SECONDS
                self._changed.notify()
            self._uses[use.name] = use

    def stock_is_due(self) -> None:
        """All folders are known: what the history knew can be compared with them."""
        with self._changed:
            self._folders_are_known = self._stock_is_due = True
            self._changed.notify()

    def is_awaited(self) -> bool:
        """Whether there is a history that has yet to say when folders arrived; it is not waited for for ever."""
        return self._clock.monotonic() < self._awaited_until

    def is_due(self) -> bool:
        """Whether something waits that should be written by now."""
        with self._changed:
            seconds = self._seconds_to_work()
            return seconds is not None and seconds <= 0

    @property
    def waiting(self) -> int:
        """How many records wait to be written; uses, which wait for a minute, aside."""
        return len(self._records) + self._writing

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
        due = [self._records_at] if self._records else []
        due += [self._uses_at] if self._uses else []
        if (self._stock_is_due and not self._stopping) or (due and self._stopping):
            return 0.0
        return min(due) - monotonic if due else None

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
        while records := self._next_records():
            self._write(database, records)
        if self._stock_is_due and not self._stopping:
            self._stock_is_due = False
            self._take_stock(database)
            self.stocks_taken += 1
            self._answer()

    def _open(self) -> Database:
        from gcsidecar.cache.history.database import Database  # noqa: PLC0415  with sqlite, which is imported late

        self._database = database = Database(self._directory_fd, self._limits, self._clock.time())
        # What happened while it was closed may be missing in it.
        self._stock_is_due = self._folders_are_known
        if database.is_empty:
            self._answer()
        return database

    def _answer(self) -> None:
        """Nobody need wait for it any more."""
        if self._awaited_until:
            self._awaited_until = 0.0
            self._answered()

    def _next_records(self) -> list[Record]:
        """Some of what waits; uses only when their minute is over."""
        with self._changed:
            if self._uses and (self._stopping or self._clock.monotonic() >= self._uses_at):
                self._records.extend(self._uses.values())
                self._uses.clear()
            self._writing = min(BATCH, len(self._records))
            return [self._records.popleft() for _ in range(self._writing)]

    def _write(self, database: Database, records: list[Record]) -> None:
        try:
            dropped = database.write(records)
        except (HistoryError, OSError):
            self._put_back(records)
            raise
        except Exception:  # the records themselves are at fault, and would be again
            self._drop(len(records))
            raise
        self._drop(dropped)

    def _drop(self, records: int) -> None:
        with self._changed:
            self.dropped += records

    def _put_back(self, records: list[Record]) -> None:
        """They are written later, before what has come since; the newest go where there are too many."""
        with self._changed:
            self._records.extendleft(reversed(records))
            self._writing = 0
            while len(self._records) > MOST_RECORDS:
                self._records.pop()
                self.dropped += 1

    def _close(self, *, ended: bool) -> None:
        database, self._database = self._database, None
        if database is None:
            return
        if ended:
            with contextlib.suppress(HistoryError, OSError):
                database.end(self._clock.time())
        database.close()

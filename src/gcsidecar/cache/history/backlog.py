"""The backlog of one history: what waits to be written, and when that is due.

Records wait in their order; of folders that are merely used, measured or changed only the names do, each once, and what
is to be written of them is asked when it is written: so 100,000 of them take little, and the newest is what counts. Not
thread-safe: its owner guards it.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING

from gcsidecar.cache.history.limits import BATCH, SCATTERED_BATCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsidecar.cache.history.records import Record

# What happens soon after one another is written together; uses of a folder are at most one a minute.
LINGER_SECONDS = 0.25
USES_SECONDS = 60.0
# What is known of folders is written so long after the first of them changed, or once it has of so many: what a kill
# takes away is measured again.
CHANGES_SECONDS, MANY_CHANGES = 30.0, 1024
# So many records wait, then what comes is dropped.
MOST_RECORDS = 10_000


class Backlog:
    """What waits.

    Attributes:
        dropped: Records for which there was no room.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._records: deque[Record] = deque()
        self._used: dict[str, None] = {}
        self._changed: dict[str, None] = {}
        # Those that are being written, and whether each was used.
        self._due: dict[str, bool] = {}
        self._records_at = self._used_at = self._changed_at = 0.0

    @property
    def records(self) -> int:
        """How many records wait."""
        return len(self._records)

    @property
    def names(self) -> int:
        """How many folders wait."""
        return len(self._used.keys() | self._changed.keys() | self._due.keys())

    # What comes; each says whether its owner has to look at the time anew

    def add(self, record: Record, monotonic: float) -> bool:
        """Something happened."""
        if len(self._records) >= MOST_RECORDS:
            self.dropped += 1
            return False
        self._records.append(record)
        if len(self._records) > 1:
            return False
        self._records_at = monotonic + LINGER_SECONDS
        return True

    def add_used(self, name: str, monotonic: float) -> bool:
        """A folder's last use has moved."""
        if not self._used:
            self._used_at = monotonic + USES_SECONDS
        self._used[name] = None
        return len(self._used) == 1

    def add_changed(self, name: str, monotonic: float) -> bool:
        """What is known of a folder has changed."""
        if not self._changed:
            self._changed_at = monotonic + CHANGES_SECONDS
        self._changed[name] = None
        return len(self._changed) in {1, MANY_CHANGES}

    def forget(self, name: str) -> bool:
        """The folder is gone; returns whether a use of it waited."""
        self._changed.pop(name, None)
        used = name in self._used or self._due.get(name, False)
        self._used.pop(name, None)
        self._due.pop(name, None)
        return used

    # What goes

    def due_at(self, *, names_too: bool) -> float | None:
        """When something is to be written, by the monotonic clock; none where nothing waits."""
        due = [self._records_at] if self._records else []
        if names_too:
            due += [0.0] if self._due or len(self._changed) >= MANY_CHANGES else []
            due += [self._used_at] if self._used else []
            due += [self._changed_at] if self._changed else []
        return min(due, default=None)

    def take(self) -> list[Record]:
        """The oldest records, as many as are written together."""
        return [self._records.popleft() for _ in range(min(BATCH, len(self._records)))]

    def take_names(self, monotonic: float) -> list[tuple[str, bool]]:
        """Folders that are due, as many as are written together, and whether each was used."""
        if not self._due:
            if self._changed and (len(self._changed) >= MANY_CHANGES or monotonic >= self._changed_at):
                self._due, self._changed = dict.fromkeys(self._changed, False), {}
            if self._used and monotonic >= self._used_at:
                self._due.update(dict.fromkeys(self._used, True))
                self._used = {}
        some = list(itertools.islice(self._due.items(), SCATTERED_BATCH))
        for name, _ in some:
            del self._due[name]
        return some

    def put_back(self, records: Sequence[Record]) -> None:
        """They are written later, before what has come since; the newest go where there are too many."""
        self._records.extendleft(reversed(records))
        while len(self._records) > MOST_RECORDS:
            self._records.pop()
            self.dropped += 1

    def put_names_back(self, names: Sequence[tuple[str, bool]]) -> None:
        """So are these."""
        self._due.update(names)

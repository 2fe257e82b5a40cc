"""How large a history may become, and what sqlite has to be told so that it doesn't.

Arithmetic only.
"""

from __future__ import annotations

from dataclasses import dataclass

PAGE_BYTES = 4096
# So many records are one transaction: it is over soon, and changes no more pages than the log may take.
BATCH = 256
# What is known of a folder now lies anywhere among them, and makes its row longer, which may split a page.
SCATTERED_BATCH = 64
# Never more than this share of what there is, but room for the tables themselves and a few hundred rows.
CAPACITY_SHARE = 0.01
LEAST_BYTES = 256 * 1024
# What the write-ahead log may take: a change to one page takes a page there, until it is copied into the database.
WAL_MOST_BYTES, _WAL_SHARE = 2 << 20, 0.625
_WAL_FRAME_BYTES = PAGE_BYTES + 24
_CHECKPOINT_SHARE = 1 / 6
# Above this share of its pages the database is pruned, and so many pages short of all a transaction ends early.
_FILL_SHARE, _MARGIN_PAGES = 0.85, 4
# Of folders that are there a row stays; so much is left for what happens to them.
_PRESENT_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one history.

    Attributes:
        rows: At most so many folders, there and gone, and as many uses.
        bytes: What database and write-ahead log may take together.
    """

    rows: int
    bytes: int

    @classmethod
    def within(cls, rows: int, most_bytes: int, capacity_bytes: int) -> Limits:
        """What the config allows, but never more than a share of `capacity_bytes`."""
        return cls(rows, min(most_bytes, max(LEAST_BYTES, int(capacity_bytes * CAPACITY_SHARE))))

    @property
    def _wal_bytes(self) -> int:
        return min(int(self.bytes * _WAL_SHARE), WAL_MOST_BYTES)

    @property
    def pages(self) -> int:
        """Of the database, at most.

        No transaction changes more of them than the log has room for beside what awaits its checkpoint: for a small
        history since there are no more, for a large one since a batch of records doesn't touch as many.
        """
        return (self.bytes - self._wal_bytes) // PAGE_BYTES

    @property
    def full_pages(self) -> int:
        """From where on it is pruned."""
        return int(self.pages * _FILL_SHARE)

    @property
    def last_page(self) -> int:
        """Where a transaction has to end: one more record, with a long name, may take a few pages."""
        return self.pages - _MARGIN_PAGES

    @property
    def present_bytes(self) -> int:
        """What the rows of folders that are there may take."""
        return int(self.pages * PAGE_BYTES * _PRESENT_SHARE)

    @property
    def checkpoint_pages(self) -> int:
        """So many in the log are copied into the database."""
        return max(1, int(self._wal_bytes * _CHECKPOINT_SHARE) // _WAL_FRAME_BYTES)


def row_bytes(name: bytes) -> int:
    """What the row of a folder that is there takes, about, with its place in the index by name."""
    return 2 * len(name) + 48


# What is known of it besides: times, size and age.
KNOWN_BYTES = 56

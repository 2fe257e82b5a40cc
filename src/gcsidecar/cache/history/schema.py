"""What the history's tables are, and how an older file is brought up to date. `docs/history.md` explains each column.

A file of version n becomes one of version n + 1 by the statements at `MIGRATIONS[n]`; an empty file has version 0. What
is here has been released and is never changed: a change is a further migration. A newer version is set aside.
"""

from __future__ import annotations

# Says in the file's header that it is ours.
APPLICATION_ID = int.from_bytes(b"gcsc")

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE recordings (
  id INTEGER PRIMARY KEY,
  began_at REAL NOT NULL,
  settled_at REAL,
  ended_at REAL
)""",
        """CREATE TABLE folders (
  id INTEGER PRIMARY KEY,
  name BLOB NOT NULL,
  inode INTEGER NOT NULL,
  arrived_at REAL,
  touched_at REAL,
  departed_at REAL,
  departure TEXT,
  disk_bytes INTEGER,
  returned_at REAL
)""",
        "CREATE INDEX folders_by_name ON folders (name)",
        "CREATE INDEX folders_gone ON folders (departed_at) WHERE departed_at IS NOT NULL",
        """CREATE TABLE uses (
  folder INTEGER NOT NULL,
  at REAL NOT NULL,
  disk_bytes INTEGER,
  leases INTEGER NOT NULL
)""",
        "CREATE INDEX uses_of_folder ON uses (folder)",
        """CREATE TABLE evictions (
  folder INTEGER PRIMARY KEY,
  at REAL NOT NULL,
  reasons TEXT NOT NULL,
  last_used REAL NOT NULL,
  seconds REAL NOT NULL,
  expected_bytes INTEGER,
  expected_inodes INTEGER,
  reclaimed_bytes INTEGER,
  reclaimed_inodes INTEGER,
  reclaimed_memory_bytes INTEGER,
  clamped INTEGER NOT NULL
)""",
        """CREATE TABLE wants (
  folder INTEGER NOT NULL,
  resource TEXT NOT NULL,
  root TEXT,
  measured_at REAL NOT NULL,
  capacity INTEGER NOT NULL,
  free INTEGER NOT NULL,
  trigger INTEGER NOT NULL,
  target INTEGER NOT NULL,
  deficit INTEGER NOT NULL
)""",
        "CREATE INDEX wants_of_folder ON wants (folder)",
    ),
    (
        """CREATE TABLE bases (
  id INTEGER PRIMARY KEY,
  lease_files TEXT NOT NULL,
  last_used TEXT NOT NULL,
  rights TEXT NOT NULL
)""",
        "ALTER TABLE folders ADD COLUMN mtime_ns INTEGER",
        "ALTER TABLE folders ADD COLUMN ctime_ns INTEGER",
        "ALTER TABLE folders ADD COLUMN leaseless INTEGER",
        "ALTER TABLE folders ADD COLUMN inodes INTEGER",
        "ALTER TABLE folders ADD COLUMN inner_at REAL",
        "ALTER TABLE folders ADD COLUMN measured_at REAL",
        "ALTER TABLE folders ADD COLUMN obstacle BLOB",
        "ALTER TABLE folders ADD COLUMN basis INTEGER",
    ),
)
VERSION = len(MIGRATIONS)

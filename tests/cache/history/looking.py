"""What a test does with a history: looks into a copy of it, as an operator does, and waits for it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsidecar.cache.root import Root

PATIENCE_SECONDS = 10.0


def asked(root: Path, query: str, *values: object) -> list[Any]:
    """Rows of a copy of what is there now, its log included, none before there are tables; of one column its values."""
    with tempfile.TemporaryDirectory() as copy:
        for name in ("history.sqlite", "history.sqlite-wal"):
            if (root / ".gcsidecar" / name).exists():
                shutil.copy(root / ".gcsidecar" / name, copy)
        with closing(sqlite3.connect(Path(copy) / "history.sqlite")) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return []
            rows = connection.execute(query, values).fetchall()
    return [row[0] if len(row) == 1 else row for row in rows]


def eventually(true: Callable[[], Any], what: str) -> Any:
    """What `true` gives once it is truthy."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not (value := true()):
        assert time.monotonic() < until, f"it did not come true: {what}"
        time.sleep(0.01)
    return value


def await_stock(root: Root) -> None:
    """Until the history has been compared with what is there."""
    recorder = root.chronicle.recorder
    assert recorder is not None
    eventually(lambda: recorder.stocks_taken, "stock was taken")


def change_history(path: Path, statement: str) -> None:
    """As somebody does who opens it between two runs; in a process of its own, as that is."""
    command = ["import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit(); c.close()"]
    database = str(path / ".gcsidecar/history.sqlite")
    subprocess.run([sys.executable, "-c", *command, database, statement], check=True)


@contextmanager
def open_elsewhere(root: Path) -> Iterator[None]:
    """Another program has it open; in a process of its own, since a lock of sqlite's is the whole process's."""
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE');"
        "print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(root / ".gcsidecar/history.sqlite")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield
        assert process.stdin is not None
        process.stdin.close()

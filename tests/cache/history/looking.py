"""What a test does with a history: looks into a copy of it, as an operator does, and waits for it."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsidecar.cache.root import Root

PATIENCE_SECONDS = 10.0


def asked(root: Path, query: str, *values: object) -> list[Any]:
    """Rows of a copy of what is there now, its log included; single values where a row has only one."""
    with tempfile.TemporaryDirectory() as copy:
        for name in ("history.sqlite-wal", "history.sqlite"):
            if (root / ".gcsidecar" / name).exists():
                shutil.copy(root / ".gcsidecar" / name, copy)
        with closing(sqlite3.connect(Path(copy) / "history.sqlite")) as connection:
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

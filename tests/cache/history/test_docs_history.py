"""`docs/history.md` says what is so: its queries run, and its tables are those that there are."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from cache.helpers import make_folder, opened, reconcile
from cache.history.looking import asked, await_stock
from gcsidecar import GarbageCollector
from gcsidecar.cache.history.schema import MIGRATIONS, VERSION
from gcsidecar.cache.measuring.caps import FoldersGauge
from gcsidecar.cache.spec import HistorySpec

TEXT = (Path(__file__).parents[3] / "docs/history.md").read_text()


def columns_of_tables() -> dict[str, set[str]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in (statement for step in MIGRATIONS for statement in step):
            connection.execute(statement)
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} - {"id"} for table in tables
        }


def test_it_names_each_table_and_each_column() -> None:
    said: dict[str, set[str]] = {}
    for table, text in re.findall(r"^\*\*`(\w+)`\*\*(.*?)(?=^\*\*|\Z)", TEXT, re.MULTILINE | re.DOTALL):
        cells = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)
        said[table] = {name for cell in cells for name in re.findall(r"\w+", cell)}
    assert said == columns_of_tables()
    assert f"now {VERSION}" in TEXT


def test_its_queries_answer_what_they_say(tmp_path: Path) -> None:
    last, which, spared = re.findall(r"```sql\n(.*?);\n```", TEXT, re.DOTALL)
    make_folder(tmp_path, "my-project", used_at=1e9)
    make_folder(tmp_path, "other")
    with opened(tmp_path, history=HistorySpec()) as root:
        await_stock(root)
        collector = GarbageCollector(
            gauges=[FoldersGauge(root, 1)],
            on_eviction=lambda done: root.chronicle.evicted(done, done.subject),  # type: ignore[arg-type]
        )
        for folder in root.census.folders():
            collector.register(folder)
        collector.collect()
        make_folder(tmp_path, "my-project")
        reconcile(root)
    (row,) = asked(tmp_path, last)
    assert (row[1], row[2], row[6]) == ("my-project", "folders", 0)
    (row,) = asked(tmp_path, which)
    assert (row[:3], row[4:]) == (("my-project", "folders", "jobs"), (1, -1, 0, 0, 1))
    (row,) = asked(tmp_path, spared)
    assert row[:3] == ("longer", 1, 1)
    assert row[3] >= 4096, "it had never been measured, and was looked at before it went"

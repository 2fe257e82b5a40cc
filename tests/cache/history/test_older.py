"""A history of an older version is brought up to date, and keeps what it has; on a full disk it is read as it is."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder, reconcile
from cache.history.looking import asked, eventually
from cache.history.starting import Run, clock_later, run
from gcsidecar.cache.folders.tally import State
from gcsidecar.cache.history.recorder import RETRY_SECONDS
from gcsidecar.cache.history.schema import APPLICATION_ID, MIGRATIONS, VERSION
from gcsidecar.cache.spec import Seconds

if TYPE_CHECKING:
    from pathlib import Path

    from cache.conftest import MakeFilesystem
    from fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return clock_later()


def of_version_1(path: Path, arrived_at: float) -> None:
    """A history as the first version left it: of `a`, which is there, and of `b`, which was evicted."""
    state = path / ".gcsidecar"
    state.mkdir(mode=0o700, exist_ok=True)
    with closing(sqlite3.connect(state / "history.sqlite", isolation_level=None)) as connection:
        for setting in ("page_size=4096", "auto_vacuum=INCREMENTAL", "journal_mode=WAL"):
            connection.execute(f"PRAGMA {setting}").fetchall()
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute("PRAGMA user_version=1")
        connection.execute("INSERT INTO recordings (began_at, settled_at) VALUES (1, 2)")
        row = (b"a", (path / "a").stat().st_ino, arrived_at, arrived_at + 7)
        connection.execute("INSERT INTO folders (name, inode, arrived_at, touched_at) VALUES (?, ?, ?, ?)", row)
        gone = (b"b", 7, arrived_at, arrived_at + 5, "evicted", 4096)
        columns = "name, inode, arrived_at, departed_at, departure, disk_bytes"
        connection.execute(f"INSERT INTO folders ({columns}) VALUES (?, ?, ?, ?, ?, ?)", gone)
    (state / "history.sqlite").chmod(0o600)


def fill(filler: Path) -> None:
    """Leave no room."""
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
    except OSError:
        pass
    assert os.statvfs(filler.parent).f_bavail == 0


def test_an_older_history_keeps_what_it_has_and_gets_what_it_lacks(tmp_path: Path, clock: FakeClock) -> None:
    make_folder(tmp_path, "a", used_at=1000)
    arrived_at = clock.now + 3600 - 100
    of_version_1(tmp_path, arrived_at)
    make_folder(tmp_path, "b", used_at=1000)
    with run(tmp_path, clock, min_age=Seconds(120)) as first:
        assert not first.said
        found = first.folder("a")
        assert (found.arrived_at, found.touched_at) == (arrived_at, arrived_at + 7)
        assert found.state(clock.now) is State.YOUNG
        assert first.watch.to_be_measured == {"a", "b"}
        first.measure_all()
        sizes = first.sizes()
    assert asked(tmp_path, "PRAGMA user_version") == [VERSION]
    assert asked(tmp_path, "SELECT returned_at FROM folders WHERE departed_at IS NOT NULL") != [None]
    with run(tmp_path, clock) as again:
        assert again.sizes() == sizes
        assert not again.looked_at | again.watch.to_be_measured
        assert again.folder("a").arrived_at == arrived_at


def test_on_a_full_disk_an_older_history_is_read_as_it_is(tmpfs: MakeFilesystem, clock: FakeClock) -> None:
    path = tmpfs(8 << 20)
    make_folder(path, "a")
    arrived_at = clock.now - 10
    with Run(path, clock, order="act look", history=None):
        """So that all is there that is needed but the history, and then but room."""
    of_version_1(path, arrived_at)
    filler = path / ".filler"
    fill(filler)
    full = Run(path, clock, order="act wait", min_age=Seconds(120))
    recorder = full.root.chronicle.recorder
    assert recorder is not None
    reconcile(full.root)
    assert full.folder("a").arrived_at == arrived_at
    assert full.folder("a").state(clock.now) is State.YOUNG
    eventually(lambda: not recorder.healthy, "nothing can be written")
    assert [event for event, _ in full.said] == ["history-off"]
    filler.unlink()
    clock.advance(RETRY_SECONDS)
    recorder.wake()
    eventually(lambda: recorder.healthy and recorder.stocks_taken, "there is room")
    full.close()
    assert asked(path, "PRAGMA user_version") == [VERSION]
    assert asked(path, "SELECT arrived_at FROM folders WHERE departed_at IS NULL") == [arrived_at]

"""What may lie in the history's place: nothing but a file of ours is written to, and nothing stops an eviction."""

from __future__ import annotations

import os
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cache.helpers import make_folder, opened
from cache.history.looking import asked, await_stock, eventually, open_elsewhere
from gcsidecar.cache.errors import HistoryDamagedError, HistoryUnavailableError
from gcsidecar.cache.history.connection import connect
from gcsidecar.cache.history.file import open_file
from gcsidecar.cache.history.limits import Limits
from gcsidecar.cache.history.schema import VERSION
from gcsidecar.cache.spec import HistorySpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gcsidecar.cache.root import Root

LIMITS = Limits.within(1000, 1 << 20, 1 << 40)
FOREIGN = b"not ours" * 1000


@pytest.fixture
def said() -> list[tuple[str, str]]:
    return []


@contextmanager
def kept(path: Path, said: list[tuple[str, str]], **keys: Any) -> Iterator[Root]:
    """A root whose history has been compared with what is there, and which evicts."""
    make_folder(path, "a")
    with opened(path, history=HistorySpec(), said=lambda *event: said.append(event), **keys) as root:
        await_stock(root)
        folder = root.census.get("a")
        assert folder is not None
        folder.dispose()
        assert not (path / "a").exists()
        yield root


def state(path: Path) -> Path:
    (path / ".gcsidecar").mkdir(exist_ok=True)
    return path / ".gcsidecar"


def link(place: Path, outside: Path) -> None:
    place.symlink_to(outside)


def dangling_link(place: Path, outside: Path) -> None:
    place.symlink_to(outside.with_name("not there"))


def hard_link(place: Path, outside: Path) -> None:
    place.hardlink_to(outside)


def directory(place: Path, _outside: Path) -> None:
    (place / "with").mkdir(parents=True)


def pipe(place: Path, _outside: Path) -> None:
    os.mkfifo(place)


def text(place: Path, _outside: Path) -> None:
    place.write_bytes(FOREIGN)


def other_database(place: Path, _outside: Path) -> None:
    """In WAL mode, too, and another program's."""
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE theirs (x)")


@pytest.mark.parametrize("make", [link, dangling_link, hard_link, directory, pipe, text, other_database])
def test_what_is_no_history_of_ours_is_set_aside_untouched_and_a_new_one_begun(
    tmp_path: Path, said: list[tuple[str, str]], make: Callable[[Path, Path], None]
) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.write_bytes(FOREIGN)
    root.mkdir()
    make(state(root) / "history.sqlite", outside)
    with kept(root, said):
        pass
    assert outside.read_bytes() == FOREIGN
    assert {path.name for path in tmp_path.iterdir()} == {"outside", "root"}
    assert [event for event, _ in said] == ["history-set-aside"]
    assert os.path.lexists(state(root) / "history.sqlite.damaged")
    assert asked(root, "SELECT departure FROM folders") == ["evicted"]


def test_what_is_set_aside_takes_the_place_of_what_was_before(tmp_path: Path, said: list[tuple[str, str]]) -> None:
    for number in range(3):
        (state(tmp_path) / "history.sqlite").write_bytes(FOREIGN + bytes([number]))
        (state(tmp_path) / "history.sqlite-wal").unlink(missing_ok=True)
        with kept(tmp_path, said) as root:
            files = [path for path in state(tmp_path).iterdir() if path.is_file()]
            assert len(files) == 5
            own = [state(tmp_path), *state(tmp_path).rglob("*")]
            assert root.used_bytes() == sum(path.stat().st_blocks * 512 for path in own)
        assert (state(tmp_path) / "history.sqlite.damaged").read_bytes() == FOREIGN + bytes([number])
    names = {path.name for path in state(tmp_path).iterdir()}
    assert names == {
        "lock",
        "ballast",
        "evicting",
        "condemned",
        *(f"history.sqlite{n}" for n in ("", "-wal", ".damaged")),
    }


def test_what_is_larger_than_a_history_may_be_is_not_kept(tmp_path: Path, said: list[tuple[str, str]]) -> None:
    with (state(tmp_path) / "history.sqlite").open("wb") as file:
        file.write(b"x" * (1 << 20))
        os.posix_fallocate(file.fileno(), 0, 40 << 20)
    with kept(tmp_path, said):
        pass
    assert said
    assert not (state(tmp_path) / "history.sqlite.damaged").exists()


@pytest.mark.parametrize("make", [link, hard_link, directory, pipe])
@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_nor_is_anything_beside_it_followed(
    tmp_path: Path, said: list[tuple[str, str]], make: Callable[[Path, Path], None], suffix: str
) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.write_bytes(FOREIGN)
    root.mkdir()
    with kept(root, said):
        pass
    beside = state(root) / f"history.sqlite{suffix}"
    beside.unlink(missing_ok=True)
    make(beside, outside)
    with kept(root, said):
        pass
    assert outside.read_bytes() == FOREIGN
    assert asked(root, "SELECT departure FROM folders") in (["evicted"], ["evicted", "evicted"])


def test_a_rollback_journal_made_to_fit_is_not_obeyed(tmp_path: Path, said: list[tuple[str, str]]) -> None:
    """sqlite would write its pages into the database, and delete the file that it names."""
    with kept(tmp_path, said):
        pass
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    name = os.fsencode(victim)
    magic = bytes.fromhex("d9d505f920a163d7")
    header = magic + struct.pack(">IIIII", 0, 0, 1, 512, 4096)
    tail = struct.pack(">I", 0x40000000 // 4096 + 1) + name + struct.pack(">II", len(name), sum(name)) + magic
    (state(tmp_path) / "history.sqlite-journal").write_bytes(header.ljust(512, b"\0") + tail)
    with kept(tmp_path, said):
        pass
    assert victim.exists()
    assert not (state(tmp_path) / "history.sqlite-journal").exists()
    assert said == []


@pytest.mark.root
def test_a_file_of_another_user_is_set_aside(tmp_path: Path, said: list[tuple[str, str]]) -> None:
    with kept(tmp_path, said):
        pass
    os.chown(state(tmp_path) / "history.sqlite", 65534, 65534)
    with kept(tmp_path, said):
        pass
    assert [event for event, _ in said] == ["history-set-aside"]
    assert "belongs to user 65534" in said[0][1]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (f"PRAGMA user_version={VERSION + 1}", f"version {VERSION + 1}"),
        ("PRAGMA user_version=0", "other tables"),
        ("PRAGMA application_id=1", "another program's"),
        ("CREATE TRIGGER t AFTER INSERT ON folders BEGIN DELETE FROM evictions; END", "other tables"),
        ("CREATE VIEW v AS SELECT 1", "other tables"),
        ("DROP TABLE wants", "other tables"),
    ],
)
def test_a_newer_version_and_tables_that_are_not_ours_are_set_aside(
    tmp_path: Path, said: list[tuple[str, str]], change: str, why: str
) -> None:
    with kept(tmp_path, said):
        pass
    with closing(sqlite3.connect(state(tmp_path) / "history.sqlite", isolation_level=None)) as connection:
        connection.execute(change)
    with kept(tmp_path, said):
        pass
    assert [event for event, _ in said] == ["history-set-aside"]
    assert why in said[0][1]


def test_what_sqlite_opened_has_to_be_what_we_opened(tmp_path: Path) -> None:
    """Swapped between our look and sqlite's: the last check finds it, and nothing was written."""
    fd = os.open(tmp_path, os.O_RDONLY)
    file_fd = open_file(fd)
    try:
        other = tmp_path / "other"
        other.touch()
        (tmp_path / "history.sqlite").rename(tmp_path / "away")
        (tmp_path / "history.sqlite").symlink_to(other)
        with pytest.raises(HistoryUnavailableError, match="was replaced"):
            connect(fd, file_fd, LIMITS)
        assert other.read_bytes() == b""
        assert (tmp_path / "away").read_bytes() == b""
    finally:
        os.close(file_fd)
        os.close(fd)


def test_another_program_can_neither_read_nor_change_it_while_it_is_open(
    tmp_path: Path, said: list[tuple[str, str]]
) -> None:
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM folders')"
    command = [sys.executable, "-c", code, str(state(tmp_path) / "history.sqlite")]
    with kept(tmp_path, said):
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "database is locked" in run.stderr
    assert subprocess.run(command, check=False).returncode == 0


def test_while_another_program_has_it_open_nothing_is_recorded_and_all_else_goes_on(
    tmp_path: Path, said: list[tuple[str, str]]
) -> None:
    with kept(tmp_path, said):
        pass
    with open_elsewhere(tmp_path):
        make_folder(tmp_path, "b")
        with opened(tmp_path, history=HistorySpec(), said=lambda *event: said.append(event)) as root:
            recorder = root.chronicle.recorder
            assert recorder is not None
            eventually(lambda: not recorder.healthy, "it is off")
            root.census.get("b").dispose()  # type: ignore[union-attr]
    assert said == [("history-off", "another program has history.sqlite open")]


def test_a_history_that_is_deleted_or_replaced_under_our_hands_is_begun_anew(
    tmp_path: Path, said: list[tuple[str, str]]
) -> None:
    make_folder(tmp_path, "stays")
    with kept(tmp_path, said) as root:
        (state(tmp_path) / "history.sqlite").unlink()
        make_folder(tmp_path, "b")
        root.finder.refresh("b")
        eventually((state(tmp_path) / "history.sqlite").exists, "it is there again")
        recorder = root.chronicle.recorder
        eventually(lambda: recorder is not None and recorder.stocks_taken == 2, "it knows all folders")
    assert [event for event, _ in said] == ["history-lost"]
    assert set(asked(tmp_path, "SELECT name FROM folders WHERE departed_at IS NULL")) == {b"stays", b"b"}


def test_in_dry_run_and_standing_by_no_history_is_made(tmp_path: Path) -> None:
    with opened(tmp_path, history=HistorySpec(), dry_run=True) as root:
        assert root.chronicle.recorder is None
    assert list(tmp_path.iterdir()) == []
    with opened(tmp_path), opened(tmp_path, history=HistorySpec()) as second:
        assert second.chronicle.recorder is None
        assert not (state(tmp_path) / "history.sqlite").exists()


def test_no_descriptor_is_left(tmp_path: Path, said: list[tuple[str, str]]) -> None:
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(2):
        with kept(tmp_path, said):
            pass
    (state(tmp_path) / "history.sqlite").write_bytes(FOREIGN)
    fd = os.open(state(tmp_path), os.O_RDONLY)
    with pytest.raises(HistoryDamagedError):
        open_file(fd)
    os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == len(before)

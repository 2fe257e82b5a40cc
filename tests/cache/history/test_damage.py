"""A history that is damaged, on a full disk, or read-only: it is set aside or off for a while, and evictions go on."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache.helpers import Tracker, make_folder, opened, reconcile, spec
from cache.history.looking import asked, await_stock, change_history, eventually, open_elsewhere
from cache.history.starting import clock_later, measured_once, run
from fakes import FakeClock
from gcsidecar.cache.folders.tally import State
from gcsidecar.cache.history.backlog import MOST_RECORDS
from gcsidecar.cache.history.recorder import RETRY_SECONDS
from gcsidecar.cache.history.records import Departure, How
from gcsidecar.cache.root import Root
from gcsidecar.cache.spec import HistorySpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cache.conftest import MakeFilesystem, Mounts
    from gcsidecar.cache.history.recorder import Recorder

KEPT: dict[str, Any] = {"history": HistorySpec()}


def recorder_of(root: Root) -> Recorder:
    assert root.chronicle.recorder is not None
    return root.chronicle.recorder


def evict(root: Root, name: str) -> None:
    folder = root.census.get(name)
    assert folder is not None
    folder.dispose()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history with something of everything in it."""
    path = tmp_path_factory.mktemp("written")
    with opened(path, **KEPT) as root:
        await_stock(root)
        for number in range(200):
            make_folder(path, f"folder-{number}")
        reconcile(root)
        for number in range(100):
            evict(root, f"folder-{number}")
    return path / ".gcsidecar/history.sqlite"


damages = st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=64)), min_size=1, max_size=8)


@given(damages, st.integers(0, 1 << 20))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_changed_anywhere_stop_neither_activation_nor_eviction_nor_recording(
    tmp_path_factory: pytest.TempPathFactory, written: Path, damage: list[tuple[int, bytes]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("damaged")
    content = bytearray(written.read_bytes())
    for offset, change in damage:
        at = offset % len(content)
        content[at : at + len(change)] = change
    if cut % 3 == 0:
        del content[cut % len(content) :]
    (path / ".gcsidecar").mkdir()
    (path / ".gcsidecar/history.sqlite").write_bytes(content)
    make_folder(path, "a")
    with opened(path, **KEPT) as root:
        assert root.custody.active
        await_stock(root)
        evict(root, "a")
        make_folder(path, "b")
        reconcile(root)
        recorder = recorder_of(root)
        eventually(lambda: not recorder.waiting, "all is written")
        assert recorder.healthy
        assert recorder.dropped == 0
    known = asked(path, "SELECT departure FROM folders WHERE name = ? ORDER BY id DESC LIMIT 1", b"a")
    assert known == ["evicted"]
    assert asked(path, "SELECT count(*) FROM folders WHERE name = ? AND departed_at IS NULL", b"b") == [1]


def test_damage_that_sqlite_can_not_even_name_in_utf8_is_damage(tmp_path: Path, written: Path) -> None:
    said: list[str] = []
    (tmp_path / ".gcsidecar").mkdir()
    content = (
        written.read_bytes().replace(b"folders_by_name", b"\x80olders_by_name").replace(b"ON folders", b"ON \x80olders")
    )
    (tmp_path / ".gcsidecar/history.sqlite").write_bytes(content)
    with opened(tmp_path, said=lambda event, _: said.append(event), **KEPT) as root:
        await_stock(root)
        assert recorder_of(root).healthy
        assert recorder_of(root).set_aside == 1
    assert said == ["history-set-aside"]


def test_what_turns_out_to_be_damaged_later_is_set_aside_then(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    with opened(tmp_path, said=lambda *event: said.append(event), **KEPT) as root:
        await_stock(root)
        for number in range(300):
            make_folder(tmp_path, f"f{number}")
        reconcile(root)
        recorder = recorder_of(root)
        eventually(lambda: not recorder.waiting, "all is written")
        for name in ("history.sqlite", "history.sqlite-wal"):
            with (tmp_path / ".gcsidecar" / name).open("r+b") as file:
                size = os.fstat(file.fileno()).st_size
                file.write(b"\xa5" * size)
        os.posix_fadvise(0, 0, 0, os.POSIX_FADV_NORMAL)
        for number in range(300):
            evict(root, f"f{number}")
        eventually(lambda: not recorder.waiting, "it goes on")
        assert recorder.healthy
    assert {event for event, _ in said} <= {"history-set-aside"}


# No room


@pytest.fixture
def full(tmpfs: MakeFilesystem) -> tuple[Path, Callable[[], None], Callable[[], None]]:
    """A tmpfs, how to fill it to its last byte, and how to make room again."""
    path = tmpfs(8 << 20)
    (path / ".filler").touch()

    def fill() -> None:
        for size in (1 << 20, 4096):
            try:
                with (path / ".filler").open("ab", buffering=0) as file:
                    while True:
                        file.write(b"x" * size)
            except OSError:
                pass
        assert os.statvfs(path).f_bavail == 0

    return path, fill, (path / ".filler").unlink


def test_on_a_full_disk_evictions_go_on_and_are_written_once_there_is_room(
    full: tuple[Path, Callable[[], None], Callable[[], None]],
) -> None:
    path, fill, make_room = full
    said: list[str] = []
    clock = FakeClock(time.time())
    for number in range(100):
        (path / f"f{number:03}{'x' * 40}").mkdir()
    with opened(path, clock=clock, said=lambda event, _: said.append(event), **KEPT) as root:
        await_stock(root)
        recorder = recorder_of(root)
        for number, folder in enumerate(sorted(root.census.folders(), key=lambda f: f.name)[:80]):
            fill()
            folder.dispose()
            recorder.note(Departure(f"{number}{'x' * 150}", number, 1.0, How.REMOVED))
            clock.advance(1)
            if number % 10 == 0:
                recorder.wake()
                time.sleep(0.01)
        eventually(lambda: not recorder.healthy, "there is no room")
        assert said == ["history-off"]
        # It stays open: what it has taken it doesn't give back for others to take.
        assert (path / ".gcsidecar/history.sqlite-wal").stat().st_size > 0
        make_room()
        clock.advance(RETRY_SECONDS)
        recorder.wake()
        eventually(lambda: recorder.healthy, "there is room")
        assert said == ["history-off", "history-on"]
        assert recorder.dropped == 0
    assert asked(path, "SELECT count(*) FROM folders WHERE departure = 'evicted'") == [80]


def test_what_does_not_fit_into_memory_while_it_is_off_is_counted_as_dropped(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path, **KEPT) as root:
        await_stock(root)
    clock = FakeClock(time.time())
    with open_elsewhere(tmp_path):
        root = Root(spec(tmp_path, **KEPT), Tracker(), clock=clock)
        root.custody.activate({})
        recorder = recorder_of(root)
        eventually(lambda: not recorder.healthy, "it is off")
        reconcile(root)
        folder = root.census.get("a")
        assert folder is not None
        for _ in range(MOST_RECORDS + 5):
            root.chronicle.arrived(folder, clock.now)
        assert recorder.dropped == 5
    clock.advance(RETRY_SECONDS)
    recorder.wake()
    eventually(lambda: recorder.healthy and not recorder.waiting, "it goes on")
    root.close()
    assert asked(tmp_path, "SELECT name, departed_at FROM folders") == [(b"a", None)]


@pytest.mark.root
def test_on_a_read_only_mount_it_is_off_until_the_mount_is_writable_again(tmp_path: Path, mounts: Mounts) -> None:
    said: list[tuple[str, str]] = []
    path = mounts.mount(tmp_path / "mount", "-t", "tmpfs", "tmpfs")
    clock = FakeClock(time.time())
    make_folder(path, "a")
    with opened(path, clock=clock, **KEPT) as root:
        await_stock(root)
    # Only what the history is in: a root that is read-only altogether has no sidecar that acts on it.
    subprocess.run(["mount", "--bind", str(path / ".gcsidecar"), str(path / ".gcsidecar")], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(path / ".gcsidecar")], check=True)
        fd = os.open(path / ".gcsidecar", os.O_RDONLY)
        with opened(path, active=False, clock=clock, said=lambda *event: said.append(event), **KEPT) as root:
            root.chronicle.begin(fd, root.census, root.adoption, 1 << 30)
            recorder = recorder_of(root)
            eventually(lambda: not recorder.healthy, "it can't be written")
            subprocess.run(["mount", "-o", "remount,bind,rw", str(path / ".gcsidecar")], check=True)
            clock.advance(RETRY_SECONDS)
            recorder.wake()
            eventually(lambda: recorder.healthy, "it can again")
        os.close(fd)
    finally:
        subprocess.run(["umount", "--lazy", str(path / ".gcsidecar")], check=True)
    assert [event for event, _ in said] == ["history-off", "history-on"]
    assert "Read-only file system" in said[0][1]


# Rows that sqlite finds nothing wrong with


@pytest.mark.parametrize(
    "change",
    [
        *("measured_at = 'soon'", "measured_at = 9e999", "disk_bytes = -1", "disk_bytes = 'big'", "inodes = 0.5"),
        *("inner_at = 'x'", "mtime_ns = 'x'", "ctime_ns = 0.5", "obstacle = 5", "inode = 'x'", "name = 5"),
        *("arrived_at = 'x'", "touched_at = 'x'"),
    ],
)
def test_a_row_that_makes_no_sense_costs_a_measuring_of_all(tmp_path: Path, change: str) -> None:
    for name in "ab":
        make_folder(tmp_path, name)
    clock = clock_later()
    measured_once(tmp_path, clock)
    change_history(tmp_path, f"UPDATE folders SET {change} WHERE id = 2")
    with run(tmp_path, clock) as again:
        assert [event for event, _ in again.said] == ["history-set-aside"]
        assert recorder_of(again.root).set_aside == 1
        assert {folder.name: folder.state(clock.now) for folder in again.root.census.folders()} == dict.fromkeys(
            "ab", State.IDLE
        )
        assert {name for name, size in again.sizes().items() if size is None} <= again.watch.to_be_measured
        again.measure_all()
        sizes = again.sizes()
    with run(tmp_path, clock) as again:
        assert again.sizes() == sizes
        assert not again.said


def test_flags_that_make_no_sense_say_nothing(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    clock = clock_later()
    sizes = measured_once(tmp_path, clock)
    change_history(tmp_path, "UPDATE folders SET leaseless = 7, basis = 'x'")
    with run(tmp_path, clock, order="act wait") as again:
        assert again.leased() == {"a"}
        assert again.sizes() == {"a": None} != sizes

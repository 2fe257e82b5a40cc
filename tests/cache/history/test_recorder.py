"""The recorder: nobody waits for it, it sleeps while nothing happens, and a kill leaves the file whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder, opened, reconcile
from cache.history.looking import asked, await_stock, eventually
from gcsidecar.cache.history.recorder import MOST_USES, Recorder
from gcsidecar.cache.history.records import Arrival, Use
from gcsidecar.cache.spec import HistorySpec
from gcsidecar.gc.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsidecar.cache.history.database import Database

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
KILLS = 12


@pytest.fixture
def directory_fd(tmp_path: Path) -> Iterator[int]:
    (tmp_path / ".gcsidecar").mkdir()
    fd = os.open(tmp_path / ".gcsidecar", os.O_RDONLY)
    yield fd
    os.close(fd)


def recorder(directory_fd: int, take_stock: Callable[[Database], None] = lambda _database: None) -> Recorder:

    return Recorder(
        "jobs",
        directory_fd,
        HistorySpec(),
        1 << 40,
        take_stock=take_stock,
        answered=lambda: None,
        said=lambda _event, _problem: None,
        clock=SYSTEM_CLOCK,
    )


def test_what_happens_is_in_the_file_within_a_second(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path, history=HistorySpec()) as root:
        await_stock(root)
        began = time.monotonic()
        root.census.get("a").dispose()  # type: ignore[union-attr]
        eventually(lambda: asked(tmp_path, "SELECT departure FROM folders") == ["evicted"], "it is written")
        assert time.monotonic() - began < 1.0


def test_nobody_waits_for_it_while_it_hangs_and_its_end_is_not_awaited_for_long(directory_fd: int) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(_database: Database) -> None:
        hangs.set()
        goes_on.wait()

    one = recorder(directory_fd, hang)
    one.stock_is_due()
    assert hangs.wait(10)
    began = time.monotonic()
    for number in range(1000):
        one.note(Arrival(f"f{number}", number, 1.0))
        one.note_use(Use(f"f{number}", number, 2.0, None, 0, None))
    assert time.monotonic() - began < 0.2
    assert not one.stop()
    assert time.monotonic() - began < 0.6
    goes_on.set()
    eventually(one.stop, "it ends")


def test_uses_that_wait_are_bounded_too(directory_fd: int) -> None:
    one = recorder(directory_fd)
    for number in range(MOST_USES + 3):
        one.note_use(Use(f"f{number}", number, 2.0, None, 0, None))
        one.note_use(Use("f1", 1, 3.0, None, 0, None))
    assert one.dropped == 3
    assert one.stop()


def test_while_nothing_happens_its_thread_sleeps(tmp_path: Path) -> None:
    with opened(tmp_path, history=HistorySpec()) as root:
        make_folder(tmp_path, "a")
        reconcile(root)
        eventually(lambda: asked(tmp_path, "SELECT count(*) FROM folders") == [1], "all is written")
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "history-jobs"]
        before = switches(thread)
        time.sleep(1.0)
        assert switches(thread) == before


def switches(thread: threading.Thread) -> list[str]:
    """How often it was given the processor, by what the kernel counts."""
    lines = Path(f"/proc/self/task/{thread.native_id}/status").read_text().splitlines()
    return [line for line in lines if "ctxt_switches" in line]


def test_a_kill_in_the_middle_of_writing_leaves_all_that_was_written_and_a_whole_file(tmp_path: Path) -> None:
    print(f"SEED={SEED}")
    chance, written = random.Random(SEED), 0
    for _ in range(KILLS):
        written = max(written, killed_while_writing(tmp_path, chance))
        assert asked(tmp_path, "PRAGMA integrity_check") == ["ok"]
        assert asked(tmp_path, "SELECT max(inode) FROM folders")[0] >= written
    assert written > 0


def killed_while_writing(root: Path, chance: random.Random) -> int:
    """Let another process write, kill it at any moment; the last record that it said was written."""
    code = Path(__file__).with_name("writing.py")
    command = [sys.executable, str(code), str(root), str(chance.randrange(1 << 30))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = [process.stdout.readline()]
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().split(b"\n")
    whole = [line.rstrip() for line in said if line.rstrip().endswith(b";")]
    return max(int(line[:-1]) for line in whole)

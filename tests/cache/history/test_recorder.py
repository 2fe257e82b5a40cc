"""The recorder: nobody waits for it, it sleeps while nothing happens, and a kill leaves the file whole."""

from __future__ import annotations

import math
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

from cache.helpers import make_folder, opened, reconcile, spec
from cache.history.looking import asked, await_stock, eventually
from fakes import FakeClock
from gcsidecar.cache.history.backlog import Backlog
from gcsidecar.cache.history.basis import Basis
from gcsidecar.cache.history.database import Database
from gcsidecar.cache.history.limits import BATCH, SCATTERED_BATCH, Limits
from gcsidecar.cache.history.recorder import PATIENCE_SECONDS, Recorder
from gcsidecar.cache.history.records import Arrival, Use
from gcsidecar.cache.spec import HistorySpec
from gcsidecar.gc.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gcsidecar.cache.history.records import Present, Record
    from gcsidecar.gc.clock import Clock

SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
KILLS = 12
BASIS = Basis("{folder}/.lease", "mtime", "user=0")


@pytest.fixture
def directory_fd(tmp_path: Path) -> Iterator[int]:
    (tmp_path / ".gcsidecar").mkdir()
    fd = os.open(tmp_path / ".gcsidecar", os.O_RDONLY)
    yield fd
    os.close(fd)


class Nobody:
    """Whom the recorder asks and tells, and who knows nothing."""

    def __init__(self, take_stock: Callable[[Database], None] = lambda _database: None) -> None:
        self.take_stock = take_stock

    def recall(self, known: Sequence[Present]) -> None:
        pass

    def known_now(self, names: Sequence[tuple[str, bool]]) -> list[Record]:
        return [Use(name, 1, 2.0, None, 0) for name, used in names if used]

    def answered(self) -> None:
        pass


def recorder(directory_fd: int, listener: Nobody, clock: Clock = SYSTEM_CLOCK) -> Recorder:
    root = spec(Path("/nowhere"), history=HistorySpec())
    return Recorder(root, directory_fd, 1 << 40, listener=listener, said=lambda _event, _problem: None, clock=clock)


def test_what_happens_is_in_the_file_within_a_second(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    clock = FakeClock(time.time())
    with opened(tmp_path, history=HistorySpec(), clock=clock) as root:
        await_stock(root)
        root.census.get("a").dispose()  # type: ignore[union-attr]
        clock.advance(1.0)
        root.chronicle.recorder.wake()  # type: ignore[union-attr]
        eventually(lambda: asked(tmp_path, "SELECT departure FROM folders") == ["evicted"], "it is written")


def test_nobody_waits_for_it_while_it_hangs_and_its_end_is_not_awaited_for_long(directory_fd: int) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(_database: Database) -> None:
        hangs.set()
        goes_on.wait()

    one = recorder(directory_fd, Nobody(hang))
    one.stock_is_due()
    assert hangs.wait(10)
    for number in range(1000):
        one.note(Arrival(f"f{number}", number, 1.0))
        one.note_use(f"f{number}")
        one.note_change(f"f{number}")
    began = time.monotonic()
    assert not one.stop(), "it still hangs"
    assert time.monotonic() - began < 5
    goes_on.set()
    eventually(one.stop, "it ends")


def test_nor_for_what_it_knows_of_folders_when_it_hangs_while_it_tells(directory_fd: int) -> None:
    database = Database(directory_fd, Limits.within(1000, 1 << 20, 1 << 40), BASIS, 1.0)
    database.write([Arrival(f"f{number}", number, 1.0) for number in range(2 * BATCH)])
    database.close()
    told, goes_on, clock = threading.Semaphore(0), threading.Semaphore(0), FakeClock()

    class Slow(Nobody):
        def recall(self, known: Sequence[Present]) -> None:
            assert len(known) == BATCH
            told.release()
            assert goes_on.acquire(timeout=10)

    one = recorder(directory_fd, Slow(), clock)
    assert told.acquire(timeout=10)
    clock.advance(PATIENCE_SECONDS - 0.1)
    assert one.is_reading()
    goes_on.release()
    assert told.acquire(timeout=10)
    clock.advance(PATIENCE_SECONDS - 0.1)
    assert one.is_reading(), "it told something meanwhile"
    clock.advance(0.1)
    assert not one.is_reading()
    goes_on.release()
    assert one.stop()


def test_of_a_hundred_thousand_folders_that_are_used_and_measured_at_once_none_is_left_out() -> None:
    """Only names wait, each once."""
    backlog, many = Backlog(), 100_000
    for number in range(2 * many):
        backlog.add_used(f"f{number % many}", 0.0)
        backlog.add_changed(f"f{number % many}", 0.0)
    assert backlog.names == many
    taken: dict[str, bool] = {}
    while names := backlog.take_names(math.inf):
        assert len(names) <= SCATTERED_BATCH
        assert not any(name in taken for name, _ in names)
        taken |= dict(names)
    assert list(taken.values()) == [True] * many
    assert backlog.dropped == backlog.names == 0


def test_while_nothing_happens_its_thread_sleeps(tmp_path: Path) -> None:
    with opened(tmp_path, history=HistorySpec()) as root:
        make_folder(tmp_path, "a")
        reconcile(root)
        eventually(lambda: asked(tmp_path, "SELECT count(*) FROM folders") == [1], "all is written")
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "history-jobs"]

        def sleeps() -> bool:
            before = switches(thread)
            time.sleep(1.0)
            return switches(thread) == before

        eventually(sleeps, "it has done its work, and is not woken for nothing")


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

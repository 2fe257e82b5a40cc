"""A root is measured by processes of their own: right, whatever becomes of them, and nothing of them stays."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import needs
from cache import helpers
from cache.conftest import hung_mount
from cache.trees import NOT_UTF8, fill, opened
from children import in_child
from gcsidecar.cache.surveying.cores import cores
from gcsidecar.cache.surveying.surveyor import LINGER_SECONDS, Measured, Surveyor
from gcsidecar.cache.walking.sizes import measure

if TYPE_CHECKING:
    from collections.abc import Iterator

LONELY_USER = 54_321  # one without any process, so that its limit of them is ours to set

eventually = partial(helpers.eventually, within_seconds=20.0)


def processes() -> list[int]:
    """The children of this process."""
    found: list[int] = []
    for thread in os.listdir("/proc/self/task"):
        with suppress(OSError):
            found += map(int, Path(f"/proc/self/task/{thread}/children").read_text().split())
    return found


def status(pid: int, key: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{key}:"))


def open_names(pid: int) -> set[str]:
    """The last parts of the paths of what a process has open."""
    names: set[str] = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            names.add(os.path.basename(os.readlink(f"/proc/{pid}/fd/{fd}")))
    return names


@contextmanager
def surveyor(root: Path, **keys: Any) -> Iterator[Surveyor]:
    """One that leaves nothing behind: no descriptor, no thread, no process."""
    threads = set(threading.enumerate())
    with opened(root) as root_fd:
        made = Surveyor(root_fd, **keys)
        try:
            yield made
        finally:
            made.close()
        assert eventually(lambda: set(threading.enumerate()) <= threads)
        assert processes() == []


def all_of(made: Surveyor, within_seconds: float = 60.0) -> list[Measured]:
    """What it finds until it has nothing more to do."""
    found: list[Measured] = []

    def is_done() -> bool:
        found.extend(made.take())
        return not made.waiting

    assert eventually(is_done, within_seconds=within_seconds)
    return found


def make_folders(root: Path, count: int, files: int = 3) -> list[str]:
    names = [f"folder-{number}" for number in range(count)]
    for number, name in enumerate(names):
        if not (root / name).exists():
            fill(root / name, files)
        (root / name / "some").write_bytes(b"x" * 100 * number)
    return names


def expected(root: Path, names: list[str]) -> dict[str, object]:
    with opened(root) as root_fd:
        return {name: measure(root_fd, name) for name in names}


def sizes(found: list[Measured]) -> dict[str, object]:
    assert len({measured.name for measured in found}) == len(found)
    return {measured.name: measured.size for measured in found}


def slow(root: Path) -> str:
    """A folder that keeps a process busy for a while at 100 entries a second."""
    if not (root / "slow").exists():
        fill(root / "slow", files=1000)
    return "slow"


SLOWLY: dict[str, Any] = {"entries_per_second": 100.0}


def test_it_finds_what_measuring_here_finds(tmp_path: Path) -> None:
    names = make_folders(tmp_path, 300)
    for name in (NOT_UTF8, "two\nlines", "deep/er"):
        fill(tmp_path / name, files=2, folders=1)
        names.append(name)
    began = time.time()
    with surveyor(tmp_path) as made:
        made.measure(names)
        found = all_of(made)
    assert sizes(found) == expected(tmp_path, names)
    assert all(began <= measured.at <= time.time() for measured in found)


def test_one_process_answers_in_the_order_it_was_asked(tmp_path: Path) -> None:
    names = make_folders(tmp_path, 300)[::-1]
    with surveyor(tmp_path, processes=1) as made:
        made.measure(names[:200])
        made.measure(iter(names[200:]))
        assert [measured.name for measured in all_of(made)] == names


def test_what_can_not_be_measured_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("folder-0")
    make_folders(tmp_path, 1)
    with surveyor(tmp_path) as made:
        made.measure(["gone", "file", "link", "../folder-0", "folder-0"])
        found = sizes(all_of(made))
    assert {name for name, size in found.items() if size is None} == {"gone", "file", "link", "../folder-0"}


def test_obstacles_and_access_times_are_told_too(mounts: Any, tmp_path: Path) -> None:
    name = f"folder/{NOT_UTF8}"
    fill(tmp_path / name, files=2)
    os.utime(tmp_path / name / "file-1", (2e9, 1e9))
    mounts.mount_over(tmp_path / name / "file-0", "--bind", "/dev/null")
    with surveyor(tmp_path, atime=True) as made:
        made.measure(["folder"])
        (found,) = all_of(made)
    assert found.size is not None
    assert found.size.obstacle == f"{NOT_UTF8}/file-0: another filesystem is mounted there"
    assert (found.size.newest_mtime, found.size.newest_atime) == (1e9, 2e9)


def test_it_wakes_who_waits(tmp_path: Path) -> None:
    awake = threading.Event()
    with surveyor(tmp_path, wake=awake.set) as made:
        made.measure(make_folders(tmp_path, 1))
        assert awake.wait(20.0)
        assert eventually(made.take)
        assert made.waiting == 0


def test_at_rest_it_has_no_thread_and_no_process(tmp_path: Path) -> None:
    names, threads = make_folders(tmp_path, 3), threading.active_count()
    with surveyor(tmp_path) as made:
        assert (threading.active_count(), processes()) == (threads, [])
        for _ in range(2):
            made.measure(names)
            assert len(all_of(made)) == 3
            assert processes()
            assert eventually(lambda: threading.active_count() == threads, within_seconds=LINGER_SECONDS + 20)
            assert processes() == []


def most_processes(within_seconds: float) -> int:
    most, until = 0, time.monotonic() + within_seconds
    while time.monotonic() < until:
        most = max(most, len(processes()))
        time.sleep(0.001)
    return most


def test_as_many_processes_as_cores_but_two_at_most(tmp_path: Path) -> None:
    def at_work(on: set[int], **keys: Any) -> int:
        os.sched_setaffinity(0, on)
        with surveyor(tmp_path, **keys) as made:
            made.measure(["slow"] * 100)
            return most_processes(within_seconds=0.5)

    slow(tmp_path)
    all_cores = os.sched_getaffinity(0)
    one_core = {min(all_cores)}
    assert in_child(lambda: at_work(all_cores)) == min(2, cores())
    assert in_child(lambda: at_work(one_core)) == 1
    assert in_child(lambda: at_work(all_cores, **SLOWLY)) == 1


@contextmanager
def at_work(tmp_path: Path, **keys: Any) -> Iterator[tuple[Surveyor, int]]:
    """A surveyor whose only process is busy with the first folder."""
    names = [slow(tmp_path), *make_folders(tmp_path, 5)]
    with surveyor(tmp_path, **{**SLOWLY, **keys}) as made:
        made.measure(names)
        assert eventually(processes)
        (pid,) = processes()
        assert eventually(lambda: "slow" in open_names(pid))
        yield made, pid


def test_when_a_process_is_killed_the_rest_is_measured_here(tmp_path: Path) -> None:
    with at_work(tmp_path, entries_per_second=2000.0) as (made, pid):
        os.kill(pid, signal.SIGKILL)
        found = all_of(made)
        assert processes() == []
        assert sizes(found) == expected(tmp_path, ["slow", *(f"folder-{number}" for number in range(5))])
        made.measure(["folder-1"])  # and none is started again for now
        assert len(all_of(made)) == 1
        assert processes() == []


def test_when_a_process_hangs_it_is_given_up(tmp_path: Path) -> None:
    with at_work(tmp_path, patience_seconds=0.3) as (made, pid):
        os.kill(pid, signal.SIGSTOP)
        found = sizes(all_of(made))
        assert set(found.values()) == {None}
        assert len(found) == 6
        assert eventually(lambda: not processes())
        made.measure(["folder-1"])
        assert sizes(all_of(made)) == expected(tmp_path, ["folder-1"])


def test_a_process_that_works_long_at_one_folder_is_not_given_up(tmp_path: Path) -> None:
    fill(tmp_path / "slow", files=300)
    with surveyor(tmp_path, entries_per_second=100.0, patience_seconds=1.0) as made:
        made.measure(["slow"])
        assert sizes(all_of(made)) == expected(tmp_path, ["slow"])


def test_a_root_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    with hung_mount(tmp_path):
        root_fd = os.open(tmp_path, os.O_PATH)
        made = Surveyor(root_fd, patience_seconds=0.5)
        made.measure(["folder", "another"])
        assert set(sizes(all_of(made)).values()) == {None}
        made.measure(["folder"])
        assert eventually(processes)
        began = time.monotonic()
        made.close()
        assert time.monotonic() - began < 10
        os.close(root_fd)
    assert eventually(lambda: not processes())


def test_closing_ends_it_at_once(tmp_path: Path) -> None:
    with at_work(tmp_path) as (made, pid):
        made.close()
        assert not Path(f"/proc/{pid}").exists()
        made.measure(["folder-1"])
        assert made.take() == []
        assert processes() == []


def test_names_that_nobody_began_with_can_be_taken_back(tmp_path: Path) -> None:
    names = [slow(tmp_path), *(f"folder-{number}" for number in range(1000))]
    with surveyor(tmp_path, **SLOWLY) as made:
        made.measure(names)
        assert eventually(lambda: any("slow" in open_names(pid) for pid in processes()))
        forgotten = made.forget()
        assert 500 < len(forgotten) < len(names)
        assert forgotten == names[-len(forgotten) :]
        assert made.waiting == len(names) - len(forgotten)


def test_it_ends_with_its_parent_whatever_either_is_doing(tmp_path: Path) -> None:
    slow(tmp_path)
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    (pid,) = map(int, parent.stdout.readline().split())
    assert eventually(lambda: "slow" in open_names(pid))
    os.kill(pid, signal.SIGSTOP)  # it can do nothing towards it
    parent.kill()
    parent.communicate()
    try:
        assert eventually(lambda: not Path(f"/proc/{pid}").exists() or status(pid, "State")[0] == "Z")
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


_PARENT = """
import os, sys, time
from cache.surveying.test_surveyor import SLOWLY, Surveyor, eventually, processes
made = Surveyor(os.open(sys.argv[1], os.O_RDONLY), **SLOWLY)
made.measure(["slow"])
eventually(processes)
print(*processes(), flush=True)
time.sleep(60)
"""


def test_it_gets_the_root_and_nothing_else(tmp_path: Path) -> None:
    with ExitStack() as undo:
        lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
        undo.callback(os.close, lock)
        os.set_inheritable(lock, True)  # noqa: FBT003  its only form
        _, pid = undo.enter_context(at_work(tmp_path))
        kept = {os.readlink(f"/proc/{pid}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{pid}/fd")}
        assert kept == {"pipe", "/dev/null", os.fspath(tmp_path), os.fspath(tmp_path / "slow")}


def test_it_is_nice_or_takes_only_what_nobody_wants(tmp_path: Path) -> None:
    ionice = needs.program("ionice", "util-linux")
    with at_work(tmp_path) as (_, pid):
        assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + 10
    with at_work(tmp_path, idle=True) as (_, pid):
        assert os.sched_getscheduler(pid) == os.SCHED_IDLE
        shown = subprocess.run([ionice, "-p", str(pid)], capture_output=True, text=True, check=True)
        assert shown.stdout.strip() == "idle"


@pytest.mark.parametrize("in_process", [False, True])
def test_it_is_never_faster_than_its_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_process: bool) -> None:
    names = make_folders(tmp_path, 40, files=8)  # of 10 entries each
    if in_process:
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    with surveyor(tmp_path, entries_per_second=500.0) as made:
        began = time.monotonic()
        made.measure(names)
        found = all_of(made)
        seconds = time.monotonic() - began
        assert sum(measured.size.entries for measured in found if measured.size) == 400
        assert seconds >= 400 / 500 - 0.2


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("executable", "/gone"), ("executable", "/bin/false"), ("executable", ""), ("frozen", True)],
)
def test_where_there_is_no_interpreter_it_measures_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attribute: str, value: object
) -> None:
    names = make_folders(tmp_path, 5)
    monkeypatch.setattr(sys, attribute, value, raising=False)
    with surveyor(tmp_path) as made:
        made.measure(names)
        assert sizes(all_of(made)) == expected(tmp_path, names)
        assert processes() == []


@pytest.mark.parametrize("limit", [1, 2])
def test_where_no_process_may_be_started_nobody_waits_for_ever(tmp_path: Path, limit: int) -> None:
    """With room for one more a thread can be started, but no process."""
    needs.root()
    names = make_folders(tmp_path, 5)
    tmp_path.chmod(0o755)
    root_fd = os.open(tmp_path, os.O_RDONLY)

    def measured_alone() -> list[Measured]:
        os.setgroups([])
        os.setresgid(LONELY_USER, LONELY_USER, LONELY_USER)
        os.setresuid(LONELY_USER, LONELY_USER, LONELY_USER)
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
        made = Surveyor(root_fd)
        made.measure(names)
        found = all_of(made)
        made.close()
        return found

    found = in_child(measured_alone)
    os.close(root_fd)
    assert [measured.name for measured in found] == names
    assert all((measured.size is None) == (limit == 1) for measured in found)


def test_memory_is_small_whatever_a_directory_holds(tmpfs: Any) -> None:
    root = tmpfs(1 << 30)
    fill(root / "folder", files=300_000)
    with surveyor(root) as made:
        made.measure(["folder"])
        assert eventually(processes)
        (pid,) = processes()
        (found,) = all_of(made)
        peak_kilobytes = int(status(pid, "VmHWM").split()[0])
    assert found.size is not None
    assert found.size.entries == 300_001
    assert peak_kilobytes < 14 * 1024

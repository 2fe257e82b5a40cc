"""Locks that tools keep themselves, held by real processes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import needs
from cache.eviction.test_eviction import evict, kept_for, leftovers
from cache.helpers import make_folder, opened
from cache.users import FLOCK, LOCKS, let_go, process
from fakes import FakeClock
from gcsidecar.cache.spec import LeaseSpec, Seconds
from gcsidecar.cache.use.locks import ToolLocks
from gcsidecar.sidecar.config.patterns import lock_fault

if TYPE_CHECKING:
    from collections.abc import Callable

HUB = LeaseSpec(locks=(".locks/{folder}/*.lock",))
BAZEL = LeaseSpec(locks=("{folder}/lock",))
GRACE = float(HUB.lock_grace)
DAY = 24 * 3600.0
LONG_AGO = time.time() - DAY


def make_lock(path: Path, name: str, *, at: float = LONG_AGO) -> Path:
    """A lock file, in a directory of its own, that nobody has touched for a while."""
    lock = path / name
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    for entry in (lock, lock.parent):
        os.utime(entry, (at, at))
    return lock


@pytest.mark.parametrize("kind", LOCKS)
@pytest.mark.parametrize(("lease", "name"), [(HUB, ".locks/a/1.lock"), (BAZEL, "a/lock")], ids=["beside", "inside"])
def test_a_folder_stays_while_a_tool_has_its_lock_whatever_the_kind(
    tmp_path: Path, kind: str, lease: LeaseSpec, name: str
) -> None:
    """A root's `lease.locks` names lock files that tools keep, such as `.locks/{folder}/*.lock` of a Hugging Face hub,
    or `{folder}/lock` of a Bazel output base.

    Such a file holds its folder while a process has it locked, by `flock` or by `fcntl`, and not by being there.
    """
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a")
    lock = make_lock(tmp_path, name)
    with opened(tmp_path, clock=clock, lease=lease) as root:
        with process(LOCKS[kind], lock):
            for _ in range(3):
                assert kept_for(root, "a") == "locked"
                clock.advance(2 * GRACE)
        assert lock.exists()
        evict(root, "a")
    assert not (tmp_path / "a").exists()


def test_a_lock_file_that_nobody_has_locked_holds_nothing_and_stays_where_it_is(tmp_path: Path) -> None:
    """What lies beside the folders for locks is left alone, and a glob `folders` that matches it is refused."""
    assert lock_fault(HUB.locks[0], "*") is None
    assert lock_fault(HUB.locks[0], ".*") is not None
    make_folder(tmp_path, "a")
    lock = make_lock(tmp_path, ".locks/a/1.lock")
    with opened(tmp_path, lease=HUB) as root:
        assert {folder.name for folder in root.census.folders()} == {"a"}, "where locks lie is never a folder"
        evict(root, "a")
    assert lock.exists()


def test_the_lock_of_one_folder_holds_no_other(tmp_path: Path) -> None:
    for name in ("a", "b", "a[b]", "ab"):
        make_folder(tmp_path, name)
        make_lock(tmp_path, f".locks/{name}/1.lock")
    with opened(tmp_path, lease=HUB) as root, process(FLOCK, tmp_path / ".locks/a[b]/1.lock"):
        assert kept_for(root, "a[b]") == "locked"
        for name in ("a", "b", "ab"):
            evict(root, name)


def test_the_locks_of_folders_two_levels_down_lie_two_levels_down(tmp_path: Path) -> None:
    make_folder(tmp_path, "x/a")
    make_folder(tmp_path, "x/b")
    lock = make_lock(tmp_path, ".locks/x/a/1.lock")
    with opened(tmp_path, folders="*/*", lease=HUB) as root, process(FLOCK, lock):
        assert kept_for(root, "x/a") == "locked"
        evict(root, "x/b")


def can_lock(path: Path, call: str) -> bool:
    """Whether another process gets a lock at once."""
    code = f"import fcntl, sys; fcntl.{call}(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    return subprocess.run([sys.executable, "-c", code, str(path)], stderr=-3, check=False).returncode == 0


@pytest.mark.parametrize("call", ["flock", "lockf"])
def test_who_holds_a_lock_holds_it_still_after_it_was_asked_for(tmp_path: Path, call: str) -> None:
    """Whoever has such a lock keeps it when the sidecar asks for it, and whoever waits for it gets it."""
    make_folder(tmp_path, "a")
    lock = make_lock(tmp_path, ".locks/a/1.lock")
    with opened(tmp_path, lease=HUB) as root:
        with process(f"fcntl.{call}(open(path, 'a'), fcntl.LOCK_EX)", lock):
            for _ in range(20):
                assert kept_for(root, "a") == "locked"
            assert not can_lock(lock, call)
        assert can_lock(lock, call)


@pytest.mark.parametrize("call", ["flock", "lockf"])
def test_who_waits_for_a_lock_gets_it_however_often_it_is_asked_for(tmp_path: Path, call: str) -> None:
    make_folder(tmp_path, "a")
    lock = make_lock(tmp_path, ".locks/a/1.lock")
    take = f"fcntl.{call}(open(path, 'a'), fcntl.LOCK_EX)"
    code = f"import fcntl, sys; print(flush=True); fcntl.{call}(open(sys.argv[1], 'a'), fcntl.LOCK_EX)"
    with opened(tmp_path, lease=HUB) as root, process(take, lock) as first:
        waiting = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=-1)
        assert waiting.stdout is not None
        waiting.stdout.readline()
        for _ in range(20):
            assert kept_for(root, "a") == "locked"
        assert waiting.poll() is None
        let_go(first)
        waiting.communicate(timeout=20)
        assert waiting.returncode == 0


def test_asking_for_a_free_lock_leaves_it_free_and_changes_nothing_on_disk(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    lock = make_lock(tmp_path, ".locks/a/1.lock")
    before = [path.stat().st_mtime_ns for path in (lock, lock.parent, folder)]
    locks = ToolLocks(HUB.locks, GRACE, FakeClock(time.time()))
    root_fd, folder_fd = os.open(tmp_path, os.O_RDONLY), os.open(folder, os.O_RDONLY)
    assert not any(locks.hold(root_fd, folder_fd, "a") for _ in range(20))
    with lock.open() as own:
        fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert locks.hold(root_fd, folder_fd, "a"), "one of this process's own is seen, too"
    assert can_lock(lock, "flock")
    assert can_lock(lock, "lockf")
    assert [path.stat().st_mtime_ns for path in (lock, lock.parent, folder)] == before
    os.close(root_fd)
    os.close(folder_fd)


def test_a_download_of_several_files_keeps_its_folder_while_it_lets_go_between_them(tmp_path: Path) -> None:
    """It counts for `lease.lock_grace` more, 2 minutes unless set, after it was last seen held: tools let go between
    two files.
    """
    assert GRACE == 120.0
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a")
    lock = make_lock(tmp_path, ".locks/a/1.lock")
    with opened(tmp_path, clock=clock, lease=HUB) as root:
        with process(FLOCK, lock):
            assert kept_for(root, "a") == "locked"
        clock.advance(0.9 * GRACE)
        assert kept_for(root, "a") == "locked", "nothing is locked now"
        clock.advance(0.2 * GRACE)
        evict(root, "a")


def test_within_the_grace_a_plan_does_not_try_it_and_knows_when_it_ends(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a")
    lock = make_lock(tmp_path, ".locks/a/1.lock")
    with opened(tmp_path, clock=clock, lease=HUB) as root:
        folder = root.census.get("a")
        assert folder is not None
        with process(FLOCK, lock):
            assert folder.candidate(clock.now).keep is None, "a lock is tried only at the decision"
            assert kept_for(root, "a") == "locked"
        clock.advance(0.5 * GRACE)
        told = folder.candidate(clock.now)
        assert told.keep == "locked"
        assert told.keep_until == pytest.approx(clock.now + 0.5 * GRACE)
        clock.advance(0.6 * GRACE)
        assert folder.candidate(clock.now).keep is None


def test_a_jump_of_the_calendar_ends_no_grace(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a")
    lock = make_lock(tmp_path, ".locks/a/1.lock")
    with opened(tmp_path, clock=clock, lease=HUB) as root:
        with process(FLOCK, lock):
            assert kept_for(root, "a") == "locked"
        clock.now += DAY
        assert kept_for(root, "a") == "locked"
        clock.advance(1.1 * GRACE)
        evict(root, "a")


def test_with_a_grace_of_0_a_lock_counts_while_it_is_held_and_no_longer(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    lock = make_lock(tmp_path, ".locks/a/1.lock", at=time.time())
    with opened(tmp_path, lease=LeaseSpec(locks=HUB.locks, lock_grace=Seconds(0))) as root:
        with process(FLOCK, lock):
            assert kept_for(root, "a") == "locked"
        evict(root, "a")


def touched(lock: Path) -> None:
    """As filelock did up to 3.20: the file is cut off when the lock is taken, and stays."""
    with lock.open("w"):
        pass


def deleted(lock: Path) -> None:
    """As filelock did from 3.24 to 4.0: the file goes when the lock is let go."""
    lock.unlink()


@pytest.mark.parametrize("leave_a_trace", [touched, deleted])
def test_a_lock_never_seen_held_counts_by_the_trace_that_its_tool_left(
    tmp_path: Path, leave_a_trace: Callable[[Path], None]
) -> None:
    """When one was held that the sidecar has not seen, the time of its file tells, or that of a directory that is there
    for this folder's locks alone; so it is after a restart.
    """
    make_folder(tmp_path, "a")
    leave_a_trace(make_lock(tmp_path, ".locks/a/1.lock"))
    clock = FakeClock(time.time())
    for _ in range(2):
        with opened(tmp_path, clock=clock, lease=HUB) as root:
            assert kept_for(root, "a") == "locked"
        clock.advance(0.4 * GRACE)
    clock.advance(0.3 * GRACE)
    with opened(tmp_path, clock=clock, lease=HUB) as root:
        evict(root, "a")


def test_what_else_happens_in_a_folder_is_no_trace_of_a_lock(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    make_lock(tmp_path, "a/lock")
    (folder / "new").touch()
    with opened(tmp_path, lease=BAZEL) as root:
        evict(root, "a")


def test_what_happens_to_the_lock_of_one_folder_is_no_trace_for_another(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    make_lock(tmp_path, ".locks/a.lock")
    make_lock(tmp_path, ".locks/b.lock").parent.touch()
    with opened(tmp_path, lease=LeaseSpec(locks=(".locks/{folder}.lock",))) as root:
        evict(root, "a")


def test_what_was_seen_counts_before_an_older_trace(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a")
    lock = make_lock(tmp_path, ".locks/a/1.lock", at=clock.now)
    with opened(tmp_path, clock=clock, lease=HUB) as root:
        with process(FLOCK, lock):
            clock.advance(0.5 * GRACE)
            assert kept_for(root, "a") == "locked"
        clock.advance(0.4 * GRACE)
        assert kept_for(root, "a") == "locked"
        clock.advance(0.4 * GRACE)
        assert kept_for(root, "a") == "locked"


def test_a_shared_lock_is_seen_if_it_is_one_by_fcntl_only(tmp_path: Path) -> None:
    """A shared `flock` is not seen."""
    make_folder(tmp_path, "a")
    lock = make_lock(tmp_path, "a/lock")
    with opened(tmp_path, lease=BAZEL) as root, process(LOCKS["posix, shared"], lock):
        assert kept_for(root, "a") == "locked"
    with opened(tmp_path, lease=BAZEL) as root, process("fcntl.flock(open(path), fcntl.LOCK_SH)", lock):
        evict(root, "a")


@pytest.mark.usefixtures("root_rights")
@pytest.mark.parametrize("kind", ["flock", "posix"])
def test_a_lock_taken_by_another_way_to_the_files_is_not_seen(tmp_path: Path, kind: str) -> None:
    """A lock that was taken on another host, or by another way to the files (below a FUSE mount), is seen only where
    the filesystem tells of it.
    """
    make_folder(tmp_path, "cache/a")
    make_lock(tmp_path, "cache/a/lock")
    (tmp_path / "there").mkdir()
    subprocess.run([needs.program("bindfs"), tmp_path / "cache", tmp_path / "there"], check=True)
    try:
        with process(LOCKS[kind], tmp_path / "there/a/lock"):
            with opened(tmp_path / "there", lease=BAZEL) as root:
                assert kept_for(root, "a") == "locked"
            with opened(tmp_path / "cache", lease=BAZEL) as root:
                evict(root, "a")
    finally:
        subprocess.run(["umount", "--lazy", tmp_path / "there"], check=True)


def test_a_reader_holds_no_lock(tmp_path: Path) -> None:
    """Such a lock shows that a tool is at work on the folder, and hardly ever that somebody reads it: a reader needs a
    lease.
    """
    folder = make_folder(tmp_path, "a")
    with opened(tmp_path, lease=HUB) as root, process("open(path)", folder / "data"):
        evict(root, "a")


@pytest.mark.parametrize(("lease", "name"), [(HUB, ".locks/a/1.lock"), (BAZEL, "a/lock")], ids=["beside", "inside"])
def test_a_lock_taken_between_the_two_looks_brings_the_folder_back(tmp_path: Path, lease: LeaseSpec, name: str) -> None:
    make_folder(tmp_path, "a")
    lock = make_lock(tmp_path, name)
    with lock.open() as file:

        def take(step: str) -> None:
            if step == "moved out":
                fcntl.flock(file, fcntl.LOCK_EX)

        with opened(tmp_path, lease=lease, step=take) as root:
            assert kept_for(root, "a") == "locked"
            assert (tmp_path / "a/data").exists()
            assert leftovers(tmp_path) == []


def test_a_parked_folder_waits_for_a_lock_and_for_its_grace(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    parked = make_folder(tmp_path, ".gcsidecar/evicting/dead-1/a")
    lock = make_lock(parked, "lock")
    make_folder(tmp_path, "a", size=1)
    with process(FLOCK, lock) as tool, opened(tmp_path, clock=clock, lease=BAZEL) as root:
        assert root.custody.parked == {"a"}
        let_go(tool)
        clock.advance(0.9 * GRACE)
        root.custody.recover()
        assert root.custody.parked == {"a"}
        clock.advance(0.2 * GRACE)
        root.custody.recover()
        assert root.custody.parked == frozenset()
    assert leftovers(tmp_path) == []


def test_a_lock_that_may_not_be_read_holds_the_folder(
    tmp_path: Path, as_nobody: Callable[[Callable[[], Any]], Any]
) -> None:
    """A lock file that can't be opened, or is none, holds the folder, and so does a link on the way to it."""
    make_folder(tmp_path, "a")
    make_lock(tmp_path, "a/lock").chmod(0o600)
    tmp_path.chmod(0o777)
    (tmp_path / "a").chmod(0o777)
    fd = os.open(tmp_path, os.O_RDONLY)

    def ask() -> str:
        os.fchdir(fd)
        with opened(Path("."), lease=BAZEL) as root:
            return kept_for(root, "a")

    assert as_nobody(ask) == "unreadable"


@pytest.mark.parametrize("kind", ["symlink", "fifo", "socket"])
def test_what_has_a_locks_name_and_is_no_file_holds_the_folder(tmp_path: Path, kind: str) -> None:
    make_folder(tmp_path, "a")
    path = tmp_path / "a/lock"
    if kind == "symlink":
        path.symlink_to("data")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.mknod(path, 0o140600)
    with opened(tmp_path, lease=BAZEL) as root:
        assert kept_for(root, "a") == "unreadable"


@pytest.mark.parametrize("link", [".locks", ".locks/a"])
def test_a_link_on_the_way_to_the_locks_holds_the_folder(tmp_path: Path, link: str) -> None:
    make_folder(tmp_path, "a")
    (tmp_path / "elsewhere/a").mkdir(parents=True)
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "elsewhere")
    with opened(tmp_path, lease=HUB) as root:
        assert kept_for(root, "a") == "unreadable"


def test_what_is_remembered_of_locks_is_forgotten_with_their_grace(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    locks = ToolLocks(HUB.locks, GRACE, clock)
    root_fd = os.open(tmp_path, os.O_RDONLY)
    for number in range(50):
        make_lock(tmp_path, f".locks/{number}/1.lock", at=clock.now)
        assert locks.hold(root_fd, root_fd, str(number))
        clock.advance(GRACE / 10)
    os.close(root_fd)
    assert sum(locks.seconds_left(str(number)) > 0 for number in range(50)) == 9
    assert len(locks._held_at) == 10

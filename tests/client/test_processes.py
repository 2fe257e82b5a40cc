"""Leases and processes: forked ones, killed ones, and those that end without a word."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import gcsidecar
from children import in_child
from client.helpers import is_locked, leases, program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LEASE = "import os, sys, time, signal, gcsidecar; folder = gcsidecar.lease(sys.argv[1]);"


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


def is_held(folder: Path) -> bool:
    """Whether there is a lease, and the kernel says that it holds."""
    return is_locked(folder) and all(is_locked(file) for file in leases(folder)) and leases(folder) != []


def test_the_end_of_the_block_in_a_forked_child_releases_nothing(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a") as folder:

        def leave_the_block() -> bool:
            with folder:
                pass
            folder.release()
            folder.let_go()
            return is_held(tmp_path / "a")

        assert in_child(leave_the_block)
        assert is_held(tmp_path / "a")
    assert leases(tmp_path / "a") == []


def test_a_forked_child_leaves_the_block_by_itself_without_a_word(tmp_path: Path) -> None:
    block = "    child = os.fork()\n    if child: print(os.waitpid(child, 0)[1], os.listdir(folder))"
    code = f"{LEASE}\nwith folder:\n{block}"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("0 ['.lease.")
    assert done.stderr == ""
    assert leases(tmp_path / "a") == []


def release_and_lease(folder: gcsidecar.Lease) -> None:
    folder.release()
    with gcsidecar.lease(folder.path) as another:
        assert len(os.listdir(another)) == 2


def test_a_worker_of_multiprocessing_has_leases_of_its_own(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a") as folder:
        worker = multiprocessing.get_context("fork").Process(target=release_and_lease, args=(folder,))
        worker.start()
        worker.join()
        assert worker.exitcode == 0
        assert is_held(tmp_path / "a")
        assert len(leases(tmp_path / "a")) == 1


def test_a_forked_child_that_lives_on_does_not_prolong_a_lease_that_was_released(tmp_path: Path) -> None:
    code = f"{LEASE}\nif os.fork() == 0: time.sleep(60)\nfolder.release(); print(flush=True); sys.stdin.read()"
    with program(code, tmp_path / "a"):
        assert leases(tmp_path / "a") == []
        assert not is_locked(tmp_path / "a")


def test_a_lease_ends_when_its_process_is_killed_and_not_before(tmp_path: Path) -> None:
    with program(f"{LEASE} print(flush=True); sys.stdin.read()", tmp_path / "a") as process:
        assert is_held(tmp_path / "a")
        process.kill()
        process.wait()
        assert not is_locked(tmp_path / "a")
        (file,) = leases(tmp_path / "a")
        assert not is_locked(file)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)", "sys.exit()"])
def test_it_lives_as_long_as_a_child_that_was_forked_from_it(tmp_path: Path, end: str) -> None:
    """A program may put itself into the background after it has taken its lease."""
    code = f"{LEASE}\nif os.fork() == 0: print(os.getpid(), flush=True); time.sleep(60)\nelse: {end}"
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "a"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.wait()
        try:
            assert is_held(tmp_path / "a")
        finally:
            os.kill(child, signal.SIGKILL)
    eventually(lambda: not is_locked(tmp_path / "a"))


@pytest.mark.parametrize("ttl", [None, 60])
def test_a_process_that_ends_takes_its_leases_with_it(tmp_path: Path, ttl: float | None) -> None:
    code = "import sys, gcsidecar; gcsidecar.lease(sys.argv[1], ttl=eval(sys.argv[2])); sys.exit(3)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "a", str(ttl)], check=False).returncode == 3
    assert list((tmp_path / "a").iterdir()) == []


def test_a_program_that_inherits_a_lease_holds_it(tmp_path: Path) -> None:
    folder = gcsidecar.lease(tmp_path / "a")
    folder.set_inheritable(True)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as command:
        folder.let_go()
        assert is_held(tmp_path / "a")
        command.communicate()
    assert not is_locked(tmp_path / "a")


def test_a_program_does_not_inherit_a_lease_unless_told_to(tmp_path: Path) -> None:
    folder = gcsidecar.lease(tmp_path / "a")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as command:
        folder.let_go()
        assert leases(tmp_path / "a") == []
        assert not is_locked(tmp_path / "a")
        command.communicate()


def test_descriptors_that_somebody_closed_are_not_mistaken_for_ours(tmp_path: Path) -> None:
    def close_all_and_release() -> bool:
        folder = gcsidecar.lease(tmp_path / "a")
        numbers = {folder.folder_fd, folder.lease_fd}
        os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        while not numbers <= {os.open(tmp_path, os.O_RDONLY) for _ in range(20)}:
            pass
        folder.release()
        return all(os.path.samestat(os.fstat(number), os.stat(tmp_path)) for number in numbers)

    # Not in a forked child of ours: its answer goes by a descriptor, too.
    child = os.fork()
    if child == 0:
        os._exit(0 if close_all_and_release() else 1)
    assert os.waitpid(child, 0)[1] == 0
    (file,) = leases(tmp_path / "a")
    assert not is_locked(file)

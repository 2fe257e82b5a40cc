"""`gcsidecar.lease`: what docs/leases.md says of it; how it does that is tried in tests/client."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

import gcsidecar
from e2e.harness import eventually
from gcsidecar.contract import CONTRACT_VERSION
from shell.holders import IN_PYTHON, kept, lease_files, running
from shell.page import code_blocks

if TYPE_CHECKING:
    from pathlib import Path

STEPS = ("open", "locked", "move out", "moved out", "looked again", "mark", "condemn", "delete", "deleted")


def test_a_miss_is_told_from_a_hit(cache: Path) -> None:
    """`folder.created` tells a miss from a hit: it is true for whom the folder was made."""
    with gcsidecar.lease(cache / "f") as first, gcsidecar.lease(cache / "f") as second:
        assert (first.created, second.created) == (True, False)


def test_nothing_is_made_where_that_is_not_wanted(cache: Path) -> None:
    """With `create=False` a folder that is not there is a `FolderMissingError`, and none is made."""
    with pytest.raises(gcsidecar.FolderMissingError):
        gcsidecar.lease(cache / "f", create=False)
    assert list(cache.iterdir()) == []


def test_it_waits_so_long_and_no_longer(folder: Path) -> None:
    """Where the folder is just being taken away, or somebody has it locked, it tries for `timeout` seconds at most, 30
    unless given, and then raises a `LeaseTimeoutError`.
    """
    with running("flock", "-x", folder, "sh", "-c", "echo held; exec cat"):
        began = time.monotonic()
        with pytest.raises(gcsidecar.LeaseTimeoutError):
            gcsidecar.lease(folder, timeout=0.2)
        assert 0.2 <= time.monotonic() - began < 5
    assert inspect.signature(gcsidecar.lease).parameters["timeout"].default == 30


def test_its_errors_are_its_own(folder: Path, cache: Path) -> None:
    """Whatever goes wrong is a `LeaseError`, and so a `GcsidecarError`, with a text that says what to do."""
    (cache / "link").symlink_to(folder)
    for path in (folder / "data", folder / "data" / "f", cache / "link", ""):
        with pytest.raises(gcsidecar.LeaseError, match=r"[;:] .{4}") as error:
            gcsidecar.lease(path)
        assert isinstance(error.value, gcsidecar.GcsidecarError)


@pytest.mark.parametrize(("folders", "path"), [("*", ""), ("*", "f/sub"), ("*/*", "f"), ("*", ".gcsidecar")])
def test_a_lease_that_would_protect_nothing_is_refused(folder: Path, folders: str, path: str) -> None:
    """A root, and what lies above or below the folders of one, is refused (`LeaseRefusedError`), since a lease on it
    would protect nothing.
    """
    (folder / "sub").mkdir()
    tell(folder.parent, f'"contract": {CONTRACT_VERSION}, "folders": "{folders}", "lease_files": []')
    with pytest.raises(gcsidecar.LeaseRefusedError):
        gcsidecar.lease(folder.parent / path)


def test_another_version_is_refused(folder: Path) -> None:
    """Our client refuses a root whose sidecar speaks another version."""
    tell(folder.parent, f'"contract": {CONTRACT_VERSION + 1}, "folders": "*", "lease_files": []')
    with pytest.raises(gcsidecar.LeaseRefusedError, match="version"):
        gcsidecar.lease(folder)


def tell(root: Path, content: str) -> None:
    (root / ".gcsidecar").mkdir()
    (root / ".gcsidecar/lock").write_text(f"{{{content}}}")


@pytest.mark.parametrize("step", STEPS)
def test_it_has_the_folder_that_its_path_names(folder: Path, step: str) -> None:
    """It has the folder, or none: when `lease` returns, the path names the folder that is held, whatever happened
    meanwhile.
    """
    taken: list[subprocess.Popen[str]] = []

    def come(now: str) -> None:
        if now == step:
            taken.append(
                subprocess.Popen(
                    [sys.executable, "-c", IN_PYTHON, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            if step == "open":
                assert said(taken[0]) == "held\n"

    reason = kept(folder.parent, folder.name, step=come)
    assert said(taken[0]) == "held\n" if step != "open" else reason == "leased"
    held = folder.stat()
    (fd,) = (fd for fd in os.scandir(f"/proc/{taken[0].pid}/fd") if os.readlink(fd.path) == str(folder))
    opened = os.stat(fd.path)
    assert (opened.st_dev, opened.st_ino, opened.st_nlink) == (held.st_dev, held.st_ino, held.st_nlink)
    taken[0].communicate("")
    assert taken[0].returncode == 0


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_the_kernel_ends_it_with_its_process(folder: Path) -> None:
    """Where locks are real, the kernel ends a lease with its process, however that ends; the sidecar removes the file
    that is left.
    """
    with running(sys.executable, "-c", IN_PYTHON, folder) as process:
        assert kept(folder.parent, folder.name) == "leased"
        process.kill()
        process.wait()
        assert len(lease_files(folder)) == 1
        removed: list[object] = []
        assert kept(folder.parent, folder.name, reaped=removed.append) is None
        assert len(removed) == 1


def test_threads_may_have_several(folder: Path) -> None:
    """Each lease is one of its own, so threads may have several on one folder."""
    barrier = threading.Barrier(4)

    def hold() -> None:
        with gcsidecar.lease(folder):
            barrier.wait()
            barrier.wait()

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    barrier.wait()
    assert len(lease_files(folder)) == 3
    barrier.wait()
    for thread in threads:
        thread.join()
    assert lease_files(folder) == []


FORKED = """
import gcsidecar, os, sys, time
lease = gcsidecar.lease(sys.argv[1])
child = os.fork()
if child == 0:
    with lease:
        os.close(1)
        time.sleep(60 if sys.argv[2] == "child stays" else 0)
    os._exit(0)
if sys.argv[2] == "child ends":
    os.waitpid(child, 0)
if sys.argv[2] == "child stays":
    print(child, flush=True)
if sys.argv[2] == "release":
    lease.release()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_forked_child_ends_nothing(folder: Path) -> None:
    """Only the process that took a lease ends it: in a forked child the end of the block ends nothing."""
    with running(sys.executable, "-c", FORKED, folder, "child ends"):
        assert len(lease_files(folder)) == 1
        assert kept(folder.parent, folder.name) == "leased"


def test_a_forked_child_keeps_it_alive_until_it_is_released(folder: Path) -> None:
    """A forked child keeps the lease alive when its parent is killed.

    `release()` ends it, for the children, too.
    """
    command = [sys.executable, "-c", FORKED, str(folder), "child stays"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        child = int(said(process))
        process.kill()
        process.wait()
        try:
            assert kept(folder.parent, folder.name) == "leased"
        finally:
            os.kill(child, signal.SIGKILL)
    eventually(lambda: kept(folder.parent, folder.name) is None, "it ends with the child")

    folder.mkdir()
    with running(sys.executable, "-c", FORKED.replace('"child stays" else 0', '"release" else 0'), folder, "release"):
        assert kept(folder.parent, folder.name) is None


def test_the_lines_in_python_do_what_they_say(cache: Path) -> None:
    (block,) = code_blocks("python")
    seen: list[tuple[str, str, list[str]]] = []

    def note(what: str, path: str) -> None:
        seen.append((what, path, lease_files(cache / "jobs/my-project")))

    names = {"fetch_into": lambda path: note("fetch", path), "build": lambda path: note("build", path)}
    for _ in range(2):
        exec(block.replace("/cache", str(cache)), dict(names))
    path = str(cache / "jobs/my-project")
    assert [(what, where) for what, where, _ in seen] == [("fetch", path), ("build", path), ("build", path)]
    assert all(len(files) == 1 for *_, files in seen)
    assert lease_files(cache / "jobs/my-project") == []

"""Clients that have nothing of ours: files made by hand, and locks that `flock` takes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder, opened, reconcile
from e2e.harness import eventually
from fakes import FakeClock
from gcsidecar.cache.spec import LeaseSpec, Seconds
from gcsidecar.gc.errors import DisposableInUseError
from shell.holders import BY_HAND, WAITING, kept, running, shell
from shell.page import code_blocks

if TYPE_CHECKING:
    from pathlib import Path

    from gcsidecar.cache.root import Root


@pytest.mark.parametrize("name", ["f/.lease", "f/.lease.x", "f/.lease.", "f/job.lease", "f.lease"])
@pytest.mark.parametrize("kind", ["touch", "mkdir", "mkfifo", "ln -s nowhere"])
def test_whatever_has_the_name_is_a_lease(folder: Path, name: str, kind: str) -> None:
    """Leases are, whatever kind of thing has the name: `F/.lease`, `F/.lease.*`, `F/*.lease`, and beside the folder
    `F.lease`.
    """
    shell(f"{kind} {folder.parent / name}")
    assert kept(folder.parent, folder.name) == "leased"


def test_other_names_can_be_leases_but_those_of_clients_always_are(folder: Path) -> None:
    """A root's `lease.files` can name others instead, but `F/.lease.*` is a lease in each root."""
    other = LeaseSpec(files=("{folder}/in-use",))
    (folder / "in-use").touch()
    assert kept(folder.parent, folder.name, lease=other) == "leased"
    (folder / "in-use").rename(folder / ".lease.x")
    assert kept(folder.parent, folder.name, lease=other) == "leased"
    (folder / ".lease.x").rename(folder / "job.lease")
    assert kept(folder.parent, folder.name, lease=other) is None


def test_there_is_no_lease_on_what_is_not_there(cache: Path) -> None:
    """Where the folder is not there, `mktemp` fails."""
    assert shell(BY_HAND, cache / "f").returncode == 75
    assert list(cache.iterdir()) == []


def test_a_lease_that_was_not_confirmed_does_not_stay_when_the_folder_comes_back(folder: Path) -> None:
    """One that could not be confirmed is removed a moment later, since the folder may have come back with it."""
    clients: list[subprocess.Popen[bytes]] = []

    def come(step: str) -> None:
        if step == "moved out":  # `mktemp` had found the folder a moment before
            (moved,) = (folder.parent / ".gcsidecar/evicting").glob("*/f%-*")
            (moved / ".lease.x").touch()
            script = f"L={folder}/.lease.x\n" + BY_HAND.partition("exit 75\n")[2]
            clients.append(subprocess.Popen(["sh", "-c", script]))
            eventually(lambda: shell(f"pgrep -P {clients[0].pid} sleep").stdout, "it has met a miss")

    assert kept(folder.parent, folder.name, step=come) == "leased"
    assert clients[0].wait(timeout=20) == 75
    assert [path.name for path in folder.iterdir()] == ["data"]


def test_the_file_of_a_killed_holder_holds_on(folder: Path) -> None:
    """It holds for as long as the file exists, also when its holder was killed."""
    with running("sh", "-c", BY_HAND, "sh", folder) as holder:
        holder.kill()
        holder.wait()
        assert kept(folder.parent, folder.name) == "leased"
    for file in folder.glob(".lease.*"):
        file.unlink()
    assert kept(folder.parent, folder.name) is None


def evicted(root: Root) -> bool:
    reconcile(root)
    folder = root.census.get("f")
    assert folder is not None
    try:
        folder.dispose()
    except DisposableInUseError:
        return False
    return True


def test_a_heartbeat_keeps_a_lease_alive_where_the_root_asks_for_one(folder: Path) -> None:
    """Where the root has a `lease.ttl`, and `on_stale: expire`, it ends once it was not touched for so long.

    To touch it is `touch -c "$L"`, which makes no new file where the lease has ended.
    """
    file, clock = folder / ".lease.x", FakeClock()
    file.touch()
    with opened(folder.parent, clock=clock, lease=LeaseSpec(ttl=Seconds(60), on_stale="expire")) as root:
        for _ in range(3):
            shell(f'touch -c --date=@{clock.now} "$1"', file)
            assert not evicted(root)
            clock.advance(50)
        assert not evicted(root)
        clock.advance(50)
        reconcile(root)
        assert not file.exists()
        shell('touch -c "$1"', file)
        assert evicted(root)


@pytest.mark.parametrize("kind", ["-s", "-x"])
def test_a_lock_on_the_folder_holds_it(folder: Path, kind: str) -> None:
    """Whoever has a lock (`flock`) on the folder itself holds the folder, where locks are real (see Filesystems)."""
    with running("flock", kind, folder, *WAITING):
        assert kept(folder.parent, folder.name) == "leased"
    assert kept(folder.parent, folder.name) is None


def test_the_kernel_ends_a_lock_with_the_last_that_has_it(folder: Path) -> None:
    """The kernel ends it with the last process that has it, after `kill -9`, too."""
    with running("flock", "-s", folder, *WAITING) as flock:
        children = shell(f"cat /proc/{flock.pid}/task/*/children").stdout.split()
        assert len(children) == 1
        flock.kill()
        flock.wait()
        assert kept(folder.parent, folder.name) == "leased"
        os.kill(int(children[0]), signal.SIGKILL)
        eventually(lambda: kept(folder.parent, folder.name) is None, "the lock is free")


LOCKED = 'exec 9<"$0" && flock -s 9 && test "$0" -ef /proc/self/fd/9 || exit 75; echo there'


@pytest.mark.parametrize("comes_back", [False, True])
@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["sh", "-c", LOCKED], [""]),
        (["flock", "-s", "{}", "sh", "-c", 'test -e "$0" && echo there || echo gone'], ["gone\n", "there\n"]),
    ],
)
def test_a_lock_that_was_waited_for_may_be_on_what_is_gone(
    folder: Path, command: list[str], says: list[str], *, comes_back: bool
) -> None:
    """It waits for a folder that is just being taken away, and then goes on though that is gone, or another one has its
    name: hence the look whether the path still leads to what is locked.

    `flock -s FOLDER COMMAND` takes the same lock, and doesn't look: the command has to.
    """
    waiting: list[subprocess.Popen[str]] = []

    def come(step: str) -> None:
        if step == "locked":
            words = [word.format(folder) for word in command]
            waiting.append(subprocess.Popen([*words, str(folder)], stdout=subprocess.PIPE, text=True))
            asks = f"grep -c ' -> .*:{folder.stat().st_ino} ' /proc/locks"
            eventually(lambda: shell(asks).stdout != "0\n", "it waits")
        if step == "moved out" and comes_back:
            make_folder(folder.parent, "f")

    assert kept(folder.parent, folder.name, step=come) is None
    assert waiting[0].communicate(timeout=20)[0] == says[-1 if comes_back else 0]


def test_flock_makes_a_file_of_what_is_not_there(cache: Path) -> None:
    """Where nothing has the name, it makes an empty file."""
    assert shell('flock -s "$1" true', cache / "f").returncode == 0
    assert (cache / "f").is_file()
    assert (cache / "f").stat().st_size == 0


def test_a_lock_leaves_no_trace(folder: Path) -> None:
    """It leaves no trace in the folder, and counts as no use of it."""
    before = folder.stat()
    assert shell('flock -s "$1" true', folder).returncode == 0
    after = folder.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
    assert [path.name for path in folder.iterdir()] == ["data"]


def test_the_lines_for_a_shell_do_what_they_say(cache: Path) -> None:
    by_hand, by_lock = code_blocks("sh")[:2]
    script = re.sub("^F=.*", "F=$1", by_hand) + 'ls -A "$F"; test -e "$L"'
    done = shell(script, cache / "my-project")
    assert done.returncode == 0
    assert done.stdout.startswith(".lease.")
    assert list((cache / "my-project").iterdir()) == []  # the trap has ended it

    (cache / "my-project" / "Makefile").write_text("all:\n\t@echo made\n")
    done = shell(f"F=$1\n{by_lock}", cache / "my-project", env=os.environ | {"MAKEFLAGS": "--no-print-directory"})
    assert done.stdout == "made\n"

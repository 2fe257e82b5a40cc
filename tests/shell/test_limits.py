"""What no one can guarantee: each of these goes wrong here, so that nobody believes it can't."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import needs
from cache.helpers import make_folder, opened
from e2e.harness import Sidecar, eventually
from fakes import FakeClock
from gcsidecar.cache.spec import LEASE_PATTERNS
from gcsidecar.contract import CONTRACT_VERSION
from shell.holders import BY_HAND, HOLDERS, LEASE, kept, lease, lease_files, run, shell
from shell.test_alive import bind_fuse, root_rights

if TYPE_CHECKING:
    from collections.abc import Callable

    from cache.conftest import Mounts

__all__ = ["bind_fuse", "root_rights"]


@pytest.mark.parametrize("way", ["mount", "working directory"])
@pytest.mark.parametrize("step", ["looked again", "mark", "condemn"])
def test_who_does_not_come_by_name_is_not_seen(
    folder: Path, tmp_path: Path, mounts: Mounts, way: str, step: str
) -> None:
    """A client that comes by a mount of the folder itself, or has it as its working directory, can't see that it was
    taken away: what it does there is lost with it.
    """
    where = mounts.mount(tmp_path / "elsewhere", "--bind", str(folder)) if way == "mount" else folder
    working = os.open(where, os.O_RDONLY)
    found = []

    def come(now: str) -> None:
        if now == step:
            script = 'cd "$1" && L=$(mktemp .lease.XXXXXX) && echo important >result && test -e "$L"'
            found.append(shell(script, f"/proc/self/fd/{working}", pass_fds=[working]).returncode)

    try:
        assert kept(folder.parent, folder.name, step=come) is None
    finally:
        os.close(working)
    assert found == [0]  # it has its lease, it thinks
    assert not folder.exists()
    assert shell('grep -rs important "$1"', folder.parent).stdout == ""


@pytest.mark.parametrize("program", ["subprocess", "sudo"])
def test_what_closes_what_it_inherits_prolongs_nothing(folder: Path, tmp_path: Path, program: str) -> None:
    """A program that closes what it inherits, as sudo and Python's `subprocess` do, does not prolong a lease."""
    daemon = tmp_path / "daemon"
    daemon.write_text(f"trap '' HUP; echo $$ >{tmp_path}/pid; exec sleep 60 <&- >&- 2>&-")
    if program == "sudo":
        needs.root()
        command = [needs.program("sudo"), "sh", "-c", f"sh {daemon} &"]
    else:
        code = f"import subprocess; subprocess.Popen(['sh', {str(daemon)!r}])"
        command = [sys.executable, "-W", "ignore", "-c", code]
    assert lease("run", folder, "--", *command).returncode == 0
    left = int(eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "it runs"))
    try:
        assert lease_files(folder) == []
        assert kept(folder.parent, folder.name) is None
    finally:
        os.kill(left, signal.SIGKILL)


def test_views_of_other_hosts_lag(folder: Path, bind_fuse: Callable[[Path], Path]) -> None:
    """Hosts that share a network filesystem see each other's leases late: there the sidecar waits for `lease.settle`,
    90 s unless set, before it looks for the second time, and what comes later than that is not seen.
    """
    seen = bind_fuse(folder.parent)
    waits: list[float] = []
    late: list[Path] = []

    def come_late(step: str) -> None:
        if step == "looked again":
            (moved,) = (seen / ".gcsidecar/evicting").glob("*/f%-*")
            (moved / ".lease.late").touch()
            late.append(moved)

    assert kept(seen, "f", wait=waits.append, step=come_late) is None
    assert waits == [90]
    assert len(late) == 1
    assert not folder.exists()


def test_a_file_for_two_is_a_file_for_one(folder: Path) -> None:
    """Where two holders share one lease file, the first to remove it ends the lease of both."""
    first = shell('touch "$1"; echo "$1"', folder / ".lease").stdout.strip()
    second = shell('touch "$1"; echo "$1"', folder / ".lease").stdout.strip()
    assert kept(folder.parent, folder.name) == "leased"
    Path(first).unlink()
    assert not Path(second).exists()
    assert kept(folder.parent, folder.name) is None


@pytest.mark.parametrize("kind", ["by hand", "acquire", "python"])
def test_who_can_write_to_a_folder_can_end_its_leases(folder: Path, kind: str) -> None:
    """Whoever can write to a folder can remove the leases on it, and so end them."""
    with HOLDERS[kind](folder):
        shell('rm -f "$1"/.lease.*', folder)
        # The lock on the folder that our client has, too, nobody can take from it.
        assert kept(folder.parent, folder.name) == ("leased" if kind == "python" else None)


def test_a_bare_lease_in_a_folder_that_was_set_aside_ends_by_time(folder: Path) -> None:
    """A folder that has to be set aside, since its name was taken meanwhile, is kept while it has leases; but a bare
    one there ends after `lease.parked_ttl`, 24 hours unless set, since its holder can't reach it by its path.
    """
    (folder / "old").touch()
    clock = FakeClock(folder.stat().st_mtime)

    def come(step: str) -> None:
        if step == "moved out":
            (moved,) = (folder.parent / ".gcsidecar/evicting").glob("*/f%-*")
            (moved / ".lease.x").touch()
            make_folder(folder.parent, "f")

    with opened(folder.parent, clock=clock, step=come) as root:
        found = root.census.get("f")
        assert found is not None
        with pytest.raises(Exception, match="leased"):
            found.dispose()
        root.custody.recover()
        assert root.custody.parked == {"f"}
        clock.advance(23 * 3600)
        root.custody.recover()
        assert root.custody.parked == {"f"}
        clock.advance(2 * 3600)
        root.custody.recover()
        assert root.custody.parked == frozenset()
    assert not (folder / "old").exists()


def test_a_root_says_what_its_folders_are(tmp_path: Path, cache: Path) -> None:
    """`.gcsidecar/lock` in a root is JSON that everybody may read: the version of this contract, the glob `folders`
    that matches the folders, the patterns `lease_files`, and which process acts on the root.
    """
    roots = [{"name": "jobs", "path": str(cache), "folders": "*/*"}]
    old = os.umask(0o077)
    try:
        with Sidecar(tmp_path, {"roots": roots}) as sidecar:
            lock = eventually(lambda: (path := cache / ".gcsidecar/lock").exists() and path, "it is there")
            said = eventually(lambda: json.loads(lock.read_text() or "null"), "it is signed")
            assert said["contract"] == CONTRACT_VERSION
            assert said["folders"] == "*/*"
            assert said["lease_files"] == list(LEASE_PATTERNS)
            assert (said["holder"], said["pid"]) == (os.uname().nodename, sidecar.pid)
            assert stat.S_IMODE(lock.stat().st_mode) == 0o644
            assert stat.S_IMODE(lock.parent.stat().st_mode) == 0o755
    finally:
        os.umask(old)


def test_by_hand_needs_no_more_than_a_shell(folder: Path) -> None:
    done = run("env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", BY_HAND, "sh", folder, stdin=subprocess.DEVNULL)
    assert done.stdout == "held\n"
    assert LEASE

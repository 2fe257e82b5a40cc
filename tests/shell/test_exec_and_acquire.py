"""`gcsidecar lease exec`, `acquire` and `release`: leases that leave no process of ours behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cache.helpers import opened
from e2e.harness import eventually
from fakes import FakeClock
from gcsidecar.contract import decoded
from shell.holders import LEASE, WAITING, acquired, kept, lease, lease_files, run, running, shell
from shell.test_by_hand import evicted


def test_the_process_becomes_the_command(folder: Path) -> None:
    """The process becomes the command, and none of ours stays."""
    show = ["sh", "-c", 'echo held; echo $$ $X; grep -E "^Sig(Blk|Ign)" /proc/self/status; exec cat']
    with running(*LEASE, "exec", "--env", "X", folder, "--", *show) as process:
        assert process.stdout is not None
        pid, path = process.stdout.readline().split()
        assert (int(pid), path) == (process.pid, str(folder))
        here = shell('grep -E "^Sig(Blk|Ign)" /proc/self/status').stdout
        assert process.stdout.readline() + process.stdout.readline() == here
        children = f"cat /proc/{process.pid}/task/*/children"
        eventually(lambda: shell(children).stdout == "", "it has no child of ours")
        found = decoded(next(folder.glob(".lease.*")).read_bytes())
        assert found is not None
        assert found.pid == process.pid


def test_the_command_holds_the_lease_and_the_sidecar_removes_the_file(folder: Path) -> None:
    """The lease holds as long as the command, or anything that inherited it; then the sidecar removes its file."""
    with running(*LEASE, "exec", folder, "--", "sh", "-c", "exec 9<&0; cat <&9 & echo held; exec sleep 0") as process:
        process.wait()
        assert kept(folder.parent, folder.name) == "leased"
    assert process.returncode == 0
    assert len(lease_files(folder)) == 1

    def is_removed() -> bool:
        with opened(folder.parent) as root:
            return lease_files(folder) == [] and evicted(root)

    eventually(is_removed, "the lease is removed")


@pytest.mark.parametrize(("command", "status"), [("nonesuch", 127), ("/", 126)])
def test_what_cant_be_run_holds_nothing(folder: Path, command: str, status: int) -> None:
    done = lease("exec", folder, "--", command)
    assert done.returncode == status
    assert done.stderr.count("\n") == 1
    assert lease_files(folder) == []


def test_an_acquired_lease_holds_until_its_file_is_removed(folder: Path) -> None:
    """A lease that was acquired is a bare one, and holds until its file is removed; no process of ours stays.

    `--print` prints the path of the lease file, and nothing else.
    """
    with acquired(folder, "--purpose", "a script") as file:
        assert [str(path) for path in folder.glob(".lease.*")] == [file]
        found = decoded(Path(file).read_bytes())
        assert found is not None
        assert (found.locked, found.ttl_seconds, found.purpose) == (False, None, "a script")
        assert not os.path.exists(f"/proc/{found.pid}")
        assert kept(folder.parent, folder.name) == "leased"
    assert kept(folder.parent, folder.name) is None


def test_what_it_says_without_print_are_the_commands_to_use(folder: Path) -> None:
    said = lease("acquire", folder, "--ttl", "60").stdout
    commands = [line.partition(": ")[2] for line in said.splitlines() if ": " in line]
    assert [words.split()[:2] for words in commands] == [["gcsidecar", "lease"], ["touch", "-c"]]
    (file,) = folder.glob(".lease.*")
    os.utime(file, (0, 0))
    assert shell(commands[1]).returncode == 0
    assert file.stat().st_mtime > 0
    assert lease(*commands[0].split()[2:]).returncode == 0
    assert lease_files(folder) == []


def test_a_heartbeat_lease_ends_by_itself(folder: Path) -> None:
    """With `--ttl SECONDS` it is a heartbeat lease, and ends so long after its last `touch -c "$lease"`."""
    clock = FakeClock()
    with acquired(folder, "--ttl", "60") as file, opened(folder.parent, clock=clock) as root:
        for _ in range(3):
            shell(f'touch -c --date=@{clock.now} "$1"', file)
            assert not evicted(root)
            clock.advance(50)
        clock.advance(50)
        assert evicted(root)


def test_a_lease_whose_name_nobody_learns_is_given_back(folder: Path) -> None:
    """Where it can't be printed, the lease is given back."""
    with open("/dev/full", "w") as full:
        command = [*LEASE, "acquire", str(folder), "--print"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "given back" in done.stderr
    assert done.stderr.count("\n") == 1
    assert lease_files(folder) == []


def test_a_name_that_is_no_text_is_printed_as_it_is(cache: Path) -> None:
    name = os.fsencode(cache) + b"/\xff\n"
    command = [*map(os.fsencode, LEASE), b"acquire", name, b"--print"]
    file = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.removesuffix(b"\n")
    assert file.startswith(name + b"/.lease.")
    assert os.path.exists(file)
    assert lease("release", os.fsdecode(file)).returncode == 0
    assert not os.path.exists(file)


def test_to_release_twice_is_no_error(folder: Path) -> None:
    """To release a lease that is gone already is no error."""
    file = lease("acquire", folder, "--print").stdout.strip()
    for _ in range(2):
        assert lease("release", file).returncode == 0
        assert lease_files(folder) == []
    assert lease("release", folder / "nonesuch" / ".lease.x").returncode == 0


def test_release_removes_leases_only(folder: Path) -> None:
    """What is no lease that a client made is not removed, and neither is one that a process holds by a lock."""
    (folder / ".lease.directory").mkdir()
    (folder / ".lease.link").symlink_to("data")
    os.mkfifo(folder / ".lease.fifo")
    (folder / ".lease.text").write_text("valuable")
    (folder / "job.lease").touch()
    with running(*LEASE, "run", folder, "--", *WAITING):
        (locked,) = (path for path in folder.glob(".lease.*") if path.is_file() and b"boot_id" in path.read_bytes())
        left = [folder / "data", *folder.glob("*.lease"), *folder.glob(".lease.*")]
        assert locked in left
        for path in left:
            done = lease("release", path)
            assert done.returncode == 1
            assert done.stderr.count("\n") == 1
            assert os.path.lexists(path)
    with acquired(folder) as taken:
        by_hand = shell('mktemp "$1/.lease.XXXXXX"', folder).stdout.strip()
        assert lease("release", folder / "data", taken, by_hand).returncode == 1
        assert not os.path.exists(taken)
        assert not os.path.exists(by_hand)


def test_options_of_acquire(cache: Path) -> None:
    assert lease("acquire", cache / "f", "--no-create").returncode == 1
    assert list(cache.iterdir()) == []
    assert lease("acquire", "--nonesuch", cache / "f").returncode == 2
    assert run(sys.executable, "-m", "gcsidecar.sidecar.cli", "lease").returncode == 2

"""How a lease is known to be alive, and what a filesystem has to do with it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gcsidecar
import needs
from cache.conftest import as_nobody, root_rights
from cache.helpers import opened, reconcile
from cache.leasing import OTHER_BOOT_ID, locked, put
from e2e.harness import Sidecar, eventually
from fakes import NOW, FakeClock
from gcsidecar.cache.spec import LeaseSpec, Seconds
from gcsidecar.contract import decoded, locks_are_real
from shell.holders import HOLDERS, LEASE, WAITING, kept, lease, lease_files, running
from shell.page import PAGE
from shell.test_by_hand import evicted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsidecar.cache.root import Root

__all__ = ["as_nobody", "root_rights"]


@pytest.mark.parametrize("kind", ["python", "run", "exec", "acquire"])
def test_a_lease_of_our_client_says_who_holds_it(folder: Path, kind: str) -> None:
    """A lease of our client is a file of mode 0644 that says in one line of JSON who holds it: `pid`, `started` (in
    ticks after boot), `boot_id`, `device`, `pid_namespace`, `mount_namespace`, `host`, `purpose`, `at`,
    `ttl_seconds`, `locked`.
    """
    with HOLDERS[kind](folder):
        (file,) = folder.glob(".lease.*")
        assert file.stat().st_mode & 0o7777 == 0o644
        text = file.read_text()
        assert text.index("\n") == len(text) - 1
        said = json.loads(text)
        sentence = re.search(r"who holds\s+it: (.*)\n\n?- ", PAGE.read_text(), re.DOTALL)
        assert sentence is not None
        assert set(re.findall(r"`(\w+)`", sentence[1].split("\n- ")[0])) == set(said) - {"gcsidecar"}
        if kind != "acquire":
            fields = Path(f"/proc/{said['pid']}/stat").read_text().rpartition(")")[2].split()
            assert said["started"] == int(fields[19])
        assert said["device"] == folder.stat().st_dev
        assert said["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.mark.parametrize("kind", ["python", "run", "exec"])
def test_a_locked_lease_is_live_while_a_process_has_the_file_locked(folder: Path, kind: str) -> None:
    """A locked lease is one whose file says so: it is live while a process has the file locked, and dead as soon as
    none has.
    """
    with HOLDERS[kind](folder) as process:
        (file,) = folder.glob(".lease.*")
        found = decoded(file.read_bytes())
        assert found is not None
        assert found.locked
        os.utime(file, (0, 0))  # its age is nothing to it
        with running("flock", "-s", folder, *WAITING):
            assert kept(folder.parent, folder.name) == "leased"
        del process
    put(folder)  # says that it is locked, and nobody has it
    assert kept(folder.parent, folder.name) is None


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ({}, None),
        ({"boot_id": OTHER_BOOT_ID}, "leased"),
        ({"device": 1}, "leased"),
        ({"boot_id": OTHER_BOOT_ID, "ttl_seconds": 3600.0}, "leased"),
    ],
)
def test_a_lock_that_nobody_has_says_nothing_of_another_machine(
    folder: Path, says: dict[str, Any], reason: str | None
) -> None:
    """That none has is believed only where boot id and device are also the sidecar's, on a filesystem whose locks are
    real; elsewhere it is a heartbeat lease, or a bare one.
    """
    put(folder, **says)
    assert kept(folder.parent, folder.name) == reason


def test_what_is_left_from_before_a_crash_of_the_machine_is_shown_as_stale_and_ends_where_that_is_configured(
    folder: Path,
) -> None:
    """So what a crash of the whole machine has left of a locked lease holds on, and is shown as stale after a day; a
    root with `on_stale: expire` ends it, and no locked lease that is live.
    """
    clock = FakeClock(time.time())
    left = put(folder, boot_id=OTHER_BOOT_ID)
    with opened(folder.parent, clock=clock) as root:
        clock.advance(25 * 3600)
        reconcile(root)
        assert (root.tally().leases, root.tally().stale_leases) == (1, 1)
    expires = LeaseSpec(ttl=Seconds(3600), on_stale="expire")
    with locked(put(folder, ".lease.live")), opened(folder.parent, clock=clock, lease=expires) as root:
        clock.advance(2 * 3600)
        reconcile(root)
        assert not left.exists()
        assert root.tally().leases == 1


def test_where_locks_are_not_real_none_is_believed(folder: Path, bind_fuse: Callable[[Path], Path]) -> None:
    """That none has is believed only where boot id and device are also the sidecar's, on a filesystem whose locks are
    real; elsewhere it is a heartbeat lease, or a bare one.
    """
    seen = bind_fuse(folder.parent)
    put(seen / "f", device=(seen / "f").stat().st_dev)
    assert kept(seen, "f") == "leased"


def test_a_heartbeat_is_judged_by_both_clocks(folder: Path) -> None:
    """A heartbeat lease ends once it was not touched for its own `ttl_seconds`, by the calendar's clock and by the one
    that never jumps.
    """
    clock = FakeClock()
    file = put(folder, locked=False, ttl_seconds=60.0)
    os.utime(file, (NOW, NOW))
    with opened(folder.parent, clock=clock) as root:
        clock.now += 10_000
        assert not evicted(root)
        clock.now -= 10_000
        clock.mono += 10_000
        assert not evicted(root)
        clock.now += 61
        assert evicted(root)


@pytest.mark.parametrize(("ttl", "on_stale"), [(None, "keep"), (3600, "keep"), (3600, "expire")])
def test_what_an_old_bare_lease_means_is_the_roots_to_say(folder: Path, ttl: int | None, on_stale: Any) -> None:
    """A bare lease is any other file: it is live while it is there, unless the root has a `lease.ttl`.

    Where a root has a `lease.ttl`, `on_stale` says what becomes of a bare lease that was not touched for so long:
    `keep` lets it hold the folder, and shows it as stale; `expire` ends it.

    Without a `lease.ttl`, a bare lease older than a day is shown as stale, and holds on.
    """
    clock, file = FakeClock(), folder / ".lease.x"
    file.touch()
    os.utime(file, (NOW, NOW))
    spec = LeaseSpec(ttl=None if ttl is None else Seconds(ttl), on_stale=on_stale)
    with opened(folder.parent, clock=clock, lease=spec) as root:
        assert states(root) == (1, 0)
        clock.advance(7200)
        assert states(root) == {(None, "keep"): (1, 0), (3600, "keep"): (1, 1), (3600, "expire"): (0, 0)}[ttl, on_stale]
        clock.advance(24 * 3600)
        assert states(root) == ((0, 0) if on_stale == "expire" else (1, 1))
        assert evicted(root) == (on_stale == "expire")


def states(root: Root) -> tuple[int, int]:
    """How many leases hold, and how many of these are stale."""
    reconcile(root)
    tally = root.tally()
    return tally.leases, tally.stale_leases


def test_what_has_ended_is_removed_logged_and_counted_and_is_no_use(tmp_path: Path, folder: Path) -> None:
    """The sidecar removes the file of a lease that is dead or has expired, logs its holder, and counts it in
    `gcsidecar_leases_reaped_total`.

    To remove it is no use of the folder: the order of eviction stays as it was.
    """
    used_at = time.time() - 5000
    put(folder, ".lease.dead", purpose="build 17")
    put(folder, ".lease.expired", locked=False, ttl_seconds=0.1, purpose="build 18")
    for path in (*folder.iterdir(), folder):
        os.utime(path, (used_at, used_at))
    root = {"name": "jobs", "path": str(folder.parent), "min_age": 0}
    with Sidecar(tmp_path, {"roots": [root], "thresholds": {"disk": None, "inodes": None}}) as sidecar:
        eventually(lambda: sidecar.events("lease-reaped"), "the dead one is removed")
        assert abs(folder.stat().st_mtime - used_at) < 1
        while len(sidecar.events("lease-reaped")) == 1:
            hint(folder)
            time.sleep(0.1)
        events = sidecar.events("lease-reaped")
        assert {(event["why"], event["purpose"]) for event in events} == {("dead", "build 17"), ("expired", "build 18")}
        for reason in ("dead", "expired"):
            assert sidecar.metric("gcsidecar_leases_reaped_total", reason=reason) == 1
        assert lease_files(folder) == []


def hint(folder: Path) -> None:
    """Have the sidecar look at a folder now, and not at its next round."""
    (folder / ".lease.hint").touch()
    (folder / ".lease.hint").unlink()


def test_what_cant_be_read_holds(tmp_path: Path, folder: Path, as_nobody: Callable[..., Any]) -> None:
    """What can't be read is a lease that holds."""
    put(folder).chmod(0o600)
    for path in (folder.parent, folder, folder / "data"):
        os.chown(path, 65534, 65534)
    root = os.open(folder.parent, os.O_RDONLY)  # an ordinary user may not come here by path
    try:
        assert as_nobody(lambda: kept(Path(f"/proc/self/fd/{root}/."), "f")) == "leased"
    finally:
        os.close(root)
    (folder / ".lease.x").chmod(0o644)
    assert kept(folder.parent, "f") is None
    del tmp_path


@pytest.fixture
def bind_fuse(root_rights: None, tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """Shows a directory once more, by a FUSE filesystem."""
    del root_rights
    needs.program("bindfs")
    if not os.path.exists("/dev/fuse"):
        needs.unavailable("/dev/fuse is missing")

    def bind(path: Path) -> Path:
        above = tmp_path / "fuse"
        above.mkdir()
        subprocess.run(["bindfs", str(path), str(above)], check=True)
        undo.callback(subprocess.run, ["umount", "--lazy", str(above)], check=True)
        return above

    with contextlib.ExitStack() as undo:
        yield bind


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay"])
def test_locks_are_real_where_one_kernel_has_them(kind: str) -> None:
    """Locks are real on ext4, xfs, btrfs, zfs, tmpfs, overlay and the like: one kernel has them, for all its
    containers.
    """
    assert locks_are_real(kind)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse", "fuse.sshfs", "virtiofs", "9p", "ceph", "new"])
def test_locks_are_not_real_where_others_come(kind: str) -> None:
    """On NFS, CIFS, FUSE, virtiofs, 9p, Ceph, and whatever is not known, they are not."""
    assert not locks_are_real(kind)


def test_on_other_filesystems_a_lease_has_a_heartbeat(folder: Path, bind_fuse: Callable[[Path], Path]) -> None:
    """There a lease of our client is a heartbeat lease, of 300 s unless `ttl` says otherwise, which its process keeps
    alive; `lease run` ends it with its command.
    """
    seen = bind_fuse(folder.parent) / "f"
    for ttl, expected in ((None, 300.0), (0.3, 0.3)):
        with gcsidecar.lease(seen, ttl=ttl) as held:
            found = decoded(Path(held.file).read_bytes())
            assert found is not None
            assert (found.locked, found.ttl_seconds) == (False, expected)
            assert kept(seen.parent, "f") == "leased"
    with running(*LEASE, "run", "--ttl", "0.3", seen, "--", *WAITING):
        (file,) = folder.glob(".lease.*")
        os.utime(file, (0, 0))
        eventually(lambda: file.stat().st_mtime > 0, "it is kept alive")
    eventually(lambda: lease_files(folder) == [], "it ends with its command")


def test_exec_is_refused_there(folder: Path, bind_fuse: Callable[[Path], Path]) -> None:
    """Where locks are not real it is refused, with status 125, since nobody would end the lease."""
    done = lease("exec", bind_fuse(folder.parent) / "f", "--", "touch", folder / "ran")
    assert done.returncode == 125
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == ["data"]

"""What is particular to a kind of filesystem or mount: what is not counted, not writable, or shown elsewhere, too."""

from __future__ import annotations

import fcntl
import functools
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import needs
from cache.helpers import make_folder
from e2e.harness import Sidecar, eventually
from filesystems.holders import held
from filesystems.roots import MEASURED_OFTEN, config, names, root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filesystems.conftest import MakeFilesystem, Mounts

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("kind", ["btrfs", "tmpfs"])
def test_where_inodes_are_not_counted_their_thresholds_are_off_and_that_is_said_once(
    btrfs: MakeFilesystem, tmpfs: MakeFilesystem, tmp_path: Path, kind: str
) -> None:
    cache = (btrfs() if kind == "btrfs" else tmpfs(64 << 20, "nr_inodes=0")) / "cache"
    for name in ("a", "b"):
        make_folder(cache, name)
    thresholds = {"disk": {"min_free": "1MiB"}, "inodes": {"min_free": "50%", "target_free": "60%"}}
    with Sidecar(tmp_path, {"roots": [root(cache)], "thresholds": thresholds}) as sidecar:
        eventually(lambda: sidecar.metric("gcsidecar_filesystem_last_measurement_successful") == 1, "it is measured")
        assert sidecar.metric("gcsidecar_filesystem_inodes_capacity") == 0
        assert sidecar.metric("gcsidecar_filesystem_inodes_free") == 0
        for name in ("gcsidecar_filesystem_inodes_trigger", "gcsidecar_filesystem_inodes_target"):
            assert sidecar.metric(name) is None
        assert sidecar.metric("gcsidecar_filesystem_pressure_ratio", resource="disk") is not None
        assert sidecar.metric("gcsidecar_filesystem_pressure_ratio", resource="inodes") is None
        at = sidecar.metric("gcsidecar_filesystem_last_measurement_timestamp_seconds")
        eventually(lambda: sidecar.metric("gcsidecar_filesystem_last_measurement_timestamp_seconds") != at, "and again")
        [event] = sidecar.events("inodes-uncounted")
        assert (event["level"], event["filesystem"], event["kind"]) == ("info", "jobs", kind)
        assert names(cache) == {"a", "b"}


def test_a_btrfs_subvolume_is_a_folder_and_goes_with_those_in_it_but_for_what_is_read_only(
    btrfs: MakeFilesystem, tmp_path: Path
) -> None:
    disk = btrfs()
    for path in ("a", "b", "a/inner"):
        subprocess.run(["btrfs", "-q", "subvolume", "create", str(disk / path)], check=True)
        (disk / path / "data").write_bytes(bytes(4096))
    subprocess.run(["btrfs", "-q", "subvolume", "snapshot", "-r", str(disk / "a"), str(disk / "b/frozen")], check=True)
    make_folder(disk, "new")
    with Sidecar(tmp_path, config(root(disk, max_folders=1, keep=["new"]))) as sidecar:
        eventually(lambda: names(disk) == {"new"}, "both are out of the way")
        [failed] = eventually(lambda: sidecar.events("eviction-failed"), "it is said what could not be deleted")
        assert "entries can't be deleted, the first is frozen/" in failed["error"]
        assert "Read-only file system" in failed["error"]
        assert [event["folder"] for event in sidecar.events("evicted")] == ["a"]
        [rest] = (disk / ".gcsidecar/condemned").glob("*/*")
        assert os.listdir(rest) == ["frozen"]


@contextmanager
def flock(folder: Path) -> Iterator[int]:
    """Whoever holds it so has to write nothing to let it go."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield fd
    finally:
        os.close(fd)


def break_down(disk: Path) -> None:
    """Have the kernel find an error in an ext4, for which it is mounted read-only from then on."""
    device = os.stat(disk).st_dev
    block = os.path.basename(os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"))
    trigger = f"/sys/fs/ext4/{block}/trigger_fs_error"
    if not os.path.exists(trigger):
        needs.unavailable(f"{trigger} is missing")
    with open(trigger, "w") as file:
        file.write("by a test of gcsidecar\n")


def test_a_filesystem_that_turns_read_only_loses_nothing_and_holds_up_nobody(
    ext4: MakeFilesystem, tmpfs: MakeFilesystem, tmp_path: Path
) -> None:
    """As Linux does it on an error; by hand it can't be while the sidecar has its lock and its history open."""
    disk, other = ext4(64 << 20, "-e", "remount-ro"), tmpfs()
    make_folder(disk, "a")
    made = config(root(disk, "breaks", max_idle="1s"), root(other, "other", max_folders=1), **MEASURED_OFTEN)
    with flock(disk / "a") as held_fd, Sidecar(tmp_path, made) as sidecar:
        eventually((disk / ".gcsidecar/history.sqlite").exists, "it acts on it")
        refused = subprocess.run(["mount", "-o", "remount,ro", str(disk)], capture_output=True, check=False)
        assert b"busy" in refused.stderr
        break_down(disk)
        with pytest.raises(OSError, match="Read-only file system"):
            (disk / "new").mkdir()
        fcntl.flock(held_fd, fcntl.LOCK_UN)
        [failed] = eventually(lambda: sidecar.events("eviction-failed"), "it can't go")
        assert "Read-only file system; it is kept" in failed["error"]
        assert (disk / "a/data").exists()
        for name in ("a", "b"):
            make_folder(other, name)
        eventually(lambda: names(other) == {"b"}, "the other filesystem is kept")
        backed_off = functools.partial(sidecar.metric, "gcsidecar_filesystem_backed_off_folders", filesystem="breaks")
        eventually(lambda: backed_off() == 1, "it is tried again later")
        assert sidecar.get("/healthz") == (200, "ok\n")
        assert sidecar.stop()[0] == 0
    with Sidecar(tmp_path, made) as sidecar:
        [blocked] = eventually(lambda: sidecar.events("blocked"), "it says that it can't act there")
        assert "mounted read-only: mount it writable, or set dry_run" in blocked["problem"]


def test_a_root_may_be_a_directory_that_is_mounted_at_another_place(
    ext4: MakeFilesystem, mounts: Mounts, tmp_path: Path
) -> None:
    disk = ext4()
    below = disk / "volumes/jobs"
    for name in ("leased", "idle", "new"):
        make_folder(below, name)
    make_folder(disk / "volumes", "beside")
    cache = mounts.mount(tmp_path / "cache", "--bind", str(below))
    with held(below / "leased"), Sidecar(tmp_path, config(root(cache, max_folders=1))) as sidecar:
        eventually(lambda: names(cache) == {"leased"}, "what has no lease goes")
        assert sidecar.metric("gcsidecar_leases", root="jobs", state="live") == 1
        assert names(below) == {"leased"}
        assert sidecar.metric("gcsidecar_evictions_total", reason="folders") == 2
    assert sorted(os.listdir(disk / "volumes")) == ["beside", "jobs"]
    assert (below / "leased/data").exists()

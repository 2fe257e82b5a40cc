"""Eviction on a filesystem where nobody can take a byte or an inode any more."""

from __future__ import annotations

import errno
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.harness import Sidecar, eventually

if TYPE_CHECKING:
    from e2e.conftest import MakeFilesystem

pytestmark = [pytest.mark.e2e, pytest.mark.root]

KIB = 1 << 10
DISK_BYTES = 24 << 20
INODES = 1024
FOLDERS = ("a", "b", "c", "d", "e", "f", "g", "h")
FILES, FILE_BYTES = 20, 48 * KIB
HELD, ENDED = ".lease.job", "done"


class Disk:
    """A small ext4 with a cache of leased folders, and beside it what else fills it up."""

    def __init__(self, mount: Path) -> None:
        self.mount, self.cache, self._filling = mount, mount / "cache", mount / "filling"
        self.cache.mkdir()
        self._filling.mkdir()
        self._number = 0
        # The kernel keeps some blocks to itself, for what can't fail; a rename is to need none of them.
        device = os.stat(mount).st_dev
        block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        with suppress(OSError):
            Path(f"/sys/fs/ext4/{block}/reserved_clusters").write_text("0")

    def make(self, name: str, *, leased: bool = True) -> None:
        (self.cache / name).mkdir()
        if leased:
            (self.cache / name / HELD).touch()
        for number in range(FILES):
            (self.cache / name / str(number)).write_bytes(os.urandom(FILE_BYTES))
        time.sleep(0.02)

    def release(self, name: str) -> None:
        """End its lease so that not one inode comes free by it."""
        (self.cache / name / HELD).rename(self.cache / name / ENDED)

    def is_whole(self, name: str) -> bool:
        files = [self.cache / name / str(number) for number in range(FILES)]
        return all(file.exists() and file.stat().st_size == FILE_BYTES for file in files)

    def fill(self) -> None:
        """Until nobody gets anything any more, root included: first all inodes, then all blocks."""
        with suppress(OSError):
            while True:
                self._number += 1
                os.close(os.open(self._filling / str(self._number), os.O_CREAT | os.O_WRONLY))
        with (self._filling / "1").open("ab") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            for step_bytes in (1024 * KIB, 64 * KIB, 4 * KIB, KIB):
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), size_bytes, step_bytes)
                        size_bytes += step_bytes

    def is_full(self) -> bool:
        space = os.statvfs(self.mount)
        return space.f_bavail == space.f_ffree == 0

    def there(self) -> set[str]:
        return {name for name in os.listdir(self.cache) if not name.startswith(".")}


@pytest.fixture
def disk(ext4: MakeFilesystem) -> Disk:
    return Disk(ext4(DISK_BYTES, "-N", str(INODES), "-b", "1024"))


def config(disk: Disk) -> dict[str, Any]:
    return {"roots": [{"name": "jobs", "path": str(disk.cache), "min_age": 0}]}


def assert_nobody_gets_anything(disk: Disk) -> None:
    for take in (disk.cache / "new").mkdir, (disk.cache / "new").touch:
        with pytest.raises(OSError, match="No space left") as refused:
            take()
        assert refused.value.errno == errno.ENOSPC
    assert disk.is_full()


def fill_up(disk: Disk, sidecar: Sidecar) -> None:
    """Until it has seen the full disk; a history that finds no room may give a block back meanwhile."""

    def has_seen() -> bool:
        disk.fill()
        return sidecar.metric("gcsidecar_filesystem_disk_free_bytes") == 0 and disk.is_full()

    eventually(has_seen, "it has seen the full disk")


def test_it_evicts_on_a_disk_without_a_byte_or_an_inode_each_time_anew(tmp_path: Path, disk: Disk) -> None:
    for name in FOLDERS:
        disk.make(name)
    with Sidecar(tmp_path, config(disk)) as sidecar:
        eventually(lambda: sidecar.metric("gcsidecar_root_role", role="active"), "it has made its .gcsidecar/")
        for number, name in enumerate(FOLDERS[:-1]):
            fill_up(disk, sidecar)
            began = time.monotonic()
            disk.release(name)
            eventually(lambda: name not in disk.there(), f"{name} goes")  # noqa: B023  called at once
            eventually(lambda: not disk.is_full(), "something comes back")
            print(f"{name}: {time.monotonic() - began:.3f} s")
            eventually(lambda: len(sidecar.events("evicted")) == number + 1, "all of it is deleted")  # noqa: B023
            assert disk.there() == set(FOLDERS[number + 1 :])
            assert all(disk.is_whole(other) for other in disk.there())
        evicted = eventually(
            lambda: len(sidecar.events("evicted")) == len(FOLDERS) - 1 and sidecar.events("evicted"), ""
        )
        assert [event["folder"] for event in evicted] == list(FOLDERS[:-1])
        assert not sidecar.events("eviction-failed")


def test_it_starts_again_on_a_disk_that_filled_up_while_it_was_down(tmp_path: Path, disk: Disk) -> None:
    for name in FOLDERS:
        disk.make(name)
    with Sidecar(tmp_path, config(disk)) as sidecar:
        eventually(lambda: sidecar.metric("gcsidecar_root_role", role="active"), "it has made its .gcsidecar/")
        sidecar.stop()
    for name in FOLDERS[:-1]:
        disk.release(name)
        time.sleep(0.02)
    disk.fill()
    assert_nobody_gets_anything(disk)
    lock = (disk.cache / ".gcsidecar/lock").read_text()
    with Sidecar(tmp_path, config(disk)) as sidecar:
        eventually(lambda: sidecar.events("evicted"), "something goes")
        eventually(lambda: not (disk.cache / "a").exists(), "the oldest goes first")
        assert sidecar.events("evicted")[0]["folder"] == "a"
        assert disk.is_whole(FOLDERS[-1])
        assert not sidecar.events("blocked")
        assert (disk.cache / ".gcsidecar/lock").read_text() not in {"", lock}


def test_a_first_start_on_a_full_disk_says_what_to_do_and_goes_on_once_that_is_done(tmp_path: Path, disk: Disk) -> None:
    for name in FOLDERS:
        disk.make(name, leased=name == "h")
    disk.fill()
    assert_nobody_gets_anything(disk)
    with Sidecar(tmp_path, config(disk)) as sidecar:
        eventually(lambda: sidecar.metric("gcsidecar_root_role", role="blocked") == 1, "the metrics say it")
        [blocked] = sidecar.events("blocked")
        assert blocked["level"] == "error"
        assert "the disk is full: delete something by hand once" in blocked["problem"]
        status, body = sidecar.get("/readyz")
        assert (status, body) == (200, f"ok\njobs: blocked: {blocked['problem']}\n")
        time.sleep(2.5)
        assert len(sidecar.events("blocked")) == 1
        assert disk.there() == set(FOLDERS)
        shutil.rmtree(disk.cache / "d")
        eventually(lambda: sidecar.metric("gcsidecar_root_role", role="active") == 1, "it goes on")
        eventually(lambda: sidecar.events("collected"), "it has made room")
        space = os.statvfs(disk.mount)
        assert space.f_bavail >= space.f_blocks // 5
        assert sidecar.events("evicted")[0]["folder"] == "a"
        assert disk.is_whole("h")
        assert sidecar.get("/readyz")[0] == 200

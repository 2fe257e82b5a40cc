"""A root itself: that it is where it was, and that nothing of it is left open or changed without need."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from cache.folders.looking import folder_of
from cache.helpers import make_folder, opened, reconcile
from fakes import FakeClock
from gcsidecar.cache.errors import RootUnavailableError
from gcsidecar.cache.spec import LeaseSpec, Seconds

if TYPE_CHECKING:
    from pathlib import Path


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def everything(path: Path) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for directory, _, files in sorted(os.walk(path)):
        for name in [".", *sorted(files)]:
            status = os.lstat(os.path.join(directory, name))
            found.append((directory, name, status.st_ino, status.st_mode, status.st_mtime_ns, status.st_ctime_ns))
    return found


def test_with_dry_run_nothing_on_disk_changes(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    for name in ("a", "b", "c"):
        make_folder(tmp_path, name, used_at=clock.now - 5000)
    (tmp_path / "a/.lease").touch()
    os.utime(tmp_path / "a/.lease", (1, 1))
    (tmp_path / "b.lease").touch()
    make_folder(tmp_path, ".gcsidecar/evicting/dead-1/gone")
    make_folder(tmp_path, ".gcsidecar/condemned/dead-2/gone")
    lease = LeaseSpec(ttl=Seconds(60), on_stale="expire")
    with opened(tmp_path, clock=clock, dry_run=True, lease=lease) as root:
        (tmp_path / "b.lease").unlink()
        before = everything(tmp_path)
        assert not root.custody.activate({})
        clock.advance(61)
        reconcile(root)
        assert folder_of(root, "c").candidate(clock.now).keep is None
        with pytest.raises(Exception, match="not ours"):
            folder_of(root, "c").dispose()
        assert root.custody.recover().deleted == []
    assert everything(tmp_path) == before


def test_a_root_that_was_replaced_or_removed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "root"
    path.mkdir()
    with opened(path) as root:
        root.check()
        path.rename(tmp_path / "old")
        with pytest.raises(RootUnavailableError, match="No such file"):
            root.check()
        path.mkdir()
        with pytest.raises(RootUnavailableError, match="another directory"):
            root.check()


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_root_that_is_not_there_is_an_error_that_leaves_nothing_open(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "root").touch()
    before = descriptors()
    with pytest.raises(RootUnavailableError), opened(tmp_path / "root"):
        pass
    assert descriptors() == before


def test_whatever_happens_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = descriptors()
    for name in ("a", "b", "c"):
        make_folder(tmp_path, name)
    (tmp_path / "b/.lease").touch()
    with opened(tmp_path, lease=LeaseSpec(files=("{folder}/.lease", "{folder}.lease.*", "{folder}/x/*"))) as root:
        folder_of(root, "a").dispose()  # the first decision opens the table of mounts, for good
        during = descriptors()
        for _ in range(3):
            reconcile(root)
            root.custody.recover()
            for folder in root.census.folders():
                if not folder.leases:
                    folder.dispose()
        with pytest.raises(Exception, match="leased"):
            folder_of(root, "b").dispose()
        assert descriptors() == during
    assert descriptors() == before

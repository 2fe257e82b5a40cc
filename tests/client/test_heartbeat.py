"""Leases that are kept alive by touching them: where it was asked for, and where locks count for nothing."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import gcsidecar
from children import in_child
from client.helpers import is_locked, leases
from gcsidecar.contract import decoded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


def age(path: str | Path) -> None:
    """As if nobody had touched it for a day."""
    os.utime(path, (time.time() - 86400,) * 2)


def is_young(path: str | Path) -> bool:
    return os.stat(path).st_mtime > time.time() - 3600


def test_a_lease_with_a_ttl_is_touched_again_and_again(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a", ttl=0.03) as folder:
        assert (folder.locked, folder.ttl_seconds) == (True, 0.03)
        for _ in range(2):
            age(folder.file)
            eventually(lambda: is_young(folder.file))


def test_it_says_its_ttl(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a", ttl=60) as folder, open(folder.file, "rb") as file:
        holder = decoded(file.read())
    assert holder is not None
    assert holder.ttl_seconds == 60


def test_it_is_touched_wherever_its_folder_is_moved(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a", ttl=0.03):
        (tmp_path / "a").rename(tmp_path / "b")
        (file,) = leases(tmp_path / "b")
        age(file)
        eventually(lambda: is_young(file))


def test_the_folder_is_not_used_by_a_heartbeat(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a", ttl=0.03) as folder:
        age(folder.path)
        age(folder.file)
        eventually(lambda: is_young(folder.file))
        assert not is_young(folder.path)


def test_it_ends_with_the_lease(tmp_path: Path) -> None:
    before = threading.active_count()
    folder = gcsidecar.lease(tmp_path / "a", ttl=0.03)
    assert threading.active_count() == before + 1
    folder.release()
    folder.release()
    assert threading.active_count() == before


def test_a_lease_without_a_ttl_has_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    with gcsidecar.lease(tmp_path / "a"):
        assert threading.active_count() == before


def test_the_longest_ttl_is_one(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a", ttl=9e11):
        pass


def test_a_forked_child_leaves_the_heartbeat_to_its_parent(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a", ttl=0.03) as folder:

        def release() -> int:
            folder.release()
            return threading.active_count()

        assert in_child(release) == 1
        age(folder.file)
        eventually(lambda: is_young(folder.file))


def test_where_locks_count_for_nothing_a_lease_is_a_heartbeat(fuse: Path) -> None:
    with gcsidecar.lease(fuse / "a") as folder:
        assert folder.created
        assert (folder.locked, folder.ttl_seconds) == (False, 300)
        with open(folder.file, "rb") as file:
            holder = decoded(file.read())
        assert holder is not None
        assert (holder.locked, holder.ttl_seconds) == (False, 300)
        assert not is_locked(fuse / "a" / os.path.basename(folder.file))
        assert is_locked(fuse / "a")  # a sidecar there asks for it all the same
        assert any(thread.name == "gcsidecar-heartbeat" for thread in threading.enumerate())
    assert list((fuse / "a").iterdir()) == []


def test_there_it_may_have_a_ttl_of_its_own(fuse: Path) -> None:
    with gcsidecar.lease(fuse / "a", ttl=0.03) as folder:
        assert (folder.locked, folder.ttl_seconds) == (False, 0.03)
        age(folder.file)
        eventually(lambda: is_young(folder.file))


def test_there_too_a_lease_ends_with_its_process(fuse: Path) -> None:
    gcsidecar.lease(fuse / "a").let_go()
    assert list((fuse / "a").iterdir()) == []

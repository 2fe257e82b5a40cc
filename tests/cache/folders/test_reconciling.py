"""What a listing of the root finds, and what it costs."""

from __future__ import annotations

import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from cache.folders.looking import folder_of
from cache.helpers import make_folder, opened, reconcile
from fakes import FakeClock
from gcsidecar.cache.folders.finder import RECENT_SECONDS
from gcsidecar.cache.spec import LeaseSpec
from gcsidecar.cache.watching.hints import Hints
from gcsidecar.cache.watching.watcher import Change, ChangeKind, Watcher

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("heard", [False, True])
def test_folders_that_are_found_together_arrive_in_the_order_in_which_they_appeared(
    tmp_path: Path, *, heard: bool
) -> None:
    names = list("gcebadf")
    with opened(tmp_path) as root:
        hints = Hints(Watcher(), str(tmp_path), lambda: None)
        hints._root = root
        for name in names:
            (tmp_path / name).mkdir()
            hints._heard(Change("", name, ChangeKind.APPEARED))
            time.sleep(0.01)  # more than a tick of the filesystem's clock
        if heard:
            for name in hints.take().names:
                root.finder.refresh(name)
        else:
            reconcile(root)
        assert [folder.name for folder in sorted(root.census.folders(), key=lambda f: f.last_used())] == names


def test_a_reconcile_where_all_stands_still_makes_next_to_nothing_for_each_folder(tmp_path: Path) -> None:
    count = 2000
    for number in range(count):
        (tmp_path / f"folder-{number:06}").mkdir()
    with opened(tmp_path, clock=FakeClock(time.time() + 2 * RECENT_SECONDS)) as root:
        tracemalloc.start()
        try:
            reconcile(root)
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            reconcile(root)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak - before < count * 20


def test_a_lease_taken_within_the_same_tick_as_the_last_look_is_found_by_the_next_reconcile(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    with opened(tmp_path) as root:
        known = folder_of(root, "a")
        (folder / ".lease").touch()
        status = folder.stat()
        known.mtime_ns, known.ctime_ns = status.st_mtime_ns, status.st_ctime_ns
        reconcile(root)
        assert known.leases == 1


@pytest.mark.parametrize(
    ("folders", "files", "folder", "lease"),
    [
        ("*", ("{folder}/sub/.lease",), "a", "a/sub/.lease"),
        ("*/*", ("{folder}.lease",), "x/y", "x/y.lease"),
        ("*", ("{folder}.lease.*",), "a", "a.lease.1"),
        ("*", (".locks/{folder}/*.lease",), "a", ".locks/a/1.lease"),
    ],
)
def test_a_reconcile_sees_leases_that_leave_no_trace_in_the_folder(
    tmp_path: Path, folders: str, files: tuple[str, ...], folder: str, lease: str
) -> None:
    clock = FakeClock(time.time() + 9999)
    (make_folder(tmp_path, folder) / "sub").mkdir()
    (tmp_path / ".locks/a").mkdir(parents=True)
    with opened(tmp_path, clock=clock, folders=folders, lease=LeaseSpec(files=files)) as root:
        for exists in (True, False):
            (tmp_path / lease).touch() if exists else (tmp_path / lease).unlink()
            reconcile(root)
            assert root.tally().leases == exists

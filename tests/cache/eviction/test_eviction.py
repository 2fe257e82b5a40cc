"""The eviction protocol and its recovery on real directories."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder, opened, reconcile
from fakes import FakeClock
from gcsidecar.cache.errors import StateDirectoryError
from gcsidecar.cache.eviction.slots import decode, encode
from gcsidecar.contract import MARK
from gcsidecar.gc.errors import DisposableInUseError

if TYPE_CHECKING:
    from pathlib import Path

    from cache.conftest import Mounts
    from gcsidecar.cache.root import Root


class CrashError(Exception):
    """The process ends here."""


def evict(root: Root, name: str) -> None:
    folder = root.census.get(name)
    assert folder is not None
    folder.dispose()


def kept_for(root: Root, name: str) -> str:
    with pytest.raises(DisposableInUseError) as error:
        evict(root, name)
    return error.value.reason


def leftovers(path: Path) -> list[str]:
    """The names of the folders that lie in the slots of a root."""
    state = path / ".gcsidecar"
    slots = [slot for side in ("evicting", "condemned") for slot in (state / side).iterdir()]
    return [decode(entry.name) for slot in slots for entry in slot.iterdir()]


def test_an_unleased_folder_is_evicted_and_nothing_of_it_stays(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path) as root:
        evict(root, "a")
        assert not (tmp_path / "a").exists()
        assert root.census.get("a") is None
        assert leftovers(tmp_path) == []


@pytest.mark.parametrize("lease", ["a/.lease", "a/.lease.x1", "a/job.lease", "a.lease"])
@pytest.mark.parametrize("kind", ["file", "directory", "symlink", "fifo"])
def test_whatever_has_the_name_of_a_lease_holds_the_folder(tmp_path: Path, lease: str, kind: str) -> None:
    make_folder(tmp_path, "a")
    path = tmp_path / lease
    with opened(tmp_path) as root:
        if kind == "file":
            path.touch()
        elif kind == "directory":
            path.mkdir()
        elif kind == "symlink":
            path.symlink_to("nowhere")
        else:
            os.mkfifo(path)
        assert kept_for(root, "a") == "leased"
        assert (tmp_path / "a/data").exists()


def test_a_lock_on_the_folder_is_a_lease_of_a_kind(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    holder = subprocess.Popen(["flock", "-s", str(folder), "sh", "-c", "echo held; cat"], stdin=-1, stdout=-1)
    assert holder.stdout is not None
    holder.stdout.readline()
    with opened(tmp_path) as root:
        assert kept_for(root, "a") == "leased"
        holder.communicate()
        evict(root, "a")
    assert not folder.exists()


def test_a_lease_taken_between_the_two_looks_brings_the_folder_back(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path, step=lambda name: (tmp_path / "a.lease").touch() if name == "moved out" else None) as root:
        assert kept_for(root, "a") == "leased"
        assert (tmp_path / "a/data").exists()
        assert root.census.get("a") is not None
        assert leftovers(tmp_path) == []


def test_a_leased_folder_whose_name_is_taken_meanwhile_is_parked_whole_and_comes_back_when_it_can(
    tmp_path: Path,
) -> None:
    make_folder(tmp_path, "a")

    def take_the_name(step: str) -> None:
        if step == "moved out":
            make_folder(tmp_path, "a", size=1)
            (tmp_path / "a.lease").touch()

    with opened(tmp_path, step=take_the_name) as root:
        assert kept_for(root, "a") == "leased"
        assert leftovers(tmp_path) == ["a"]
        (tmp_path / "a.lease").unlink()
        inside = next(p for p in (tmp_path / ".gcsidecar/evicting").glob("*/a%-*"))
        (inside / ".lease.1").touch()
        root.custody.recover()
        assert root.custody.parked == {"a"}
        reconcile(root)
        assert kept_for(root, "a") == "parked"  # the new folder of that name, too
        (tmp_path / "a").rename(tmp_path / "b")
        assert root.custody.recover().restored == ["a"]
        assert (tmp_path / "a/data").stat().st_size == 4096


def test_a_mode_that_somebody_sets_while_a_folder_is_away_stays(tmp_path: Path) -> None:
    make_folder(tmp_path, "a").chmod(0o755)

    def change(step: str) -> None:
        if step == "moved out":
            inside = next(p for p in (tmp_path / ".gcsidecar/evicting").glob("*/a%-*"))
            inside.chmod(0o710)
            (inside / ".lease.1").touch()

    with opened(tmp_path, step=change) as root:
        assert kept_for(root, "a") == "leased"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o710


def test_a_folder_swapped_under_the_evictor_goes_back_untouched(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")

    def swap(step: str) -> None:
        if step == "move out" and not (tmp_path / "old").exists():
            (tmp_path / "a").rename(tmp_path / "old")
            make_folder(tmp_path, "a", size=7)

    with opened(tmp_path, step=swap) as root:
        assert kept_for(root, "a") == "changed"
        assert (tmp_path / "a/data").stat().st_size == 7
        assert (tmp_path / "old/data").stat().st_size == 4096


def test_what_was_put_back_is_called_otherwise_when_it_is_moved_again(tmp_path: Path) -> None:
    """A second sidecar that looked at it the first time can't act on it the second time, where there are no locks."""
    make_folder(tmp_path, "a")
    seen: list[str] = []

    def look(step: str) -> None:
        if step == "moved out":
            seen.extend(entry.name for entry in (tmp_path / ".gcsidecar/evicting").glob("*/*"))
            (tmp_path / "a.lease").touch()

    with opened(tmp_path, step=look) as root:
        assert kept_for(root, "a") == "leased"
        (tmp_path / "a.lease").unlink()
        assert kept_for(root, "a") == "leased"
    assert [decode(entry) for entry in seen] == ["a", "a"]
    assert len(set(seen)) == 2


def test_what_is_condemned_bears_a_mark_on_its_inode(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    seen: list[int] = []

    def look(step: str) -> None:
        if step == "delete":
            entry = next((tmp_path / ".gcsidecar/condemned").glob("*/a%-*"))
            seen.append(entry.stat().st_mode & MARK)

    with opened(tmp_path, step=look) as root:
        evict(root, "a")
    assert seen == [MARK]


STEPS = ["open", "locked", "move out", "moved out", "looked again", "mark", "condemn", "delete", "deleted"]


@pytest.mark.parametrize("leased", [False, True])
@pytest.mark.parametrize("at", STEPS)
def test_a_crash_at_any_step_loses_nothing_leased_and_leaves_nothing_behind(
    tmp_path: Path, at: str, *, leased: bool
) -> None:
    make_folder(tmp_path, "a")

    def crash(step: str) -> None:
        if step == at:
            raise CrashError

    with opened(tmp_path, step=crash) as root, pytest.raises(CrashError):
        evict(root, "a")
    whole = at not in {"delete", "deleted"}
    if leased and whole:
        (tmp_path / "a.lease").touch()
    with opened(tmp_path) as root:
        assert leftovers(tmp_path) == []
        assert (tmp_path / "a").exists() == whole
        if whole:
            assert (tmp_path / "a/data").stat().st_size == 4096
            assert not (tmp_path / "a").stat().st_mode & MARK
            if leased:
                assert kept_for(root, "a") == "leased"


def test_a_second_sidecar_stands_by_and_takes_over(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with contextlib.ExitStack() as life_of_the_first:
        assert life_of_the_first.enter_context(opened(tmp_path)).custody.active
        with opened(tmp_path) as second:
            assert not second.custody.active
            assert kept_for(second, "a") == "standby"
            life_of_the_first.close()
            assert second.custody.activate({})
            evict(second, "a")


def test_a_read_only_folder_of_ours_is_evicted_and_a_kept_one_keeps_its_mode(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_folder(tmp_path, name).chmod(0o555)
    with opened(tmp_path, step=lambda step: (tmp_path / "b.lease").touch() if step == "moved out" else None) as root:
        assert kept_for(root, "b") == "leased"
        evict(root, "a")
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o555
    assert not (tmp_path / "a").exists()


def test_a_folder_with_a_mount_in_it_is_kept(tmp_path: Path, mounts: Mounts) -> None:
    mounts.mount(make_folder(tmp_path, "a") / "mnt", "-t", "tmpfs", "tmpfs")
    with opened(tmp_path) as root:
        assert kept_for(root, "a") == "mounted"


def test_the_state_directory_is_never_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / ".gcsidecar").symlink_to(elsewhere)
    with pytest.raises(StateDirectoryError, match="move it away"), opened(root):
        pass
    assert list(elsewhere.iterdir()) == []


def test_an_entry_says_where_it_belongs() -> None:
    for name in ("a", "a/b", "50%", "%2F", "a%2Fb/c"):
        assert decode(encode(name)) == name
        assert "/" not in encode(name)


def test_two_levels_down_a_folder_comes_back_to_its_place(tmp_path: Path) -> None:
    make_folder(tmp_path, "x/y")
    with opened(
        tmp_path, folders="*/*", step=lambda s: (tmp_path / "x/y.lease").touch() if s == "moved out" else None
    ) as root:
        assert kept_for(root, "x/y") == "leased"
        assert (tmp_path / "x/y/data").exists()
        (tmp_path / "x/y.lease").unlink()


def test_a_parked_lease_ends_by_both_clocks_only(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a")
    with opened(tmp_path, clock=clock) as root:
        slot = next((tmp_path / ".gcsidecar/evicting").iterdir())
        make_folder(tmp_path / ".gcsidecar/evicting" / slot.name, "a")
        (slot / "a/.lease").touch()
        root.custody.recover()
        assert root.custody.parked == {"a"}
        clock.now += 7 * 24 * 3600
        root.custody.recover()
        assert root.custody.parked == {"a"}, "a jump of the calendar's clock ends nothing"
        clock.mono += 25 * 3600
        root.custody.recover()
        assert root.custody.parked == frozenset()
        assert leftovers(tmp_path) == []


def test_a_lock_held_by_recovery_is_respected(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path) as root:
        slot = next((tmp_path / ".gcsidecar/condemned").iterdir())
        make_folder(slot, "b")
        fd = os.open(slot / "b", os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_SH)
        root.custody.recover()
        assert leftovers(tmp_path) == ["b"]
        os.close(fd)
        root.custody.recover()
        assert leftovers(tmp_path) == []

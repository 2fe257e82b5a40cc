"""A lease of our Python client on real directories: what it puts there, whom it waits for, and what it leaves."""

from __future__ import annotations

import copy
import fcntl
import os
import signal
import stat
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import gcsidecar
from children import in_child
from client.helpers import is_locked, leases, locked_by_another
from gcsidecar.client.acquiring import acquire
from gcsidecar.contract import MARK, decoded

if TYPE_CHECKING:
    from pathlib import Path

    from cache.conftest import MakeFilesystem, Mounts


def test_a_lease_is_a_locked_file_in_the_folder_until_the_block_ends(disk: Path) -> None:
    with gcsidecar.lease(disk / "a", purpose="a test") as folder:
        (file,) = (disk / "a").iterdir()
        assert file.name.startswith(".lease.")
        assert str(file) == folder.file
        holder = decoded(file.read_bytes())
        assert holder is not None
        assert (holder.purpose, holder.locked, holder.ttl_seconds) == ("a test", True, None)
        assert is_locked(file)
        assert is_locked(disk / "a")
    assert list((disk / "a").iterdir()) == []
    assert not is_locked(disk / "a")


def test_a_miss_is_told_apart_from_a_hit(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a") as folder:
        assert folder.created
    with gcsidecar.lease(tmp_path / "a") as folder:
        assert not folder.created


def test_a_lease_can_be_given_wherever_a_path_can(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a") as folder:
        assert os.fspath(folder) == folder.path == str(tmp_path / "a")
        assert os.listdir(folder) == [os.path.basename(folder.file)]


def test_the_example_in_its_docstring_works(tmp_path: Path) -> None:
    _, example, *_ = (gcsidecar.lease.__doc__ or "").split("\n\n")
    code = textwrap.dedent(example).replace("/cache/", f"{tmp_path}/")
    did: list[str] = []
    exec(code, {"gcsidecar": gcsidecar, "download_into": did.append, "use": did.append})
    assert did == [f"{tmp_path}/base-image"] * 2


@pytest.mark.parametrize("path", ["a", "./a", "b/../a", "a/", "a//."])
def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    with gcsidecar.lease(path) as folder:
        assert folder.path == str(tmp_path / "a")


def test_a_name_need_not_be_text(tmp_path: Path) -> None:
    path: Any = os.fsencode(tmp_path) + b"/\xe9\n"
    with gcsidecar.lease(path) as folder:
        assert len(leases(tmp_path / os.fsdecode(b"\xe9\n"))) == 1
        assert os.fsencode(folder.path) == path


def test_a_folder_that_is_missing_is_made_only_where_that_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(gcsidecar.FolderMissingError, match=r"a is not there"):
        gcsidecar.lease(tmp_path / "a", create=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    with gcsidecar.lease(tmp_path / "a", create=False) as folder:
        assert not folder.created


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_everybody_may_see_who_holds_a_folder_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        folder = gcsidecar.lease(tmp_path / "a")
    finally:
        os.umask(before)
    with folder:
        assert stat.S_IMODE(os.stat(folder.file).st_mode) == 0o644
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o777 & ~mask


def test_a_lease_that_is_released_twice_is_released_once(tmp_path: Path) -> None:
    folder = gcsidecar.lease(tmp_path / "a")
    others = gcsidecar.lease(tmp_path / "a")
    folder.release()
    numbers = [os.open(tmp_path, os.O_RDONLY) for _ in range(2)]  # the numbers that were the lease's
    folder.release()
    with others:
        assert leases(tmp_path / "a") == [tmp_path / "a" / os.path.basename(others.file)]
        for fd in numbers:
            os.close(fd)
    assert repr(folder) == f"<Lease on '{tmp_path}/a', released>"


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        gcsidecar.lease(tmp_path / "a").release()
    with pytest.raises(gcsidecar.FolderMissingError):
        gcsidecar.lease(tmp_path / "b", create=False)
    with locked_by_another(tmp_path / "a"), pytest.raises(gcsidecar.LeaseTimeoutError):
        gcsidecar.lease(tmp_path / "a", timeout=0.01)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_lease_moves_with_its_folder_and_ends_where_that_is(tmp_path: Path) -> None:
    folder = gcsidecar.lease(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").mkdir()
    assert len(leases(tmp_path / "b")) == 1
    folder.release()
    assert leases(tmp_path / "b") == []
    assert not is_locked(tmp_path / "b")


def test_a_lease_in_a_folder_that_may_not_be_written_any_more_ends_by_its_lock(common: Path, as_nobody: Any) -> None:
    def lease_and_release() -> int:
        with gcsidecar.lease(common / "a") as folder:
            (common / "a").chmod(0o555)
            child = os.fork()
            if child == 0:
                for fd in {*range(100)} - {folder.folder_fd, folder.lease_fd}:  # the answer's pipe, too
                    os.closerange(fd, fd + 1)
                signal.pause()
        return child

    child = as_nobody(lease_and_release)
    try:
        (file,) = leases(common / "a")
        assert not is_locked(file)
        assert not is_locked(common / "a")
    finally:
        os.kill(child, signal.SIGKILL)


def test_two_threads_have_two_leases(tmp_path: Path) -> None:
    both, found = threading.Barrier(2, timeout=30), []

    def work() -> None:
        with gcsidecar.lease(tmp_path / "a"):
            both.wait()
            found.append(len(leases(tmp_path / "a")))
            both.wait()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2, 2]
    assert leases(tmp_path / "a") == []


def test_of_many_who_want_a_folder_at_once_one_has_made_it(tmp_path: Path) -> None:
    start, held = threading.Barrier(8, timeout=30), []

    def work() -> None:
        start.wait()
        held.append(gcsidecar.lease(tmp_path / "a"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(folder.created for folder in held) == 1
    assert len(leases(tmp_path / "a")) == 8
    for folder in held:
        folder.release()


def test_whoever_has_locked_the_folder_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with locked_by_another(tmp_path / "a") as unlock:
        threading.Timer(0.1, unlock).start()
        began = time.monotonic()
        with gcsidecar.lease(tmp_path / "a") as folder:
            assert time.monotonic() - began >= 0.1
            assert not folder.created


def test_but_not_for_ever(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with locked_by_another(tmp_path / "a"):
        began = time.monotonic()
        with pytest.raises(gcsidecar.LeaseTimeoutError, match=r"no lease within 0.2 s: somebody has it locked"):
            gcsidecar.lease(tmp_path / "a", timeout=0.2)
        assert time.monotonic() - began >= 0.2
    assert list((tmp_path / "a").iterdir()) == []


def test_who_will_not_wait_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with locked_by_another(tmp_path / "a"), pytest.raises(gcsidecar.LeaseTimeoutError):
        gcsidecar.lease(tmp_path / "a", timeout=0)


def test_a_folder_that_was_replaced_while_its_lock_was_waited_for_is_let_go(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    def replace() -> None:
        (tmp_path / "a").rename(tmp_path / "old")
        (tmp_path / "a").mkdir()

    with locked_by_another(tmp_path / "a"):
        threading.Timer(0.1, replace).start()
        with gcsidecar.lease(tmp_path / "a"):
            assert len(leases(tmp_path / "a")) == 1
        assert leases(tmp_path / "old") == []


def test_a_condemned_folder_is_a_miss_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o755 | MARK)
    with pytest.raises(gcsidecar.LeaseTimeoutError, match="moved or deleted all the time"):
        gcsidecar.lease(tmp_path / "a", timeout=0.05)
    assert list((tmp_path / "a").iterdir()) == []


def test_a_deleted_folder_is_a_miss_even_where_its_path_is_a_mount_of_it(tmp_path: Path, mounts: Mounts) -> None:
    (tmp_path / "source/a").mkdir(parents=True)
    here = mounts.mount(tmp_path / "here", "--bind", str(tmp_path / "source/a"))
    gcsidecar.lease(here).release()
    (tmp_path / "source/a").rmdir()
    with pytest.raises(gcsidecar.LeaseTimeoutError, match="moved or deleted all the time"):
        gcsidecar.lease(here, timeout=0.05)


def test_a_folder_that_slips_away_and_comes_back_is_still_a_new_one(tmp_path: Path) -> None:
    """It is moved before its maker has locked it, and moved back before he looks again."""

    def lease() -> bool:
        import sys  # noqa: PLC0415  in a child: hooks can't be taken off

        away = [tmp_path / "b"]

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "fcntl.flock" and away and not away[0].exists():
                (tmp_path / "a").rename(away[0])
            elif event == "open" and arguments[0] == "a" and away and away[0].exists():
                assert not is_locked(away[0])
                away.pop().rename(tmp_path / "a")

        sys.addaudithook(hook)
        with gcsidecar.lease(tmp_path / "a") as folder:
            return folder.created and not away

    assert in_child(lease)


def test_a_folder_made_for_a_lease_that_is_not_had_is_no_hit_for_the_next(tmpfs: MakeFilesystem) -> None:
    root = tmpfs(1 << 20, "nr_inodes=2")  # for the folder, and none for the lease
    with pytest.raises(gcsidecar.LeaseError, match="No space left on device; there is no room for a lease file"):
        gcsidecar.lease(root / "a")
    assert list(root.iterdir()) == []


def test_a_lasting_lease_is_a_file_alone_and_stays_when_its_maker_goes(tmp_path: Path) -> None:
    def lease() -> None:
        acquire(tmp_path / "a", lasting=True, ttl=60).let_go()

    in_child(lease)
    (file,) = leases(tmp_path / "a")
    holder = decoded(file.read_bytes())
    assert holder is not None
    assert (holder.locked, holder.ttl_seconds) == (False, 60)
    assert not is_locked(file)


def test_a_lasting_lease_without_a_ttl_is_a_bare_one(tmp_path: Path) -> None:
    with acquire(tmp_path / "a", lasting=True) as folder:
        assert (folder.locked, folder.ttl_seconds) == (False, None)
    assert leases(tmp_path / "a") == []


def test_a_lease_is_not_copied(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a") as folder, pytest.raises(TypeError, match="send its path"):
        copy.copy(folder)


@pytest.mark.parametrize("wrong", [{"ttl": 0}, {"ttl": -1}, {"ttl": float("nan")}, {"ttl": float("inf")}])
def test_a_ttl_is_above_0(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a ttl of"):
        gcsidecar.lease(tmp_path / "a", ttl=wrong["ttl"])


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_is_not_below_0(tmp_path: Path, timeout: float) -> None:
    with pytest.raises(ValueError, match="a timeout of"):
        gcsidecar.lease(tmp_path / "a", timeout=timeout)


def test_a_purpose_is_cut_to_what_fits(tmp_path: Path) -> None:
    with gcsidecar.lease(tmp_path / "a", purpose="\U0001f600" * 5000) as folder, open(folder.file, "rb") as file:
        holder = decoded(file.read())
    assert holder is not None
    assert holder.purpose == "\U0001f600" * 200


def test_two_shared_locks_do_not_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    fd = os.open(tmp_path / "a", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)  # as `flock -s` has it
    with gcsidecar.lease(tmp_path / "a", timeout=0):
        pass
    os.close(fd)

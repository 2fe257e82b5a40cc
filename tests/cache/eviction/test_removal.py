from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import tempfile
import threading
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from cache.trees import CANARY, NOT_UTF8, Tree, chain, few_descriptors, fill, grow, opened, snapshot, trees
from gcsidecar.cache.descent import HELD_LEVELS
from gcsidecar.cache.eviction.removal import Removal, RemovalFailure, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534
GONE = Removal(entries=0, failures=(), failed=0, complete=True, stopped=False)


@pytest.fixture
def outside(disk: Path) -> Iterator[Path]:
    """A folder beside the tree, in which nothing may change."""
    folder = disk / "outside"
    (folder / "sub").mkdir(parents=True)
    (folder / "canary").write_text(CANARY)
    (folder / "sub" / "canary").write_text(CANARY)
    before = snapshot(folder)
    yield folder
    assert snapshot(folder) == before


def remove(top: Path, **options: Any) -> Removal:
    with opened(top.parent) as parent_fd:
        return remove_tree(parent_fd, top.name, **options)


def deleted(entries: int) -> Removal:
    return Removal(entries=entries, failures=(), failed=0, complete=True, stopped=False)


def test_all_kinds_of_things_go_and_what_they_point_to_stays(disk: Path, outside: Path) -> None:
    top = disk / "top"
    (top / "sub" / "empty").mkdir(parents=True)
    (top / "file").write_text("x")
    (top / "sub" / NOT_UTF8).write_text("x")
    (top / ("n" * 255)).mkdir()
    (top / "to folder").symlink_to(outside)
    (top / "to root").symlink_to("/")
    (top / "sub" / "to canary").symlink_to(outside / "canary")
    (top / "dangling").symlink_to("nowhere")
    (top / "loop").symlink_to(".")
    (top / "hard").hardlink_to(outside / "canary")
    os.mkfifo(top / "fifo")
    with opened(top) as top_fd, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{top_fd}/socket")
    assert remove(top) == deleted(14)
    assert not os.path.lexists(top)
    (outside / "canary").touch()  # its link count is as before, its contents the fixture looks at


@pytest.mark.usefixtures("root_rights")
def test_devices_are_unlinked(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    os.mknod(tmp_path / "top" / "null", 0o600 | 0o020000, os.makedev(1, 3))
    os.mknod(tmp_path / "top" / "loop", 0o600 | 0o060000, os.makedev(7, 200))
    assert remove(tmp_path / "top") == deleted(3)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_any_tree_goes_whole_and_nothing_outside_of_it(tmp_path: Path, tree: Tree) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as here:
        top, outside = Path(here) / "top", Path(here) / "outside"
        grow(tree, top, outside)
        before = snapshot(outside)
        entries = len(snapshot(top)) + 1
        assert remove(top) == deleted(entries)
        assert not os.path.lexists(top)
        assert snapshot(outside) == before


def test_a_tree_that_is_gone_is_fine(tmp_path: Path) -> None:
    assert remove(tmp_path / "top") == GONE


def test_a_name_that_is_no_directory_is_unlinked(disk: Path, outside: Path) -> None:
    (disk / "link").symlink_to(outside)
    (disk / "file").touch()
    assert remove(disk / "link") == deleted(1)
    assert remove(disk / "file") == deleted(1)
    assert sorted(os.listdir(disk)) in (["outside"], ["lost+found", "outside"])


def test_a_tree_5000_deep_takes_few_descriptors(disk: Path) -> None:
    with chain(disk / "top", 5000), opened(disk) as parent_fd, few_descriptors():
        assert remove_tree(parent_fd, "top") == deleted(10_001)


@pytest.mark.parametrize(("files", "folders"), [(40_000, 0), (0, 20_000)])
def test_memory_is_bounded_whatever_a_directory_holds(tmpfs: Any, files: int, folders: int) -> None:
    top = tmpfs() / "top"
    fill(top, files, folders)
    with opened(top.parent) as parent_fd:
        tracemalloc.start()
        removal = remove_tree(parent_fd, "top")
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert removal == deleted(files + folders + 1)
    assert peak_bytes < 200_000


def test_wide_and_deep_levels_go_whole(disk: Path) -> None:
    deep = disk / "top" / "/".join("d" * (HELD_LEVELS + 4))
    for folder in [deep, *deep.parents][: HELD_LEVELS + 5]:
        fill(folder, files=150, folders=100)
    assert remove(disk / "top") == deleted(251 * (HELD_LEVELS + 5))


class TestWithAnOpenDirectory:
    def test_the_lock_on_it_is_held_to_the_end(self, disk: Path) -> None:
        fill(disk / "top", files=200, folders=3)
        with opened(disk) as parent_fd, opened(disk / "top") as top_fd, opened(disk / "top") as other_fd:
            fcntl.flock(top_fd, fcntl.LOCK_EX)

            def locked() -> bool:
                with pytest.raises(BlockingIOError):
                    fcntl.flock(other_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False

            assert remove_tree(parent_fd, "top", dir_fd=top_fd, stop=locked) == deleted(204)
            locked()
            assert os.fstat(top_fd).st_nlink == 0

    @pytest.mark.usefixtures("outside")
    def test_another_one_of_its_name_is_not_touched(self, disk: Path) -> None:
        fill(disk / "top", files=3)
        with opened(disk) as parent_fd, opened(disk / "top") as top_fd:
            removal = remove_tree(parent_fd, "outside", dir_fd=top_fd)
        reason = "it was moved or replaced while it was being deleted"
        assert removal == Removal(0, (RemovalFailure(".", errno.ESTALE, reason),), 1, complete=False, stopped=False)
        assert len(os.listdir(disk / "top")) == 3

    def test_it_may_be_moved_away_before(self, disk: Path) -> None:
        fill(disk / "top", files=3)
        with opened(disk) as parent_fd, opened(disk / "top") as top_fd:
            (disk / "top").rename(disk / "elsewhere")
            assert remove_tree(parent_fd, "top", dir_fd=top_fd) == GONE
        assert len(os.listdir(disk / "elsewhere")) == 3

    def test_it_may_have_been_opened_with_o_path(self, disk: Path) -> None:
        fill(disk / "top", files=3)
        with opened(disk) as parent_fd:
            top_fd = os.open("top", os.O_PATH, dir_fd=parent_fd)
            assert remove_tree(parent_fd, "top", dir_fd=top_fd) == deleted(4)
            os.close(top_fd)


class TestStopping:
    def test_it_stops_when_told_and_goes_on_when_called_again(self, disk: Path) -> None:
        fill(disk / "top" / "sub", files=300)
        answers = iter([False, False, False, True])
        first = remove(disk / "top", stop=lambda: next(answers))
        assert (first.complete, first.stopped, first.failed) == (False, True, 0)
        assert 0 < first.entries < 300
        second = remove(disk / "top")
        assert (second.complete, first.entries + second.entries) == (True, 302)

    def test_it_is_asked_before_every_64_entries(self, disk: Path) -> None:
        fill(disk / "top", files=1000)
        left: list[int] = []

        def look() -> bool:
            left.append(len(os.listdir(disk / "top")))
            return False

        remove(disk / "top", stop=look)
        assert left[0] == 1000
        assert max(before - after for before, after in pairwise(left)) <= 64

    def test_told_at_once_it_deletes_nothing(self, disk: Path) -> None:
        fill(disk / "top", files=3)
        assert remove(disk / "top", stop=lambda: True).entries == 0
        assert len(os.listdir(disk / "top")) == 3


class TestMounts:
    @pytest.mark.parametrize("kind", ["tmpfs", "bind", "over"])
    def test_what_is_mounted_inside_stays_and_the_rest_goes(
        self, mounts: Any, disk: Path, outside: Path, kind: str
    ) -> None:
        fill(disk / "top" / "sub", files=3)
        (disk / "top" / "a").mkdir()
        target = disk / "top" / "sub" / kind
        if kind == "tmpfs":
            mounts.mount(target, "-t", "tmpfs", "tmpfs")
            (target / "canary").write_text(CANARY)
        elif kind == "bind":
            mounts.mount(target, "--bind", str(outside))
            assert target.stat().st_dev == target.parent.stat().st_dev
        else:
            target.touch()
            mounts.mount_over(target, "--bind", str(outside / "canary"))
        removal = remove(disk / "top")
        code = errno.EBUSY if kind == "over" else errno.EXDEV
        assert [(failure.path, failure.errno) for failure in removal.failures] == [(f"sub/{kind}", code)]
        assert (removal.complete, removal.failed, removal.entries) == (False, 1, 4)
        assert (target if kind == "over" else target / "canary").read_text() == CANARY

    def test_a_mount_over_the_tree_itself_is_not_entered(self, mounts: Any, disk: Path, outside: Path) -> None:
        mounts.mount(disk / "top", "--bind", str(outside))
        removal = remove(disk / "top")
        assert [str(failure) for failure in removal.failures] == [".: another filesystem is mounted there"]

    def test_an_overlay_goes_whole_though_its_device_numbers_differ(
        self, mounts: Any, tmpfs: Any, tmp_path: Path
    ) -> None:
        lower, upper = tmpfs(), tmpfs()
        fill(lower / "top" / "sub" / "deeper", files=70)
        fill(upper / "upper" / "top" / "sub", files=3)
        (upper / "work").mkdir()
        layers = f"lowerdir={lower},upperdir={upper}/upper,workdir={upper}/work"
        merged = mounts.mount(tmp_path / "merged", "-t", "overlay", "-o", layers, "overlay")
        assert remove(merged / "top") == deleted(76)
        assert (lower / "top" / "sub" / "deeper" / "file-0").exists()


class TestPermissions:
    def test_what_is_immutable_stays_and_the_rest_goes(self, ext4: Any, immutable: Any) -> None:
        root = ext4(16 << 20)
        fill(root / "top" / "sub", files=100, folders=3)
        fill(root / "top" / "fixed", files=2)
        immutable(root / "top" / "sub" / "file-7", "i")
        immutable(root / "top" / "fixed", "a")
        removal = remove(root / "top")
        assert {(failure.path, failure.errno) for failure in removal.failures} == {
            (path, errno.EPERM) for path in ("sub/file-7", "fixed/file-0", "fixed/file-1")
        }
        assert (removal.complete, removal.failed, removal.entries) == (False, 3, 102)

    def test_only_the_first_failures_are_told_and_all_are_counted(self, ext4: Any, immutable: Any) -> None:
        root = ext4(16 << 20)
        fill(root / "top", files=200)
        immutable(root / "top", "a")
        removal = remove(root / "top")
        assert (removal.failed, len(removal.failures), removal.entries) == (200, 10, 0)

    @pytest.mark.parametrize("mode", [0, 0o555, 0o111, 0o444, 0o300])
    @pytest.mark.parametrize("top_mode", [0o755, 0o555, 0])
    def test_own_directories_are_made_writable_on_the_way(
        self, disk: Path, as_nobody: Any, mode: int, top_mode: int
    ) -> None:
        top = disk / "top"
        fill(top / "sub" / "deeper", files=3, folders=1)
        for folder in (disk, top, top / "sub", top / "sub" / "deeper", top / "sub" / "deeper" / "folder-0"):
            os.chown(folder, NOBODY, NOBODY)
            folder.chmod(mode)
        top.chmod(top_mode)
        disk.chmod(0o755)
        with opened(disk) as parent_fd:
            assert as_nobody(lambda: remove_tree(parent_fd, "top")) == deleted(7)
        assert not top.exists()

    def test_an_own_locked_tree_may_be_given_open(self, tmp_path: Path, as_nobody: Any) -> None:
        fill(tmp_path / "top", files=3)
        os.chown(tmp_path, NOBODY, NOBODY)
        os.chown(tmp_path / "top", NOBODY, NOBODY)
        with opened(tmp_path) as parent_fd, opened(tmp_path / "top") as top_fd:
            (tmp_path / "top").chmod(0)
            assert as_nobody(lambda: remove_tree(parent_fd, "top", dir_fd=top_fd)) == deleted(4)

    def test_what_others_own_stays_as_it_was_and_the_rest_goes(self, tmp_path: Path, as_nobody: Any) -> None:
        top = tmp_path / "top"
        fill(top / "foreign", files=2)
        fill(top / "own", files=2)
        for name, mode in (("locked", 0o700), ("empty", 0o755)):
            (top / name).mkdir()
            (top / name).chmod(mode)
        (top / "locked" / "file").touch()
        for folder in (tmp_path, top, top / "own"):
            os.chown(folder, NOBODY, NOBODY)
        (top / "to foreign").symlink_to("foreign")
        with opened(tmp_path) as parent_fd:
            removal: Removal = as_nobody(lambda: remove_tree(parent_fd, "top"))
        failures = {(failure.path, failure.errno) for failure in removal.failures}
        assert failures == {(path, errno.EACCES) for path in ("foreign/file-0", "foreign/file-1", "locked")}
        assert (removal.failed, removal.entries, removal.complete) == (3, 5, False)
        assert (top / "locked").stat().st_mode & 0o777 == 0o700

    def test_an_empty_locked_directory_of_others_goes(self, tmp_path: Path, as_nobody: Any) -> None:
        (tmp_path / "top" / "sub").mkdir(parents=True)
        (tmp_path / "top" / "sub").chmod(0)
        for folder in (tmp_path, tmp_path / "top"):
            os.chown(folder, NOBODY, NOBODY)
        with opened(tmp_path) as parent_fd:
            assert as_nobody(lambda: remove_tree(parent_fd, "top")) == deleted(2)

    def test_a_tree_that_may_not_be_removed_from_its_place_is_emptied(self, tmp_path: Path, as_nobody: Any) -> None:
        fill(tmp_path / "top", files=2)
        os.chown(tmp_path / "top", NOBODY, NOBODY)
        with opened(tmp_path) as parent_fd:
            removal: Removal = as_nobody(lambda: remove_tree(parent_fd, "top"))
        assert removal.failures == (RemovalFailure(".", errno.EACCES, os.strerror(errno.EACCES)),)
        assert (removal.entries, os.listdir(tmp_path / "top")) == (2, [])


class TestWhileOthersWrite:
    def test_entries_that_come_meanwhile_go_too(self, disk: Path) -> None:
        fill(disk / "top" / "sub", files=100)
        late = iter(range(20))

        def write() -> bool:
            if (disk / "top" / "sub").exists() and (number := next(late, None)) is not None:
                (disk / "top" / "sub" / f"late-{number}").touch()
            return False

        removal = remove(disk / "top", stop=write)
        assert (removal.complete, removal.failed) == (True, 0)

    def test_a_directory_that_never_gets_empty_is_given_up(self, disk: Path) -> None:
        fill(disk / "top" / "sub", files=1)
        (disk / "top" / "other").mkdir()
        asked = 0

        def write() -> bool:
            nonlocal asked
            asked += 1
            (disk / "top" / "sub").mkdir(exist_ok=True)
            (disk / "top" / "sub" / f"late-{asked}").touch()
            return False

        removal = remove(disk / "top", stop=write)
        assert [(failure.path, failure.errno) for failure in removal.failures] == [("sub", errno.ENOTEMPTY)]
        assert not removal.complete
        assert asked < 1000
        assert not (disk / "top" / "other").exists()

    def test_two_at_once_both_succeed(self, disk: Path) -> None:
        for number in range(30):
            fill(disk / "top" / f"sub-{number}" / "deeper", files=40)
        results: list[Removal] = []
        threads = [threading.Thread(target=lambda: results.append(remove_tree(fd, "top"))) for _ in range(2)]
        with opened(disk) as fd:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert [(removal.complete, removal.failures) for removal in results] == [(True, ())] * 2
        assert sum(removal.entries for removal in results) == 30 * 42 + 1


def steps_of(top: Path, make: Callable[[], None]) -> int:
    """How many steps the deletion of such a tree takes."""
    asked = 0

    def count() -> bool:
        nonlocal asked
        asked += 1
        return False

    make()
    remove(top, stop=count)
    return asked


def at_step(number: int, act: Callable[[], None]) -> Callable[[], bool]:
    asked = 0

    def step() -> bool:
        nonlocal asked
        asked += 1
        if asked == number:
            act()
        return False

    return step


def clear(*paths: Path) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


class TestSwaps:
    """Somebody changes the tree between any two steps of its deletion."""

    def make(self, top: Path) -> None:
        clear(top, top.parent / "away")
        fill(top / "a" / "b" / "c", files=2)
        fill(top / "a" / "z", files=2)
        fill(top / "y", files=2)

    @pytest.mark.parametrize("victim", [".", "a", "a/b", "a/b/c", "a/z", "y"])
    @pytest.mark.parametrize("by", ["link", "folder", "file", "nothing"])
    def test_a_directory_swapped_at_any_step_leads_nowhere(self, tmp_path: Path, victim: str, by: str) -> None:
        top, away, canary = tmp_path / "top", tmp_path / "away", tmp_path / "outside"
        fill(canary / "b" / "c", files=2)
        fill(canary / "z", files=2)
        before = snapshot(canary)

        def swap() -> None:
            if not (top / victim).is_dir():
                return
            (top / victim).rename(away)
            if by == "link":
                (top / victim).symlink_to(canary)
            elif by == "folder":
                fill(top / victim, files=1)
            elif by == "file":
                (top / victim).touch()

        for number in range(1, steps_of(top, lambda: self.make(top)) + 1):
            self.make(top)
            removal = remove(top, stop=at_step(number, swap))
            assert snapshot(canary) == before
            assert removal.complete == (not os.path.lexists(top))
            assert removal.complete or victim == "." or removal.failed

    @pytest.mark.parametrize("depth", [1, *range(HELD_LEVELS - 1, HELD_LEVELS + 4), HELD_LEVELS + 6])
    def test_a_directory_moved_out_at_any_step_is_not_left_by_its_new_parent(self, tmp_path: Path, depth: int) -> None:
        """The way up from deep below is `..`, and by then that may be anywhere."""
        top, canary = tmp_path / "top", tmp_path / "outside"
        deepest = top / "/".join("d" * (HELD_LEVELS + 6))
        moving = top / "/".join("d" * depth)

        def make() -> None:
            clear(top, canary)
            for folder in [deepest, *deepest.parents][: HELD_LEVELS + 7]:
                fill(folder, files=1, folders=1)
            fill(canary, files=3, folders=2)

        def move() -> None:
            if moving.is_dir():
                moving.rename(canary / "d")

        for number in range(1, steps_of(top, make) + 1):
            make()
            removal = remove(top, stop=at_step(number, move))
            assert {"file-0", "file-1", "file-2", "folder-0", "folder-1"} <= set(os.listdir(canary))
            assert removal.complete == (not top.exists())
            assert removal.complete or removal.failed

    def test_a_thread_that_swaps_a_directory_for_a_link_all_the_time_gets_nothing_deleted(
        self, disk: Path, outside: Path
    ) -> None:
        top = disk / "top"
        done = threading.Event()
        swaps = 0

        def swap_for_ever() -> None:
            nonlocal swaps
            link = disk / "link"
            while not done.is_set():
                try:
                    (top / "sub").rename(disk / "away")
                    link.symlink_to(outside)
                    link.rename(top / "sub")
                    (top / "sub").unlink()
                    (disk / "away").rename(top / "sub")
                    swaps += 1
                except OSError:  # it was deleted in between
                    link.unlink(missing_ok=True)
                    shutil.rmtree(disk / "away", ignore_errors=True)

        swapper = threading.Thread(target=swap_for_ever)
        with opened(disk) as parent_fd:
            swapper.start()
            try:
                while swaps < 300:
                    fill(disk / "new" / "sub", files=70, folders=5)
                    fill(disk / "new" / "other", files=70, folders=5)
                    (disk / "new").rename(top)
                    while not remove_tree(parent_fd, "top").complete:
                        pass
            finally:
                done.set()
                swapper.join()


def test_directories_that_list_badly_are_read_again(tmp_path: Path) -> None:
    """Where nothing more comes, passes end; what came between the last reading and the end gets another one."""
    fill(tmp_path / "top", files=1)
    removal = remove(tmp_path / "top", stop=at_step(2, (tmp_path / "top" / "late").touch))
    assert removal == deleted(3)

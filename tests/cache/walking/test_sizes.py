from __future__ import annotations

import errno
import os
import subprocess
import tempfile
import tracemalloc
from fractions import Fraction
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from cache.trees import NOT_UTF8, Tree, chain, few_descriptors, fill, grow, opened, trees
from gcsidecar.cache.descent import HELD_LEVELS
from gcsidecar.cache.walking.sizes import TreeSize, measure, walk

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY = 65534
LONG_AGO = 1_000_000_000.0


def size_of(top: Path, *, atime: bool = False) -> TreeSize:
    with opened(top.parent) as parent_fd:
        return measure(parent_fd, top.name, atime=atime)


def test_it_is_what_du_says(disk: Path) -> None:
    top = disk / "top"
    (top / "sub" / "deeper").mkdir(parents=True)
    (top / "sub" / "file").write_bytes(b"x" * 10_000)
    (top / "sub" / "deeper" / NOT_UTF8).write_bytes(b"x" * 300_000)
    (top / "hard").hardlink_to(top / "sub" / "file")
    (top / "hole").touch()
    os.truncate(top / "hole", 1 << 30)
    du = subprocess.run(["du", "-sxB1", "--", str(top)], capture_output=True, text=True, check=True)
    inodes = subprocess.run(["du", "-sx", "--inodes", "--", str(top)], capture_output=True, text=True, check=True)
    size = size_of(top)
    assert size.disk_bytes == int(du.stdout.split()[0])
    assert size.inodes == int(inodes.stdout.split()[0]) == 6
    assert size.apparent_bytes == 10_000 + 300_000 + (1 << 30)
    assert (size.entries, size.obstacle, size.unreadable) == (7, None, 0)


def test_a_hard_link_counts_by_its_share(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "file").write_bytes(b"x" * 8192)
    empty = size_of(tmp_path / "two")
    (tmp_path / "two" / "file").hardlink_to(tmp_path / "one" / "file")
    one, two = size_of(tmp_path / "one"), size_of(tmp_path / "two")
    assert one.disk_bytes == two.disk_bytes == empty.disk_bytes + 4096
    assert one.apparent_bytes == 4096
    assert size_of(tmp_path).inodes == 4


def reference(top: Path) -> tuple[Fraction, Fraction, Fraction, float, int]:
    blocks = inodes = apparent = Fraction(0)
    newest, entries = 0.0, 0
    paths = [os.fspath(top)]
    while paths:
        path = paths.pop()
        status = os.lstat(path)
        share = Fraction(1)
        if S_ISDIR(status.st_mode):
            paths += [os.path.join(path, name) for name in os.listdir(path)]
        else:
            share = Fraction(1, status.st_nlink)
            apparent += share * status.st_size
        if S_ISREG(status.st_mode):
            newest = max(newest, status.st_mtime)
        blocks += share * status.st_blocks * 512
        inodes += share
        entries += 1
    return blocks, inodes, apparent, newest, entries


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_any_tree_is_measured_as_by_a_plain_walk(tmp_path: Path, tree: Tree) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as here:
        top = Path(here) / "top"
        grow(tree, top, Path(here) / "outside")
        size = size_of(top)
        blocks, inodes, apparent, newest, entries = reference(top)
        kinds_of_links = 2  # each number of links is rounded down by itself
        assert 0 <= blocks - size.disk_bytes < kinds_of_links
        assert 0 <= inodes - size.inodes < kinds_of_links
        assert 0 <= apparent - size.apparent_bytes < kinds_of_links
        assert (size.newest_mtime, size.entries) == (newest, entries)
        assert (size.newest_atime, size.obstacle, size.unreadable) == (0.0, None, 0)


def test_the_newest_times_are_those_of_regular_files(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    for name, atime, mtime in (("old", 3000.5, 1000.25), ("sub/newer", 2000.0, 1500.5)):
        (top / name).touch()
        os.utime(top / name, (atime, mtime))
    (top / "link").symlink_to("old")
    os.mkfifo(top / "fifo")
    size = size_of(top, atime=True)
    assert (size.newest_mtime, size.newest_atime) == (1500.5, 3000.5)
    assert size_of(top).newest_atime == 0.0


@pytest.mark.parametrize("name", ["tmpfs", "bind", "over"])
def test_what_is_mounted_inside_is_an_obstacle_and_not_counted(mounts: Any, tmp_path: Path, name: str) -> None:
    top, elsewhere = tmp_path / "top", tmp_path / "elsewhere"
    (top / "sub" / "tmpfs").mkdir(parents=True)
    (top / "sub" / "bind").mkdir()
    (top / "sub" / "over").touch()
    before = size_of(top)
    elsewhere.mkdir()
    (elsewhere / "big").write_bytes(b"x" * 1_000_000)
    target = top / "sub" / name
    if name == "tmpfs":
        mounts.mount(target, "-t", "tmpfs", "tmpfs")
        (target / "big").write_bytes(b"x" * 1_000_000)
    else:
        mounts.mount_over(target, "--bind", str(elsewhere / "big" if name == "over" else elsewhere))
    size = size_of(top)
    assert size.obstacle == f"sub/{name}: another filesystem is mounted there"
    assert size.entries == before.entries - 1
    assert size.disk_bytes <= before.disk_bytes


def test_a_walk_in_an_overlay_meets_no_mounts_that_are_not_there(mounts: Any, tmpfs: Any, tmp_path: Path) -> None:
    room = tmpfs()
    for name in ("lower/top/sub", "upper/top", "work"):
        (room / name).mkdir(parents=True)
    (room / "lower" / "top" / "sub" / "below").write_text("x")
    (room / "upper" / "top" / "above").write_text("x")
    layers = f"lowerdir={room}/lower,upperdir={room}/upper,workdir={room}/work"
    merged = mounts.mount(tmp_path / "merged", "-t", "overlay", "-o", layers, "overlay")
    size = size_of(merged / "top")
    assert (size.entries, size.obstacle, size.unreadable) == (4, None, 0)


def test_a_tree_5000_deep_takes_few_descriptors(tmp_path: Path) -> None:
    with chain(tmp_path / "top", 5000), opened(tmp_path) as parent_fd, few_descriptors():
        size = measure(parent_fd, "top")
    assert (size.entries, size.inodes, size.obstacle, size.unreadable) == (10_001, 10_001, None, 0)


def test_wide_and_deep_levels_are_counted_whole(tmp_path: Path) -> None:
    deep = tmp_path / "top" / "/".join("d" * (HELD_LEVELS + 4))
    folders = [deep, *deep.parents][: HELD_LEVELS + 5]
    for folder in folders:
        fill(folder, files=7, folders=5)
        for number in range(5):
            (folder / f"folder-{number}" / "file").touch()
    with opened(tmp_path) as parent_fd:
        size = measure(parent_fd, "top")
    assert (size.entries, size.unreadable) == (len(folders) * (1 + 7 + 5 + 5), 0)


@pytest.mark.parametrize(("files", "folders"), [(40_000, 0), (0, 20_000)])
def test_memory_is_bounded_whatever_a_directory_holds(tmpfs: Any, files: int, folders: int) -> None:
    top = tmpfs() / "top"
    fill(top, files, folders)
    with opened(top.parent) as parent_fd:
        tracemalloc.start()
        size = measure(parent_fd, "top")
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert size.entries == files + folders + 1
    assert peak_bytes < 400_000


def test_a_walk_pauses_after_each_chunk(tmp_path: Path) -> None:
    fill(tmp_path / "top", files=100, folders=20)
    with opened(tmp_path) as parent_fd:
        pauses = list(walk(parent_fd, "top", chunk=10))
    assert len(pauses) >= 8
    assert pauses == sorted(set(pauses))
    assert max(later - earlier for earlier, later in zip([0, *pauses], pauses, strict=False)) <= 20


def test_a_walk_given_up_lets_go_of_its_descriptors(tmp_path: Path) -> None:
    with chain(tmp_path / "top", HELD_LEVELS + 4), opened(tmp_path) as parent_fd:
        steps = walk(parent_fd, "top", chunk=1)
        for _ in range(HELD_LEVELS + 6):
            next(steps)
        assert len(os.listdir("/proc/self/fd")) > 8
        steps.close()


def finish(steps: Any) -> TreeSize:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            size: TreeSize = end.value
            return size


def test_what_vanishes_meanwhile_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path / "top", files=2, folders=600)
    with opened(tmp_path) as parent_fd:
        steps = walk(parent_fd, "top", chunk=4)
        next(steps)
        subprocess.run(["find", str(tmp_path / "top"), "-mindepth", "1", "-delete"], check=True)
        size = finish(steps)
    assert size.entries < 10
    assert (size.obstacle, size.unreadable) == (None, 0)


def test_files_replaced_meanwhile_are_not_taken_for_mounts(tmp_path: Path) -> None:
    """They have other inodes than were listed, as all files have on some FUSE filesystems."""
    fill(tmp_path / "top", files=200)
    with opened(tmp_path) as parent_fd:
        steps = walk(parent_fd, "top", chunk=10)
        next(steps)
        for file in list((tmp_path / "top").iterdir()):
            (tmp_path / "new").touch()
            file.rename(tmp_path / f"old-{file.name}")
            (tmp_path / "new").rename(file)
        size = finish(steps)
    assert size.obstacle is None
    assert 190 <= size.entries <= 201


def test_a_folder_moved_from_under_a_walk_ends_there_and_says_so(tmp_path: Path) -> None:
    deep = tmp_path / "top" / "/".join("d" * (HELD_LEVELS + 4))
    for folder in [deep, *deep.parents][: HELD_LEVELS + 5]:
        fill(folder, files=1, folders=2)
    moved = tmp_path / "top" / "/".join("d" * (HELD_LEVELS + 2))
    with opened(tmp_path) as parent_fd:
        steps = walk(parent_fd, "top", chunk=1)
        while f"{deep}" not in [os.readlink(f"/proc/self/fd/{fd}") for fd in open_descriptors()]:
            next(steps)
        moved.rename(tmp_path / "elsewhere")
        size = finish(steps)
    assert size.obstacle is not None
    assert size.obstacle.endswith("it was moved while it was being measured")
    assert size.unreadable == 1


def open_descriptors() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")]


def test_access_times_of_directories_stay(tmpfs: Any) -> None:
    top = tmpfs(1 << 20, "strictatime") / "top"
    (top / "sub").mkdir(parents=True)
    (top / "sub" / "file").touch()
    for folder in (top, top / "sub"):
        os.utime(folder, (LONG_AGO, LONG_AGO))
    size_of(top)
    assert [folder.stat().st_atime for folder in (top, top / "sub")] == [LONG_AGO, LONG_AGO]


@pytest.mark.parametrize(
    ("name", "code"),
    [("missing", errno.ENOENT), ("file", errno.ENOTDIR), ("link", errno.ENOTDIR), ("..", errno.EXDEV)],
)
def test_a_tree_that_is_none_is_an_error(tmp_path: Path, name: str, code: int) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(".")
    with opened(tmp_path) as parent_fd, pytest.raises(OSError, match=os.strerror(code)):
        measure(parent_fd, name)


def make_own(path: Path, mode: int = 0o755) -> None:
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    path.chmod(mode)


def own_read_only(folder: Path) -> None:
    (folder / "sub" / "file").touch()
    make_own(folder / "sub", 0o555)


def own_locked(folder: Path) -> None:
    make_own(folder / "sub", 0)


def own_not_searchable(folder: Path) -> None:
    (folder / "sub" / "file").touch()
    make_own(folder / "sub", 0o400)


def own_with_foreign_file(folder: Path) -> None:
    make_own(folder / "sub")
    (folder / "sub" / "root's").touch(mode=0)


def foreign(folder: Path) -> None:
    (folder / "sub" / "file").touch()


def foreign_empty(folder: Path) -> None:
    (folder / "sub").chmod(0o755)


def foreign_writable(folder: Path) -> None:
    (folder / "sub" / "file").touch()
    (folder / "sub").chmod(0o777)


def foreign_locked(folder: Path) -> None:
    (folder / "sub").chmod(0o700)


def sticky_with_foreign_file(folder: Path) -> None:
    (folder / "sub" / "root's").touch()
    (folder / "sub").chmod(0o1777)


def sticky_with_foreign_folder(folder: Path) -> None:
    (folder / "sub" / "root's").mkdir(mode=0o755)
    (folder / "sub").chmod(0o1777)


def sticky_with_own_file(folder: Path) -> None:
    (folder / "sub" / "file").touch()
    make_own(folder / "sub" / "file", 0o644)
    (folder / "sub").chmod(0o1777)


NOT_OURS = "it belongs to another user, and we may not delete in it"
STICKY = "it belongs to another user, in a sticky directory that isn't ours"


@pytest.mark.parametrize(
    ("make", "obstacle", "unreadable"),
    [
        (own_read_only, None, 0),
        (own_locked, None, 1),
        (own_not_searchable, None, 1),
        (own_with_foreign_file, None, 0),
        (foreign, f"sub: {NOT_OURS}", 0),
        (foreign_empty, None, 0),
        (foreign_writable, None, 0),
        (foreign_locked, f"sub: {NOT_OURS}", 1),
        (sticky_with_foreign_file, f"sub/root's: {STICKY}", 0),
        (sticky_with_foreign_folder, f"sub/root's: {STICKY}", 0),
        (sticky_with_own_file, None, 0),
    ],
)
def test_an_ordinary_user_learns_what_it_could_not_delete(
    tmp_path: Path, as_nobody: Any, make: Callable[[Path], None], obstacle: str | None, unreadable: int
) -> None:
    (tmp_path / "top" / "sub").mkdir(parents=True)
    make(tmp_path / "top")
    make_own(tmp_path / "top")
    with opened(tmp_path) as parent_fd:
        size: TreeSize = as_nobody(lambda: measure(parent_fd, "top"))
    assert (size.obstacle, size.unreadable) == (obstacle, unreadable)


@pytest.mark.parametrize(("place", "path"), [("top", "."), ("top/sub", "sub")])
def test_an_immutable_directory_is_an_obstacle(ext4: Any, immutable: Any, place: str, path: str) -> None:
    root = ext4(16 << 20)
    (root / "top" / "sub").mkdir(parents=True)
    immutable(root / place, "i")
    assert size_of(root / "top").obstacle == f"{path}: it is immutable or append-only (chattr)"

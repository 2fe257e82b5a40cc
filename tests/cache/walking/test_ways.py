"""A tree is measured the same, whether the kernel tells of many entries at once or has to be asked for each."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import needs
from cache.filters import refuse_statx
from cache.trees import Tree, fill, grow, opened, trees
from children import in_child
from gcsidecar.cache.walking.bulk import Bulk
from gcsidecar.cache.walking.sizes import TreeSize
from gcsidecar.cache.walking.walk import Walk, Window

if TYPE_CHECKING:
    from collections.abc import Callable

WAYS: dict[str, Callable[[], Bulk | None]] = {
    "many, holding the lock": lambda: Bulk(ctypes.PyDLL, 1024),
    "many": lambda: Bulk(ctypes.CDLL, 256),
    "few": lambda: Bulk(ctypes.CDLL, 1),
    "each": lambda: None,
}
NO_WINDOW = Window(0.0, 0.0, lambda _name: False)


@pytest.fixture(params=WAYS)
def bulk(request: pytest.FixtureRequest) -> Bulk | None:
    return WAYS[request.param]()


def size_of(top: Path, bulk: Bulk | None, *, atime: bool = False, window: Window | None = None) -> TreeSize:
    with opened(top.parent) as parent_fd:
        walk = Walk(atime=atime, bulk=bulk, window=window)
        with closing(walk.begin(parent_fd, top.name)) as descent:
            while descent.levels:
                walk.step(descent, 1000)
    return TreeSize.of(walk.figures)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees, atime=st.booleans(), curious=st.booleans())
def test_all_ways_find_the_same(tmp_path: Path, tree: Tree, atime: bool, curious: bool) -> None:  # noqa: FBT001
    with tempfile.TemporaryDirectory(dir=tmp_path) as here:
        grow(tree, Path(here) / "top", Path(here) / "outside")
        sizes = [
            size_of(Path(here) / "top", make(), atime=atime, window=NO_WINDOW if curious else None)
            for make in WAYS.values()
        ]
    assert len(set(sizes)) == 1


def test_names_of_all_lengths_are_found(tmp_path: Path, bulk: Bulk | None) -> None:
    top = tmp_path / "top"
    top.mkdir()
    for length in range(1, 256):
        (top / ("n" * length)).write_bytes(b"x" * length)
    fill(top, files=2000)
    fill(top / "sub", files=9, folders=9)
    for number in range(300):  # in the order of their making, which tmpfs keeps: runs of one length, and ends of them
        (top / "sub" / f"{number}").touch()
        (top / "sub" / f"dir-{number}").mkdir()
    size = size_of(top, bulk)
    assert size.entries == 1 + 255 + 2000 + 1 + 9 + 9 + 600
    assert size.apparent_bytes == sum(range(256))


def test_names_of_unlike_lengths_are_told_apart(tmpfs: Any, bulk: Bulk | None) -> None:
    """The lengths of two records, 24 and 280 bytes, have the same lowest byte."""
    top = tmpfs() / "top"
    top.mkdir()
    for number in range(200):
        (top / f"{number:03}").touch()
        if number % 20 == 0:
            (top / f"{number:0255}").touch()
    assert size_of(top, bulk).entries == 1 + 200 + 10


@pytest.mark.parametrize("times", [(-5.5, 1.25), (1e9 + 0.123456789, 1e9 + 0.987654321), (1e9, 2e9)])
def test_the_newest_time_is_that_of_stat_to_the_bit(
    tmp_path: Path, bulk: Bulk | None, times: tuple[float, float]
) -> None:
    top = tmp_path / "top"
    fill(top, files=10)
    for number, mtime in enumerate(times):
        for name in (number, number + 2):
            os.utime(top / f"file-{name}", (7.5, mtime))
    for number in range(4, 10):
        os.utime(top / f"file-{number}", (7.5, 7.5))
    newest = max(path.stat().st_mtime for path in top.iterdir())
    (top / "link").symlink_to("file-0")
    os.utime(top / "link", (7.5, 3e9), follow_symlinks=False)
    assert size_of(top, bulk).newest_mtime == max(newest, 0.0)


def test_hard_links_count_by_their_share(tmp_path: Path, bulk: Bulk | None) -> None:
    top = tmp_path / "top"
    fill(top, files=5)
    (top / "file-0").write_bytes(b"x" * 9000)
    for number in range(256):  # the lowest byte of the count is 1 then
        (tmp_path / f"link-{number}").hardlink_to(top / "file-0")
    before = size_of(top, bulk)
    for number in range(256):
        (tmp_path / f"link-{number}").unlink()
    after = size_of(top, bulk)
    assert (before.inodes, after.inodes) == (5, 6)
    assert before.apparent_bytes == 9000 // 257
    assert after.disk_bytes - before.disk_bytes == pytest.approx(9000 * 256 / 257, abs=5000)


def test_a_file_that_something_is_mounted_over_is_an_obstacle(mounts: Any, tmp_path: Path, bulk: Bulk | None) -> None:
    top = tmp_path / "top"
    fill(top, files=20)
    (tmp_path / "other").write_bytes(b"x" * 100_000)
    mounts.mount_over(top / "file-7", "--bind", str(tmp_path / "other"))
    size = size_of(top, bulk)
    assert size.obstacle == "file-7: another filesystem is mounted there"
    assert (size.entries, size.apparent_bytes) == (20, 0)


@pytest.mark.parametrize("attribute", ["i", "a"])
def test_an_immutable_file_is_an_obstacle(ext4: Any, immutable: Any, bulk: Bulk | None, attribute: str) -> None:
    top = ext4(16 << 20) / "top"
    fill(top / "sub", files=20)
    immutable(top / "sub" / "file-13", attribute)
    size = size_of(top, bulk)
    assert size.obstacle == "sub/file-13: it is immutable or append-only (chattr)"
    assert size.entries == 22


def test_other_attributes_of_files_are_none(ext4: Any, immutable: Any, bulk: Bulk | None) -> None:
    top = ext4(16 << 20) / "top"
    fill(top, files=2)
    immutable(top / "file-1", "d")
    assert size_of(top, bulk).obstacle is None


def test_a_directory_that_tells_no_types_is_measured_too(ext4: Any, bulk: Bulk | None) -> None:
    top = ext4(16 << 20, "-O", "^filetype") / "top"
    fill(top / "sub", files=20, folders=3)
    (top / "sub" / "link").symlink_to("file-1")
    for size in (size_of(top, bulk), in_child(lambda: size_without_statx(errno.EPERM, top, bulk))):
        assert (size.entries, size.obstacle, size.unreadable) == (1 + 1 + 20 + 3 + 1, None, 0)


def test_a_change_in_the_window_is_seen_but_not_one_of_what_is_ignored(tmp_path: Path, bulk: Bulk | None) -> None:
    fill(tmp_path / "top" / "sub", files=3)
    for path in (tmp_path / "top" / "sub", *(tmp_path / "top" / "sub").iterdir()):
        os.utime(path, (50.0, 50.0))

    def changes(name: str) -> bool:
        os.utime(tmp_path / name, (100.0, 100.0))
        walk = Walk(atime=False, window=Window(90.0, 110.0, lambda name: name == "ignored"), bulk=bulk)
        with opened(tmp_path) as parent_fd, closing(walk.begin(parent_fd, "top")) as descent:
            while descent.levels:
                walk.step(descent, 10)
        os.utime(tmp_path / name, (50.0, 50.0))
        return walk.is_changing

    (tmp_path / "top" / "ignored").touch()
    (tmp_path / "top" / "sub" / "ignored").touch()
    os.utime(tmp_path / "top" / "sub" / "ignored", (50.0, 50.0))
    os.utime(tmp_path / "top" / "sub", (50.0, 50.0))
    names = ["top", "top/ignored", "top/sub", "top/sub/file-1", "top/sub/ignored"]
    assert [changes(name) for name in names] == [False, False, True, True, True]


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS])
def test_where_statx_is_refused_each_entry_is_asked_for(tmp_path: Path, code: int) -> None:
    fill(tmp_path / "top" / "sub", files=30)
    (tmp_path / "top" / "sub" / "file-1").write_bytes(b"x" * 5000)
    (tmp_path / "top" / "link").hardlink_to(tmp_path / "top" / "sub" / "file-1")
    expected = size_of(tmp_path / "top", None)

    # Not a fork: in this process `bulk_here` has been asked for before.
    run = subprocess.run(
        [sys.executable, "-c", _REFUSED, str(code), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == f"None {expected}"
    assert in_child(lambda: size_without_statx(code, tmp_path / "top", None)) == expected


def size_without_statx(code: int, top: Path, bulk: Bulk | None) -> TreeSize:
    refuse_statx(code)
    return size_of(top, bulk)


_REFUSED = """
import os, sys
from cache.filters import refuse_statx
refuse_statx(int(sys.argv[1]))
from gcsidecar.cache.walking.sizes import bulk_here, measure
print(bulk_here(), measure(os.open(sys.argv[2], os.O_RDONLY), "top"))
"""


def test_where_statx_fails_only_later_all_is_counted_all_the_same(tmp_path: Path) -> None:
    fill(tmp_path / "top", files=30)
    (tmp_path / "top" / "file-1").write_bytes(b"x" * 5000)
    expected = size_of(tmp_path / "top", None)
    bulk = Bulk(ctypes.CDLL, 256)
    assert size_of(tmp_path / "top", bulk) == expected
    assert in_child(lambda: size_without_statx(errno.EIO, tmp_path / "top", bulk)) == expected


def test_what_others_make_and_delete_meanwhile_does_no_harm(tmp_path: Path, bulk: Bulk | None) -> None:
    """A file can go, or become a directory, between its listing and the question for it."""
    top = tmp_path / "top"
    fill(top, files=50)
    writer = subprocess.Popen([sys.executable, "-c", _TURMOIL, str(top)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        for _ in range(300):
            size = size_of(top, bulk)
            assert 51 <= size.entries <= 51 + 40
            assert (size.obstacle, size.unreadable) == (None, 0)
    finally:
        writer.kill()
        writer.communicate()


def test_a_directory_that_was_a_file_for_a_moment_is_not_taken_for_one_that_is_closed_to_us(
    tmp_path: Path, bulk: Bulk | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (inner := tmp_path / "top/inner").mkdir(parents=True)
    look = os.stat

    def come_back(*args: Any, **keys: Any) -> os.stat_result:
        monkeypatch.undo()
        inner.unlink()
        inner.mkdir()
        return look(*args, **keys)

    with opened(tmp_path) as parent_fd:
        walk = Walk(atime=False, bulk=bulk)
        with closing(walk.begin(parent_fd, "top")) as descent:
            while not descent.here.waiting:
                walk.step(descent, 1000)
            inner.rmdir()
            inner.touch()
            monkeypatch.setattr(os, "stat", come_back)
            while descent.levels:
                walk.step(descent, 1000)
    assert walk.figures.unreadable == 0


_TURMOIL = """
import os, sys
os.chdir(sys.argv[1])
print(flush=True)
while True:
    for number in range(20):
        os.mknod(f"file {number}")
        os.mkdir(f"folder {number}")
    for number in range(20):
        os.unlink(f"file {number}")
        os.mkdir(f"file {number}")
        os.rmdir(f"folder {number}")
        os.mknod(f"folder {number}")
    for number in range(20):
        os.rmdir(f"file {number}")
        os.unlink(f"folder {number}")
"""


def test_the_kernel_is_asked_once_for_each_file(tmp_path: Path) -> None:
    strace = needs.program("strace")
    fill(tmp_path / "top", files=2000)
    counts = tmp_path / "counts"
    command = [strace, "-f", "-qq", "-e", "trace=%file,%desc", "-o", str(counts), sys.executable, "-c", _TRACED]
    subprocess.run([*command, str(tmp_path)], check=True, timeout=60)
    calls = counts.read_text().partition("BEGIN")[2].splitlines()
    asked = [call for call in calls if " statx(" in call]
    others = [call for call in calls if " statx(" not in call]
    assert 2000 <= len(asked) <= 2005
    assert len(others) <= 40


_TRACED = """
import os, sys
from gcsidecar.cache.walking.sizes import bulk_here, measure
parent_fd = os.open(sys.argv[1], os.O_RDONLY)
bulk_here()
os.access("BEGIN", os.F_OK)
assert measure(parent_fd, "top").entries == 2001
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gcsidecar.cache import syscalls
from gcsidecar.cache.syscalls import (
    FILESYSTEM_NAMES,
    filesystem_type,
    is_immutable,
    mount_id,
    mount_id_of,
    open_beneath,
    open_by_steps,
    rename_exclusive,
    rename_if_free,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

READ, LOOK, FOLDER = os.O_RDONLY, os.O_PATH, os.O_RDONLY | os.O_DIRECTORY
NOT_UTF8 = os.fsdecode(b"caf\xe9\n")

# name below the directory, flags, and what comes of it: what is found there, or an errno
OPENINGS: list[tuple[str, int, str | int]] = [
    ("file", READ, "file"),
    ("file", LOOK, "file"),
    ("file", FOLDER, errno.ENOTDIR),
    ("folder", FOLDER, "folder"),
    (".", FOLDER, "."),
    ("./folder/.", FOLDER, "folder"),
    ("folder/deep/file", READ, "folder/deep/file"),
    (f"folder/{NOT_UTF8}", READ, f"folder/{NOT_UTF8}"),
    ("missing", READ, errno.ENOENT),
    ("missing/file", READ, errno.ENOENT),
    ("file/below", READ, errno.ENOTDIR),
    ("", READ, errno.ENOENT),
    ("n" * 256, READ, errno.ENAMETOOLONG),
    ("link-to-file", READ, errno.ELOOP),
    ("link-to-folder", READ, errno.ELOOP),
    ("link-to-folder", FOLDER, errno.ENOTDIR),
    ("link-to-folder", LOOK, "link-to-folder"),
    ("link-to-folder/deep", FOLDER, errno.ELOOP),
    ("link-out", FOLDER, errno.ENOTDIR),
    ("link-out/canary", READ, errno.ELOOP),
    ("link-to-nothing", READ, errno.ELOOP),
    ("folder/../file", READ, errno.EXDEV),
    ("..", FOLDER, errno.EXDEV),
    ("../canary", READ, errno.EXDEV),
    ("/", FOLDER, errno.EXDEV),
    ("folder//deep", FOLDER, errno.EXDEV),
    ("folder/", FOLDER, errno.EXDEV),
]
MOUNTED_OPENINGS: list[tuple[str, int, str | int]] = [
    ("tmpfs", FOLDER, errno.EXDEV),
    ("tmpfs", LOOK, errno.EXDEV),
    ("tmpfs/inside", READ, errno.EXDEV),
    ("bind", FOLDER, errno.EXDEV),
    ("bind/deep/file", READ, errno.EXDEV),
    ("over", READ, errno.EXDEV),
    ("over", LOOK, errno.EXDEV),
    ("file", READ, "file"),
]
Opener = Any


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "folder" / "deep").mkdir(parents=True)
    for name in ("file", "folder/deep/file", f"folder/{NOT_UTF8}", "../canary"):
        (root / name).write_text("x")
    for name, target in (("file", "file"), ("folder", "folder"), ("nothing", "nothing")):
        (root / f"link-to-{name}").symlink_to(target)
    (root / "link-out").symlink_to("..")
    return root


@pytest.fixture
def tree_fd(tree: Path) -> Iterator[int]:
    fd = os.open(tree, FOLDER)
    yield fd
    os.close(fd)


@pytest.fixture
def no_more_descriptors() -> Iterator[None]:
    """None is left open by a test."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    # A thread that an earlier test has ended may still be letting go of its own.
    assert set(os.listdir("/proc/self/fd")) <= before


def outcome(opener: Opener, dir_fd: int, name: str, flags: int) -> tuple[int, int] | int | None:
    try:
        fd = opener(dir_fd, name, flags)
    except OSError as error:
        return error.errno if error.filename == name else None
    status = os.fstat(fd)
    assert not os.get_inheritable(fd)
    os.close(fd)
    return status.st_dev, status.st_ino


def identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


@pytest.mark.usefixtures("no_more_descriptors")
@pytest.mark.parametrize("opener", [open_beneath, open_by_steps])
@pytest.mark.parametrize(("name", "flags", "expected"), OPENINGS)
def test_what_is_beneath_is_opened_and_nothing_else(
    tree: Path, tree_fd: int, opener: Opener, name: str, flags: int, expected: str | int
) -> None:
    found = outcome(opener, tree_fd, name, flags)
    assert found == (expected if isinstance(expected, int) else identity(tree / expected))


@pytest.mark.parametrize("opener", [open_beneath, open_by_steps])
@pytest.mark.parametrize(("name", "flags", "expected"), MOUNTED_OPENINGS)
def test_no_mount_is_entered_not_even_one_of_the_same_filesystem(
    mounts: Any, tree: Path, tree_fd: int, opener: Opener, name: str, flags: int, expected: str | int
) -> None:
    mounts.mount(tree / "tmpfs", "-t", "tmpfs", "tmpfs")
    (tree / "tmpfs" / "inside").touch()
    mounts.mount(tree / "bind", "--bind", str(tree / "folder"))
    (tree / "over").touch()
    mounts.mount_over(tree / "over", "--bind", str(tree / "file"))
    found = outcome(opener, tree_fd, name, flags)
    assert found == (expected if isinstance(expected, int) else identity(tree / expected))


def test_the_kernel_call_and_the_steps_agree_on_errors_of_permission(tmp_path: Path, as_nobody: Any) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    (tmp_path / "root's").touch(mode=0o600)
    dir_fd = os.open(tmp_path, FOLDER)

    def look(opener: Opener) -> list[object]:
        cases = [("locked", FOLDER), ("locked/x", READ), ("root's", READ), (".", FOLDER | os.O_NOATIME)]
        return [outcome(opener, dir_fd, *case) for case in cases]

    by_kernel = as_nobody(lambda: look(open_beneath))
    assert by_kernel == [errno.EACCES, errno.EACCES, errno.EACCES, errno.EPERM]
    assert as_nobody(lambda: look(open_by_steps)) == by_kernel
    os.close(dir_fd)


@pytest.mark.parametrize("opener", [open_beneath, open_by_steps])
def test_a_file_is_made_with_its_mode_and_only_once(tree: Path, tree_fd: int, opener: Opener) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    os.close(opener(tree_fd, "folder/new", flags, 0o600))
    assert (tree / "folder" / "new").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        opener(tree_fd, "folder/new", flags, 0o600)


@pytest.mark.parametrize("opener", [open_beneath, open_by_steps])
def test_a_fifo_mounted_over_a_file_is_not_waited_for(mounts: Any, tree: Path, tree_fd: int, opener: Opener) -> None:
    os.mkfifo(tree / "fifo")
    (tree / "over").touch()
    mounts.mount_over(tree / "over", "--bind", str(tree / "fifo"))
    assert outcome(opener, tree_fd, "over", READ) == errno.EXDEV


@pytest.mark.parametrize("opener", [open_beneath, open_by_steps])
def test_a_name_with_nul_is_refused_not_cut(tree_fd: int, opener: Opener) -> None:
    with pytest.raises(ValueError, match=r"NUL|null"):
        opener(tree_fd, "file\0x", READ)
    with pytest.raises(ValueError, match=r"NUL|null"):
        rename_exclusive(tree_fd, "folder\0x", tree_fd, "new")


def test_where_a_filter_refuses_openat2_the_steps_are_taken(tree: Path) -> None:
    """In a child of its own, under a seccomp filter as old container runtimes have it."""
    code = f"""
import ctypes, errno, os, struct
def instruction(code, jt, jf, k):
    return struct.pack("=HBBI", code, jt, jf, k)
program = (instruction(0x20, 0, 0, 0)                # the number of the call
    + instruction(0x15, 0, 1, 437)                   # openat2?
    + instruction(0x06, 0, 0, 0x00050000 | errno.EPERM)
    + instruction(0x06, 0, 0, 0x7FFF0000))           # allowed
buffer = ctypes.create_string_buffer(program)
filter = struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(filter), 0, 0) == 0, os.strerror(ctypes.get_errno())
from gcsidecar.cache import syscalls
dir_fd = os.open({str(tree)!r}, os.O_RDONLY)
try:
    syscalls._openat2(dir_fd, "file", os.O_RDONLY, 0)
except PermissionError:
    print("refused")
os.close(syscalls.open_beneath(dir_fd, "folder/deep/file", os.O_RDONLY))
try:
    syscalls.open_beneath(dir_fd, "link-out/canary", os.O_RDONLY)
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["refused", "ELOOP"]


@pytest.mark.parametrize("rename", [rename_exclusive, rename_if_free])
class TestRename:
    def test_a_folder_gets_its_new_name(self, tree: Path, tree_fd: int, rename: Callable[..., None]) -> None:
        rename(tree_fd, "folder", tree_fd, NOT_UTF8)
        assert (tree / NOT_UTF8 / "deep" / "file").exists()
        assert not (tree / "folder").exists()

    @pytest.mark.parametrize("taken", ["file", "empty", "link-to-nothing", "folder"])
    def test_what_is_there_stays(self, tree: Path, tree_fd: int, rename: Callable[..., None], taken: str) -> None:
        (tree / "empty").mkdir()
        (tree / "moving").mkdir()
        before = identity(tree / taken)
        with pytest.raises(FileExistsError) as raised:
            rename(tree_fd, "moving", tree_fd, taken)
        assert (raised.value.filename, raised.value.filename2) == ("moving", taken)
        assert identity(tree / taken) == before
        assert (tree / "moving").exists()

    @pytest.mark.parametrize(
        ("source", "destination", "code"),
        [
            ("missing", "new", errno.ENOENT),
            ("folder", "folder/deep/new", errno.EINVAL),
            ("folder", "no/new", errno.ENOENT),
        ],
    )
    def test_what_can_not_be_is_refused(
        self, tree_fd: int, rename: Callable[..., None], source: str, destination: str, code: int
    ) -> None:
        with pytest.raises(OSError) as raised:  # noqa: PT011
            rename(tree_fd, source, tree_fd, destination)
        assert raised.value.errno == code

    def test_another_mount_is_another_device(
        self, mounts: Any, tree: Path, tree_fd: int, rename: Callable[..., None]
    ) -> None:
        mounts.mount(tree / "bind", "--bind", str(tree / "folder"))
        (tree / "moving").mkdir()
        with pytest.raises(OSError) as raised:  # noqa: PT011
            rename(tree_fd, "moving", tree_fd, "bind/moving")
        assert raised.value.errno == errno.EXDEV


def test_a_bind_mount_has_a_mount_id_of_its_own(mounts: Any, tree: Path, tree_fd: int) -> None:
    mounts.mount(tree / "bind", "--bind", str(tree / "folder"))
    assert (tree / "bind").stat().st_dev == tree.stat().st_dev
    assert mount_id_of(tree_fd, "bind") != mount_id(tree_fd) == mount_id_of(tree_fd, "folder")


def test_both_ways_to_ask_for_a_mount_agree(tree_fd: int) -> None:
    for path in ("/", "/proc", "/dev"):
        fd = os.open(path, LOOK)
        assert mount_id(fd) == syscalls._mount_id_from_proc(fd)
        os.close(fd)
    assert mount_id(tree_fd) == syscalls._mount_id_from_proc(tree_fd)


def test_a_name_that_is_not_there_has_no_mount(tree_fd: int) -> None:
    with pytest.raises(FileNotFoundError):
        mount_id_of(tree_fd, "missing")
    assert mount_id_of(tree_fd, "missing", missing=7) == 7


def test_a_closed_descriptor_is_an_error_everywhere(tree: Path) -> None:
    fd = os.open(tree, FOLDER)
    os.close(fd)
    for call in (mount_id, filesystem_type, is_immutable):
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            call(fd)


def test_filesystems_are_told_apart_by_name(tmpfs: Any, ext4: Any) -> None:
    for path, name in ((tmpfs(), "tmpfs"), (ext4(16 << 20), "ext4"), ("/proc", "proc")):
        fd = os.open(path, FOLDER)
        assert FILESYSTEM_NAMES[filesystem_type(fd)] == name
        os.close(fd)


@pytest.mark.parametrize("attribute", ["i", "a"])
def test_an_immutable_directory_is_known(ext4: Any, immutable: Any, attribute: str) -> None:
    root = ext4(16 << 20)
    (root / "fixed").mkdir()
    fd = os.open(root / "fixed", FOLDER)
    assert not is_immutable(fd)
    immutable(root / "fixed", attribute)
    assert is_immutable(fd)
    os.close(fd)

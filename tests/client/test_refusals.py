"""What a filesystem refuses is said with the path and what to do, as an error of ours; nothing is left behind."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING, Any

import pytest

import gcsidecar
from cache.helpers import make_folder
from children import in_child
from client.helpers import leases

if TYPE_CHECKING:
    from pathlib import Path

    from cache.conftest import MakeFilesystem, Mounts


def refused(path: Path, *, create: bool = True) -> str:
    with pytest.raises(gcsidecar.LeaseError) as error:
        gcsidecar.lease(path, create=create)
    assert type(error.value) is gcsidecar.LeaseError
    assert isinstance(error.value.__cause__, OSError)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o555])
def test_a_folder_without_the_rights_for_it(common: Path, as_nobody: Any, mode: int) -> None:
    (common / "a").mkdir()
    (common / "a").chmod(mode)
    assert "Permission denied; let this process run as the user who owns the cache" in as_nobody(
        lambda: refused(common / "a")
    )


def test_a_root_in_which_nothing_may_be_made(common: Path, as_nobody: Any) -> None:
    common.chmod(0o755)
    assert "Permission denied; let this process run" in as_nobody(lambda: refused(common / "a"))


def test_a_way_that_may_not_be_gone(common: Path, as_nobody: Any) -> None:
    (common / "closed").mkdir(mode=0o700)
    assert "Permission denied; let this process run" in as_nobody(lambda: refused(common / "closed/a"))


def test_a_filesystem_that_is_mounted_read_only(tmp_path: Path, mounts: Mounts) -> None:
    make_folder(tmp_path / "source", "a")
    readonly = mounts.mount(tmp_path / "readonly", "--bind", "-o", "ro", str(tmp_path / "source"))
    assert "Read-only file system; it is mounted read-only: mount it writable" in refused(readonly / "a")
    assert "Read-only file system" in refused(readonly / "b")


def test_a_full_disk(tmpfs: MakeFilesystem) -> None:
    root = tmpfs(1 << 20)
    (root / "a").mkdir()
    with (root / "filling").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, os.statvfs(root).f_bavail * os.statvfs(root).f_frsize)
    assert "No space left on device; there is no room for a lease file" in refused(root / "a")
    assert list((root / "a").iterdir()) == []


@pytest.mark.parametrize("missing", ["lease", "folder"])
def test_no_inodes(ext4: MakeFilesystem, missing: str) -> None:
    root = ext4(8 << 20, "-N", "16")
    (root / "a").mkdir()
    with pytest.raises(OSError, match="No space left"):  # noqa: PT012  until there are none
        for number in range(100):
            (root / f"{number}").touch()
    name = "a" if missing == "lease" else "b"
    assert "No space left on device; there is no room for a lease file" in refused(root / name)
    assert leases(root / "a") == []
    assert not (root / "b").exists()


def test_no_descriptors(tmp_path: Path) -> None:
    def with_few() -> str:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        held = []
        with pytest.raises(OSError, match="Too many"):  # noqa: PT012  until there are none
            while True:
                held.append(os.open("/", os.O_RDONLY))
        os.close(held.pop())
        said = refused(tmp_path / "a")
        for fd in held:
            os.close(fd)
        return said

    assert "raise its limit (ulimit -n)" in in_child(with_few)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert "File name too long" in refused(tmp_path / ("a" * 256))


def test_a_folder_that_its_maker_may_not_open(common: Path, as_nobody: Any) -> None:
    def with_a_strict_umask() -> str:
        os.umask(0o777)
        return refused(common / "a")

    assert "Permission denied" in as_nobody(with_a_strict_umask)
    assert list(common.iterdir()) == []


def test_a_lease_file_that_does_not_get_all_its_text(tmp_path: Path) -> None:
    def with_small_files() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        return refused(tmp_path / "a")

    assert "No space left on device" in in_child(with_small_files)
    assert list(tmp_path.iterdir()) == []

"""Which entries of a root are its folders."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder, opened
from gcsidecar.cache.folders.listing import FolderGlob
from gcsidecar.cache.spec import LEASE_PATTERNS
from gcsidecar.cache.use.lease import LeasePatterns

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORIES = [
    "a",
    "b.d",
    ".hidden",
    ".hid/x",
    "a/x",
    "a/.y",
    "b.d/x",
    ".gcsidecar/evicting",
    "a/.gcsidecar",
    "c.lease",
]


def folder_glob(glob: str) -> FolderGlob:
    return FolderGlob(glob, LeasePatterns(LEASE_PATTERNS))


def listed(root: Path, glob: str) -> list[str]:
    fd = os.open(root, os.O_RDONLY)
    try:
        return sorted(found.name for found in folder_glob(glob).list(fd))
    finally:
        os.close(fd)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for directory in DIRECTORIES:
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "a/link").symlink_to(tmp_path / "b.d")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


@pytest.mark.parametrize(
    ("glob", "folders"),
    [
        ("*", ["a", "b.d"]),
        (".*", [".hid", ".hidden"]),
        ("[ab]", ["a"]),
        ("*.d", ["b.d"]),
        ("*/*", ["a/x", "b.d/x"]),
        ("a/*", ["a/x"]),
        ("*/.*", ["a/.y"]),
        (".*/*", [".hid/x"]),
        ("*/*/*", []),
        ("link/*", []),
        (".gcsidecar", []),
        (".gcsidecar/*", []),
    ],
)
def test_folders_are_the_directories_that_the_glob_matches(root: Path, glob: str, folders: list[str]) -> None:
    assert listed(root, glob) == folders
    assert all(folder_glob(glob).matches(name) for name in folders)


@pytest.mark.parametrize("name", ["a/b", ".a", ".gcsidecar", "x.lease"])
def test_other_names_are_no_folders(name: str) -> None:
    assert not folder_glob("*").matches(name)


def test_a_lease_beside_a_folder_is_no_folder_even_if_it_is_a_directory(root: Path) -> None:
    assert "c.lease" not in listed(root, "*")


def test_two_listings_at_the_same_time_are_both_whole(tmp_path: Path) -> None:
    names = sorted(f"{number:04}-{'x' * 100}" for number in range(1500))  # more than one read of the kernel's
    for name in names:
        (tmp_path / name).mkdir()
    fd = os.open(tmp_path, os.O_RDONLY)
    first = folder_glob("*").list(fd)
    seen = [next(first).name]
    assert sorted(found.name for found in folder_glob("*").list(fd)) == names
    seen.extend(found.name for found in first)
    assert sorted(seen) == names
    os.close(fd)


def test_a_directory_above_that_cannot_be_listed_is_passed_by(root: Path) -> None:
    (root / "a").rename(root / "z")
    (root / "a").symlink_to("z")
    assert listed(root, "*/*") == ["b.d/x", "z/x"]


def test_what_mkfs_makes_for_fsck_is_never_a_folder(tmp_path: Path) -> None:
    make_folder(tmp_path, "lost+found", used_at=0)
    make_folder(tmp_path, "a")
    with opened(tmp_path) as root:
        assert [folder.name for folder in root.census.folders()] == ["a"]

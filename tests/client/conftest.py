"""Filesystems and other users for tests of the client: those that the tests of folders on disk have, and a FUSE."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import needs
from cache.conftest import as_nobody, disk, ext4, mounts, tmpfs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["as_nobody", "disk", "ext4", "mounts", "tmpfs"]


@pytest.fixture
def fuse(tmp_path: Path) -> Iterator[Path]:
    """An empty directory on a filesystem whose locks count for nothing."""
    needs.root()
    if not os.path.exists("/dev/fuse"):
        needs.unavailable("/dev/fuse is missing")
    below, above = tmp_path / "below", tmp_path / "fuse"
    below.mkdir()
    above.mkdir()
    subprocess.run([needs.program("bindfs"), str(below), str(above)], check=True)
    try:
        yield above
    finally:
        subprocess.run(["umount", "--lazy", str(above)], check=True)


@pytest.fixture
def common() -> Iterator[Path]:
    """An empty directory that every user can reach by its path, and write in."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o777)
        yield Path(path)

"""A root with one folder, on disk; and the filesystems that the tests of folders have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cache.conftest import MakeFilesystem, Mounts, mounts, tmpfs
from cache.helpers import make_folder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MakeFilesystem", "Mounts", "mounts", "tmpfs"]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A root."""
    path = tmp_path / "cache"
    path.mkdir()
    return path


@pytest.fixture
def folder(cache: Path) -> Path:
    """A folder `f` in it, with one file, `data`."""
    return make_folder(cache, "f")

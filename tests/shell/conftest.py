"""A root with one folder, on disk; and the filesystems that the tests of folders have."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from cache.conftest import MakeFilesystem, Mounts, mounts, tmpfs
from cache.helpers import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["MakeFilesystem", "Mounts", "mounts", "tmpfs"]


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """What runs the tests may ignore SIGINT (a shell's background job does), and commands would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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

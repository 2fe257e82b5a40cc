"""Filesystems for tests of whole processes: those that the tests of folders on disk have."""

from __future__ import annotations

from cache.conftest import MakeFilesystem, ext4, mounts, tmpfs

__all__ = ["MakeFilesystem", "ext4", "mounts", "tmpfs"]

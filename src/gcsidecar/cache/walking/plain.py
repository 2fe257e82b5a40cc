"""Counting a directory's entries one after the other, by `os.scandir`: where the kernel can't tell of many at once.

What is unusual about an entry is told the walk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.cache.obstacles import FOREIGN_DIRECTORY, IMMUTABLE, MOUNTED
from gcsidecar.cache.syscalls import asker_for_immutable, is_immutable, mount_id, mount_id_of

if TYPE_CHECKING:
    import os

    from gcsidecar.cache.walking.walk import Directory, Walk


class Plain:
    """Looks at each entry of the directories of one tree, which is in one mount."""

    def __init__(self) -> None:
        self.is_immutable = is_immutable
        self._is_immutable_in = asker_for_immutable()
        self._mount: int | None = None

    def begin(self, directory: Directory) -> None:
        """Start reading.

        Raises:
            OSError: It can't be read.
        """
        directory.read()

    def count(self, walk: Walk, directory: Directory, chunk: int) -> None:
        """Count the next entries of a directory; subdirectories among them have to wait.

        Raises:
            OSError: It can't be read on.
        """
        entries = directory.take(chunk)
        directory.is_read = directory.entries is None
        if entries and directory.is_forbidden:
            walk.note("", FOREIGN_DIRECTORY)
        for entry in entries:
            try:
                self._look_at(walk, directory, entry)
            except FileNotFoundError:
                continue
            except OSError:  # one may list it, but not enter it; or the filesystem is damaged
                directory.is_incomplete = True

    def _look_at(self, walk: Walk, directory: Directory, entry: os.DirEntry[str]) -> None:
        if entry.is_dir(follow_symlinks=False):
            directory.waiting.append(entry.name)
            return
        status = entry.stat(follow_symlinks=False)
        # A directory lists the inode that is in it, stat finds the one mounted over it.
        if status.st_ino != entry.inode() and self._is_mounted(directory, entry.name):
            walk.note(entry.name, MOUNTED)
            return
        if walk.figures.obstacle is None and self._is_immutable_in(directory.fd, entry.name):
            walk.note(entry.name, IMMUTABLE)
        walk.count(directory, entry.name, status)

    def _is_mounted(self, directory: Directory, name: str) -> bool:
        """Whether something is mounted over a file, where its inode number is another than the directory's.

        It may be so without a mount: FUSE servers list what numbers they like, and a file can be replaced meanwhile.
        """
        if self._mount is None:
            self._mount = mount_id(directory.fd)
        return mount_id_of(directory.fd, name, missing=self._mount) != self._mount

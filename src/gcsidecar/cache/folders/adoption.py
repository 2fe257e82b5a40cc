"""Adoption: a start from what an earlier process knew of folders, each held against one `stat`, none looked into.

What the figures mean is the census's; where they come from is for others to know.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcsidecar.cache.folders.census import Census
    from gcsidecar.cache.folders.finder import Finder
    from gcsidecar.cache.folders.hearers import Watch
    from gcsidecar.cache.folders.reconciling import Reconciling, ReconcilingHome
    from gcsidecar.cache.history.records import Present

# After so many folders others have a turn.
CHUNK = 64


class Adoption:
    """Of one root.

    Args:
        root: Which.
        census: What is known of its folders.
        finder: Looks at one of them.
        reconciling: Tells which has to be looked at.
        watch: Watches them.
    """

    def __init__(
        self, root: ReconcilingHome, census: Census, finder: Finder, reconciling: Reconciling, watch: Watch
    ) -> None:
        self._root, self._census, self._finder = root, census, finder
        self._reconciling, self._watch = reconciling, watch
        self._unwatched: list[str] = []

    def take_in(self, known: Sequence[Present]) -> None:
        """Take in some folders that are there still.

        One whose directory has the same times has the same entries, and the same size as far as anybody knows; any
        other is in use until it has been looked at. What has to be measured anew the watch is told.
        """
        for one in known:
            status = self._status(one.name)
            if status is None or status.st_ino != one.inode or not self._root.glob.matches(one.name):
                continue
            folder = self._census.recall(one, status)
            if folder is None:
                continue
            self._unwatched.append(one.name)
            changed = (one.mtime_ns, one.ctime_ns) != (status.st_mtime_ns, status.st_ctime_ns)
            if changed or folder.disk_bytes is None or folder.obstacle is not None:
                self._watch.changed(folder, arrived=True)

    def watch_rest(self) -> Iterator[None]:
        """Watch those that were taken in, which takes longer; gives others a turn now and then.

        What changed before it was watched, one more `stat` tells.
        """
        while self._unwatched:
            for _ in range(min(CHUNK, len(self._unwatched))):
                self._watch_one(self._unwatched.pop())
            yield

    def _watch_one(self, name: str) -> None:
        folder = self._census.get(name)
        if folder is None or folder.evicting:
            return
        self._watch.add(name)
        status = self._status(name)
        if status is None or not self._reconciling.stands_still(folder, status):
            self._finder.refresh(name)

    def _status(self, name: str) -> os.stat_result | None:
        """Of a directory of that name, if there is one."""
        try:
            status = os.stat(name, dir_fd=self._root.fd, follow_symlinks=False)
        except OSError:
            return None
        return status if stat.S_ISDIR(status.st_mode) else None

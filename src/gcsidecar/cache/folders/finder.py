"""The finder of a root: looks at one folder on disk, whether it is there, its times, its leases, and tells the census.

Hints name the folders, one after the other; a look at all of them is reconciling.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Protocol

from gcsidecar.cache.syscalls import open_beneath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsidecar.cache.folders.census import Census
    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.folders.hearers import Watch
    from gcsidecar.cache.folders.listing import FolderGlob
    from gcsidecar.cache.use.lookout import Lookout
    from gcsidecar.gc.clock import Clock

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
# A folder that changed twice within one tick of its filesystem's clock may show the same times both times (4 ms on
# ext4, 2 s on some others), so it is looked at again until a look began so long after its last change.
RECENT_SECONDS = 120.0
# Another thread may change what is known of a folder while it is looked at: so often it is looked at anew.
ATTEMPTS = 3


class FinderHome(Protocol):
    """What the finder needs of its root."""

    fd: int
    glob: FolderGlob
    lookout: Lookout


class Finder:
    """Of one root.

    Args:
        root: Whose.
        census: What is known of its folders.
        watch: Watches a folder before it is looked at.
        clock: Both clocks.
    """

    def __init__(self, root: FinderHome, census: Census, watch: Watch, clock: Clock) -> None:
        self._root, self._census, self._watch, self._clock = root, census, watch, clock

    def refresh(self, name: str, *, beside: bool = True) -> None:
        """Look at one folder anew: whether it is there, its times, its leases; not `beside` it if none are there."""
        if self._root.glob.matches(name):
            for _ in range(ATTEMPTS):
                if self._refreshed(name, beside=beside):
                    return

    def look_at_locks(self, pause_seconds: float) -> None:
        """Look anew at folders with a lease that somebody held by a lock, and holds no longer.

        Args:
            pause_seconds: Nothing is done sooner than so long after the last time.
        """
        for name in self._root.lookout.let_go(pause_seconds):
            self.refresh(name)

    def look_at_dead(self) -> None:
        """Look anew at folders with leases that have ended and could not be removed: now that may be."""
        for folder in self._census.table.rare_folders():
            if folder.dead_leases:
                self.refresh(folder.name)

    def gone(self, name: str) -> None:
        """The directory that had this name is deleted or elsewhere: what has it now arrived anew, and is not watched.

        Its identity alone doesn't show that: ext4 and tmpfs give the number of a deleted directory to the next one.
        """
        known = self._census.get(name)
        if known is not None and not known.evicting:
            self._census.drop(known)
        self.refresh(name)

    @contextlib.contextmanager
    def evicting(self, folder: Folder) -> Iterator[None]:
        """While it is being taken away nobody looks for it; it is gone afterwards, or watched and looked at again."""
        # A watch follows its inode: taken off first, or the deletion of every entry would be told.
        self._watch.remove(folder.name)
        folder.evicting = True
        gone = False
        try:
            yield
            gone = True
        finally:
            folder.evicting = False
            if gone:
                self._census.drop(folder, evicted=True)
            else:
                self._watch.add(folder.name)
                self.refresh(folder.name)
                self._census.changed()  # who planned meanwhile (after a reload, say) took it for one that stays
        # Its name may have been taken anew while it was away.
        self.refresh(folder.name)

    def _refreshed(self, name: str, *, beside: bool) -> bool:
        """Look at it once; False where that came to nothing, since it was replaced meanwhile, on disk or here."""
        known = self._census.get(name)
        if known is not None and known.evicting:
            return True
        if known is None and self._is_missing(name):
            self._watch.remove(name)
            return True
        watched, began = known is not None or self._watch.add(name), self._clock.time()
        try:
            fd = open_beneath(self._root.fd, name, _FLAGS)
        except OSError as error:
            return self._unopened(name, known, error)
        if not watched:  # it was not there a moment ago, and is now
            self._watch.add(name)
        try:
            leases = self._root.lookout.look_after(fd, name, known, beside=beside)
            status = os.fstat(fd)
            settled = leases is not None and status.st_ctime <= began - RECENT_SECONDS
            return status.st_nlink > 0 and self._census.take_in(name, known, status, leases, settled=settled)
        except FileNotFoundError:
            return False
        finally:
            os.close(fd)

    def _is_missing(self, name: str) -> bool:
        """Whether nothing has that name; cheap, since hints of each folder that we have evicted ask for that."""
        try:
            os.stat(name, dir_fd=self._root.fd, follow_symlinks=False)
        except OSError as error:
            return error.errno in _NOT_THERE
        return False

    def _unopened(self, name: str, known: Folder | None, error: OSError) -> bool:
        if error.errno not in _NOT_THERE:
            with contextlib.suppress(OSError):
                status = os.stat(name, dir_fd=self._root.fd, follow_symlinks=False)
                return self._census.take_in(name, known, status, None)
        if known is None:
            self._watch.remove(name)
        elif not known.evicting:  # else it isn't there since it is being evicted, which may be undone
            self._census.drop(known)
        return True

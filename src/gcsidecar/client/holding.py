"""A lease that is held: by what, and how it ends.

How it came to be held stands in `acquiring.py`.
"""

from __future__ import annotations

import atexit
import fcntl
import os

from gcsidecar.client.file import remove

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import NoReturn, Self

    from gcsidecar.client.folder import Folder

_AGAIN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Lease:
    """A folder that is in use by this process, until it is released; as a context manager, until the end of the block.

    Only the process that took it releases it: in a forked child, `release` and the end of a `with` block close the
    child's copies and do no more. As long as a child has its copies, the lease goes on even if this process is killed.
    One that was not released ends with the process, or with the last child that was forked from it.

    Attributes:
        path: The folder, absolute. A lease can be given wherever a path can: `os.listdir(folder)`.
        created: Whether the folder was made for this lease: a miss. One that was there already may still be incomplete:
            whoever made it may be at work on it, or was killed.
        file: The path of the lease file, as long as nobody moves the folder.
        locked: Whether the kernel ends the lease with the last process that holds it.
        ttl_seconds: How long the lease holds after its file was last touched, which a thread of this process sees to;
            none where its lock alone says so.
        folder_fd: The folder's descriptor, with a shared lock on it.
        lease_fd: The lease file's.
    """

    __slots__ = (
        "_beating",
        "_held",
        "_inodes",
        "_lasting",
        "_pid",
        "created",
        "file",
        "folder_fd",
        "lease_fd",
        "locked",
        "path",
        "ttl_seconds",
    )

    def __init__(
        self, folder: Folder, lease_fd: int, name: str, *, locked: bool, ttl_seconds: float | None, lasting: bool
    ) -> None:
        self.path, self.created = folder.path, folder.created
        self.file = f"{folder.path}/{name}"
        self.locked, self.ttl_seconds = locked, ttl_seconds
        self.folder_fd, self.lease_fd = folder.fd, lease_fd
        self._inodes = (folder.inode, os.fstat(lease_fd).st_ino)
        self._pid = os.getpid()
        self._lasting = lasting
        self._beating = None if lasting or ttl_seconds is None else _beating(lease_fd, ttl_seconds)
        # Whoever takes it out of here ends the lease; two threads can't both.
        self._held = [name]
        _unreleased.add(self)

    def release(self) -> None:
        """End the lease; again, it does nothing.

        The file is removed by descriptor, wherever the folder is by now. The locks are taken off, not left to be closed
        with the descriptors, so that children that were forked meanwhile and live on don't prolong it.
        """
        name = self._taken()
        if name is None:
            return
        folder_is_ours, file_is_ours = self._are_ours()
        if os.getpid() == self._pid:
            if folder_is_ours:
                remove(self.folder_fd, name)
                _unlock(self.folder_fd)
            if file_is_ours:
                _unlock(self.lease_fd)
        self._close(folder=folder_is_ours, file=file_is_ours)

    def let_go(self) -> None:
        """End this process's share of it: where a process that inherited it still lives, the lease goes on with that.

        Where there is none, or no lock to tell it by, it is released. The file of a `lasting` one stays. At the end of
        the process this is done with all that were not released.
        """
        name = self._taken()
        if name is None:
            return
        folder_is_ours, file_is_ours = self._are_ours()
        self._close(folder=False, file=file_is_ours)
        if folder_is_ours and os.getpid() == self._pid and not self._lasting and self._is_unheld(name):
            remove(self.folder_fd, name)
        self._close(folder=folder_is_ours, file=False)

    def set_inheritable(self, inheritable: bool) -> None:  # noqa: FBT001  as os.set_inheritable
        """Let programs that this process runs hold it, too (`os.set_inheritable`): it ends with the last of them."""
        os.set_inheritable(self.folder_fd, inheritable)
        os.set_inheritable(self.lease_fd, inheritable)

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<Lease on {self.path!r}{'' if self._held else ', released'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a lease can't be copied or sent to another process; send its path, and take another one there")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def _taken(self) -> str | None:
        """The lease file's name, for the first that asks; from then on it beats no more."""
        try:
            name = self._held.pop()
        except IndexError:
            return None
        _unreleased.discard(self)
        # A forked child has no such thread; what the thread had locked when it was forked stays locked there for ever.
        if self._beating is not None and os.getpid() == self._pid:
            self._beating()
        return name

    def _are_ours(self) -> tuple[bool, bool]:
        """Whether the descriptors are still the folder's and the file's: some programs close all they don't know."""
        folder, file = self._inodes
        return _is(self.folder_fd, folder), _is(self.lease_fd, file)

    def _is_unheld(self, name: str) -> bool:
        """Whether nobody else holds it, so far as there is a lock to tell by."""
        return not self.locked or _is_free(self.folder_fd, name)

    def _close(self, *, folder: bool, file: bool) -> None:
        if file:
            os.close(self.lease_fd)
        if folder:
            os.close(self.folder_fd)


# What this process, or the one it was forked from, took and did not release.
_unreleased: set[Lease] = set()


@atexit.register
def _let_go_of_all() -> None:
    for lease in list(_unreleased):
        lease.let_go()


def _is(fd: int, inode: int) -> bool:
    try:
        return os.fstat(fd).st_ino == inode
    except OSError:
        return False


def _unlock(fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)
    except OSError:  # there are no locks here
        pass


def _is_free(folder_fd: int, name: str) -> bool:
    """Whether nobody holds the lock of a lease file."""
    try:
        fd = os.open(name, _AGAIN, dir_fd=folder_fd)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(fd)


def _beating(lease_fd: int, ttl_seconds: float) -> Callable[[], None]:
    from gcsidecar.client.heartbeat import Heartbeat  # noqa: PLC0415  who has no ttl needs no threads

    return Heartbeat(lease_fd, ttl_seconds).stop

"""A folder, opened from above by descriptor and through no link; whether it is still what its path names.

It opens, makes and locks; when to try again is for others to know.
"""

from __future__ import annotations

import errno
import fcntl
import os

from gcsidecar.contract import MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gcsidecar.client.place import Place

_WAY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LOCKS = frozenset({errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL})


class Folder:
    """An open folder.

    Attributes:
        path: Where it was found.
        fd: Its descriptor; its user closes it.
        created: Whether it was made for us.
    """

    __slots__ = ("created", "device", "fd", "inode", "path")

    def __init__(self, path: str, fd: int, *, created: bool) -> None:
        self.path, self.fd, self.created = path, fd, created
        status = os.fstat(fd)
        self.device, self.inode = status.st_dev, status.st_ino

    def lock(self) -> bool:
        """Share the lock on it, which an evictor needs for itself; False where one has it.

        On a filesystem without locks there is nothing to share: the evictor looks for lease files, once more after it
        has moved the folder.

        Raises:
            OSError: It can't be locked.
        """
        try:
            fcntl.flock(self.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        return True

    def unlock(self) -> None:
        """Let go of the lock, whoever has a copy of the descriptor."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_UN)
        except OSError:  # there are no locks here
            pass

    def is_in_place(self) -> bool:
        """Whether its path still names it, and it is neither deleted nor condemned.

        By the whole path, which its user will take: the root, too, may have been moved or covered by a mount.

        Raises:
            OSError: That can't be told.
        """
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        same = (found.st_dev, found.st_ino) == (self.device, self.inode)
        # Where the folder itself is mounted, its path names it even when it was moved and deleted.
        return same and found.st_nlink > 0 and not found.st_mode & MARK

    def is_same(self, other: Folder) -> bool:
        """Whether both are one; both have to be open, since a number may be used again."""
        return (self.device, self.inode) == (other.device, other.inode)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)


def opened(place: Place, *, create: bool) -> Folder:
    """Open the folder of a place.

    Args:
        place: Where.
        create: Whether to make it, and what is missing above it, below the root.

    Raises:
        OSError: `ENOENT`: it isn't there, or went away. `ENOTDIR`, `ELOOP`: something is no directory, or a link.
    """
    *above, last = place.name.split("/")
    fd = os.open(place.base, _WAY)
    try:
        for component in above:
            below, _ = _step(fd, component, _BELOW | os.O_PATH, create=create)
            os.close(fd)
            fd = below
        folder_fd, created = _step(fd, last, _BELOW | os.O_RDONLY | os.O_NONBLOCK, create=create)
    finally:
        os.close(fd)
    return Folder(place.path, folder_fd, created=created)


def _step(dir_fd: int, name: str, flags: int, *, create: bool) -> tuple[int, bool]:
    """Open one directory in another; whether it was made."""
    try:
        return os.open(name, flags, dir_fd=dir_fd), False
    except FileNotFoundError:
        if not create:
            raise
    try:
        os.mkdir(name, dir_fd=dir_fd)
    except FileExistsError:
        return os.open(name, flags, dir_fd=dir_fd), False
    try:
        return os.open(name, flags, dir_fd=dir_fd), True
    except OSError:
        _remove(dir_fd, name)
        raise


def _remove(dir_fd: int, name: str) -> None:
    """Remove a directory that was made in vain: the next client would take it for a hit."""
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except OSError:  # it is gone, or somebody is in it by now
        pass

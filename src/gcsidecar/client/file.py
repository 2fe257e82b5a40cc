"""Lease files: written and locked before they appear under a name, so that nobody sees one that isn't held."""

from __future__ import annotations

import errno
import fcntl
import os

_FLAGS = os.O_RDWR | os.O_CLOEXEC
# Everybody may see who holds a folder, and ask whether the file is locked, whatever the umask.
_MODE = 0o644
_NO_NAMELESS_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS, errno.ENOENT})


def put(folder_fd: int, text: bytes, *, locked: bool) -> tuple[int, str]:
    """Put a lease file into an open folder.

    Args:
        folder_fd: The folder.
        text: What the file is to say.
        locked: Whether to lock it.

    Returns:
        Its descriptor, and its name in the folder.

    Raises:
        OSError: It can't be made (`ENOSPC`, `EDQUOT`, `EROFS`, `EACCES`); `ENOENT`: the folder is deleted.
    """
    name = f".lease.{os.urandom(8).hex()}"
    try:
        return _put_nameless(folder_fd, text, name, locked=locked), name
    except OSError as error:
        if error.errno not in _NO_NAMELESS_FILES:
            raise
    return _put_renamed(folder_fd, text, name, locked=locked), name


def _put_nameless(folder_fd: int, text: bytes, name: str, *, locked: bool) -> int:
    """By a file without a name, which leaves nothing behind wherever we end."""
    fd = os.open(".", os.O_TMPFILE | _FLAGS, _MODE, dir_fd=folder_fd)
    try:
        _fill(fd, text, locked=locked)
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=folder_fd, follow_symlinks=True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _put_renamed(folder_fd: int, text: bytes, name: str, *, locked: bool) -> int:
    """Where there are no files without a name, or no `/proc` to link them by: by one whose name means nothing."""
    nothing = f".gcsidecar-lease-{name.rpartition('.')[2]}"
    fd = os.open(nothing, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | _FLAGS, _MODE, dir_fd=folder_fd)
    try:
        _fill(fd, text, locked=locked)
        os.rename(nothing, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    except BaseException:
        os.close(fd)
        remove(folder_fd, nothing)
        raise
    return fd


def _fill(fd: int, text: bytes, *, locked: bool) -> None:
    if os.write(fd, text) < len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    try:
        os.fchmod(fd, _MODE)
    except OSError:  # a filesystem without modes
        pass
    if locked:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def remove(folder_fd: int, name: str) -> None:
    """Remove a lease file, wherever its folder is now; one that can't be removed ends by its lock or its time."""
    try:
        os.unlink(name, dir_fd=folder_fd)
    except OSError:
        pass

"""Why a path or a filesystem can't give a lease, in words that say what to do."""

from __future__ import annotations

import errno
import os

from gcsidecar.client.errors import LeaseError, LeaseRefusedError

_RIGHTS = "let this process run as the user who owns the cache, or make the folder readable and writable for it"
_ROOM = "there is no room for a lease file: make some, or let the sidecar keep more free (min_disk, min_inodes)"
_REMEDIES = {
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "it is mounted read-only: mount it writable, since a lease is a file in the folder",
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EMFILE: "this process has too many files open: a lease takes two; raise its limit (ulimit -n)",
}


def absolute(path: str | os.PathLike[str]) -> str:
    """The path from the top, `.` and `..` taken out by their letters.

    Raises:
        LeaseRefusedError: It can't name a folder.
    """
    name = os.fsdecode(path)
    if not name or "\0" in name:
        raise LeaseRefusedError(f"{name!r} names no folder; give its path")
    try:
        return os.path.abspath(name)
    except OSError as error:
        raise LeaseRefusedError(f"{name}: the working directory is gone; give the whole path") from error


def explained(error: OSError, path: str) -> LeaseError:
    """The error for what the system refused while a lease was taken on a path."""
    what = error.strerror or str(error)
    if error.errno in {errno.ENOTDIR, errno.ELOOP}:
        return _no_directory(path, what)
    remedy = _REMEDIES.get(error.errno or 0)
    return LeaseError(f"{path}: {what}; {remedy}" if remedy else f"{path}: {what}")


def _no_directory(path: str, what: str) -> LeaseRefusedError:
    real = os.path.realpath(path)
    if real != path:
        return LeaseRefusedError(f"{path}: a symbolic link is no folder, nor on the way to one; lease {real}")
    return LeaseRefusedError(f"{path}: {what}; lease a directory")

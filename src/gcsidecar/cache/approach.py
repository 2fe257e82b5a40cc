"""The way to a root: the path that the config names, by no link that anybody else may have laid.

Below the root no link is followed at all; that stands in `syscalls.open_beneath`.
"""

from __future__ import annotations

import errno
import os
from stat import S_ISLNK

from gcsidecar.cache.descent import identity_of
from gcsidecar.cache.errors import RootUnavailableError
from gcsidecar.cache.syscalls import FILESYSTEM_NAMES, filesystem_type

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_PROC = next(number for number, name in FILESYSTEM_NAMES.items() if name == "proc")
_MOST_LINKS = 40  # as the kernel has it (path_resolution(7))


def open_root(path: str) -> int:
    """Open the directory that an absolute path leads to.

    Links on the way are an operator's business, so they have to be root's or ours: whoever else could lay one, in the
    root's place or above it, would have the sidecar evict from wherever it leads.

    Raises:
        RootUnavailableError: A link on the way is somebody else's.
        OSError: It can't be opened.
    """
    fd = os.open(path, _FLAGS)
    try:
        # Looked at after it was opened, so that no other way can be laid in between.
        is_there = _end_of(path) == identity_of(os.fstat(fd))
    except BaseException:
        os.close(fd)
        raise
    if is_there:
        return fd
    os.close(fd)
    raise RootUnavailableError(f"{path} became another directory while it was being opened; it is tried again")


def _end_of(path: str) -> tuple[int, int]:
    """The identity of what a path leads to, with each link on the way looked at."""
    names, links = path.split("/")[::-1], 0
    here = os.open("/", _STEP)
    try:
        while names:
            if not (name := names.pop()):
                continue
            below = os.open(name, _STEP, dir_fd=here)
            if S_ISLNK(os.fstat(below).st_mode):
                links += 1
                below, target = _by_link(path, name, here, below, links)
                names += target.split("/")[::-1]
            here, left = below, here
            os.close(left)
        return identity_of(os.fstat(here))
    finally:
        os.close(here)


def _by_link(path: str, name: str, dir_fd: int, link_fd: int, links: int) -> tuple[int, str]:
    """Where a link on the way to `path` leads: where to start from, and the path from there. Its descriptor is closed.

    Those in `/proc` the kernel made, and only the kernel can follow.
    """
    try:
        if filesystem_type(link_fd) == _PROC:
            return os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=dir_fd), ""
        owner = os.fstat(link_fd).st_uid
        if owner not in {0, os.geteuid()}:
            raise RootUnavailableError(
                f"{path}: on the way there {name} is a link that user {owner} made; give it to root or to user "
                f"{os.geteuid()}, or name in the config where it leads"
            )
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = os.readlink("", dir_fd=link_fd)
        return os.open("/" if target.startswith("/") else ".", _STEP, dir_fd=dir_fd), target
    finally:
        os.close(link_fd)

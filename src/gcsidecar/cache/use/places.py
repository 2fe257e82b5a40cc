"""Where a path leads for a process: to a place that is the same for everybody, however it is mounted for each.

From the text of `/proc/PID/mountinfo` (`proc(5)`) alone, so that no path of others is walked and no dead mount is met.
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from gcsidecar.cache.syscalls import mount_id

if TYPE_CHECKING:
    from collections.abc import Iterator

_OCTAL = re.compile(rb"\\([0-7]{3})")


class Place(NamedTuple):
    """Where something lies.

    Attributes:
        device: The filesystem's number in mountinfo; `st_dev` is another one where a filesystem has several (btrfs).
        path: From the filesystem's own top.
    """

    device: bytes
    path: bytes


class MountTable:
    """The mounts that the processes in one mount namespace see."""

    def __init__(self) -> None:
        self._mounts: dict[bytes, set[Place]] = {}

    def add(self, process: bytes, root: bytes = b"/") -> None:
        """Take in what a process sees whose root directory is `root`.

        Raises:
            OSError: That can't be read.
        """
        for _, point, shown in _mounts(process):
            self._mounts.setdefault(_joined(root, point), set()).add(shown)

    @property
    def points(self) -> tuple[bytes, ...]:
        """The paths that something is mounted on."""
        return tuple(self._mounts)

    def places(self, path: bytes) -> Iterator[Place]:
        """Where a path may lead: also to what a mount hides there, since that may have been opened before."""
        above = path
        while above:
            for shown in self._mounts.get(above, ()):
                yield _below(shown, above, path)
            above = (above.rpartition(b"/")[0] or b"/") if above != b"/" else b""


def place_of(fd: int) -> Place:
    """Where an open file or directory lies.

    Raises:
        OSError: `/proc` can't tell.
    """
    number = mount_id(fd)
    for mount, point, shown in _mounts(b"self"):
        if mount == number:
            return _below(shown, point, os.readlink(b"/proc/self/fd/%d" % fd))
    raise OSError(errno.ENODEV, "what it is on is mounted no more", f"mount {number}")


def unescaped(path: bytes) -> bytes:
    r"""A path as it is, of which `/proc` has written some bytes as `\ooo`."""
    return _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), path) if b"\\" in path else path


def _mounts(process: bytes) -> Iterator[tuple[int, bytes, Place]]:
    """Each mount's id, the path that it is on, and the directory that it shows."""
    with open(b"/proc/%b/mountinfo" % process, "rb") as file:
        lines = file.read().splitlines()
    for line in lines:
        number, _, device, directory, point, _ = line.split(b" ", 5)
        yield int(number), unescaped(point), Place(device, unescaped(directory))


def _below(shown: Place, point: bytes, path: bytes) -> Place:
    """The place of a path at or below a mount's point."""
    return Place(shown.device, _joined(shown.path, path[len(point.rstrip(b"/")) :]))


def _joined(above: bytes, below: bytes) -> bytes:
    return (above.rstrip(b"/") + below).rstrip(b"/") or b"/"

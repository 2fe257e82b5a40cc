"""Where hostile trees are evicted: a root, and beside it what must not change, whatever lies in the root."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import pytest

import needs
from cache.helpers import opened
from cache.trees import CANARY, snapshot
from gcsidecar.cache.eviction.slots import decode
from gcsidecar.cache.walking.sizes import measure
from gcsidecar.gc.errors import DisposableInUseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gcsidecar.cache.root import Root

NOBODY = 65534


class Place:
    """A root, a folder outside of it, and a neighbour in it that somebody has a lease on.

    Attributes:
        root: The root.
        outside: A folder beside the root, on the same filesystem, with a canary and a subfolder with another one.
        neighbour: A folder in the root, leased.
    """

    def __init__(self, directory: Path) -> None:
        self.root, self.outside = directory / "root", directory / "outside"
        self.neighbour = self.root / "neighbour"
        (self.neighbour / "sub").mkdir(parents=True)
        (self.neighbour / ".lease").touch()
        (self.outside / "sub").mkdir(parents=True)
        for folder in (self.neighbour / "sub", self.outside, self.outside / "sub"):
            (folder / "canary").write_text(CANARY)

    def __enter__(self) -> Self:
        self._before = self._guarded()
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._guarded() == self._before

    def expect_unharmed(self) -> None:
        """The canaries live, with the contents, modes, owners and numbers of links that they had."""
        assert self._guarded() == self._before

    def _guarded(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for top in (self.outside, self.neighbour):
            found |= {f"{top.name}/{path}": what for path, what in snapshot(top).items()}
            canary = (top / "sub" / "canary").stat()
            found[top.name] = (top.stat().st_ino, top.stat().st_mode, canary.st_uid)
        return found

    @contextmanager
    def opened(self, **keys: Any) -> Iterator[Root]:
        """The root, open and active."""
        with opened(self.root, **keys) as root:
            yield root

    def leftovers(self) -> list[str]:
        """The folders that lie in the slots."""
        state = self.root / ".gcsidecar"
        sides = (state / "evicting", state / "condemned")
        return [decode(entry) for side in sides for slot in os.listdir(side) for entry in os.listdir(side / slot)]


def evict(root: Root, name: str) -> None:
    """Evict a folder, as a collection does."""
    folder = root.census.get(name)
    assert folder is not None, f"{name!r} is no folder"
    folder.dispose()


def evict_measured(root: Root, name: str) -> str | None:
    """Measure a folder as the survey does, then evict it if it may go; else the reason for which the plan keeps it."""
    folder = root.census.get(name)
    assert folder is not None, f"{name!r} is no folder"
    root.census.measured(folder, measure(root.fd, name))
    if (reason := folder.keep(folder.last_used() + 1)) is None:
        folder.dispose()
    return reason


def kept_for(root: Root, name: str) -> str:
    """The reason for which it is kept when it comes to it."""
    with pytest.raises(DisposableInUseError) as error:
        evict(root, name)
    return error.value.reason


_libc = ctypes.CDLL(None, use_errno=True)
_libc.renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
_RENAME_EXCHANGE = 2


def exchange(first_fd: int, first: str, second_fd: int, second: str) -> bool:
    """Swap two names in one step; False where that was not possible."""
    call = _libc.renameat2(first_fd, os.fsencode(first), second_fd, os.fsencode(second), _RENAME_EXCHANGE)
    return bool(call == 0)


_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS and FS_IOC_SETFLAGS (ioctl_iflags(2))
_FLAGS = {"i": 0x10, "a": 0x20}


@contextmanager
def flagged(path: Path, flag: str) -> Iterator[None]:
    """`chattr +i` or `+a`, wherever it is moved to meanwhile."""
    needs.root()
    fd = os.open(path, os.O_RDONLY)
    try:
        (before,) = struct.unpack("l", fcntl.ioctl(fd, _GET_FLAGS, bytes(8)))
        fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", before | _FLAGS[flag]))
        try:
            yield
        finally:
            fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", before))
    finally:
        os.close(fd)

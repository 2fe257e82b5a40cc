"""`.gcsidecar/`, the only place in a root where the sidecar creates anything: the lock, the ballast, and the slots.

Who acts on the root is settled here; the places for folders on their way out are in `slots.py`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
from typing import TYPE_CHECKING

from gcsidecar.cache.descent import identity_of
from gcsidecar.cache.errors import StateDirectoryError
from gcsidecar.cache.eviction.apart import Apart
from gcsidecar.cache.eviction.slots import CONDEMNED, EVICTING, Side, own_directory, set_mode
from gcsidecar.cache.filesystem import filesystem_of
from gcsidecar.cache.history.file import size_bytes
from gcsidecar.cache.walking.figures import BLOCK_BYTES
from gcsidecar.contract import LOCK, STATE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Mapping

BALLAST = "ballast"
# So much is given up when a rename finds no room; a directory block and its neighbours on any filesystem.
BALLAST_BYTES = 256 * 1024

_FILE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class StateDirectory:
    """The state directory of one root, open, and locked if this process is the one that acts on the root.

    Args:
        root_fd: The root; open for as long as this is.
        about: What the lock file is to say of its holder: for people, and for clients that check the root's patterns.

    Raises:
        StateDirectoryError: It can't be made or opened, or it isn't ours.
    """

    def __init__(self, root_fd: int, about: Mapping[str, object]) -> None:
        self._about = about
        self._has_ballast = self._lock_is_real = False
        owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        with contextlib.ExitStack() as opened:
            try:
                self._fd = own_directory(root_fd, STATE_DIRECTORY, 0o755)
                opened.callback(os.close, self._fd)
                self._lock_fd = os.open(LOCK, _FILE_FLAGS, 0o644, dir_fd=self._fd)
                opened.callback(os.close, self._lock_fd)
                set_mode(self._lock_fd, 0o644)
                self._lock = (self._fd, LOCK, _identity(self._lock_fd))
                self.evicting = Side(self._fd, EVICTING, owner, is_ours_alone=self._is_alone)
                opened.callback(os.close, self.evicting.fd)
                self.condemned = Side(self._fd, CONDEMNED, owner)
                opened.callback(os.close, self.condemned.fd)
                self._places = (
                    (root_fd, STATE_DIRECTORY, _identity(self._fd)),
                    (self._fd, EVICTING, _identity(self.evicting.fd)),
                    (self._fd, CONDEMNED, _identity(self.condemned.fd)),
                )
            except OSError as error:
                raise StateDirectoryError(
                    f"can't make or open {STATE_DIRECTORY}/ ({error.strerror}); {_remedy(error)}"
                ) from error
            self._opened = opened.pop_all()
        self.apart = Apart(self.evicting, self.condemned)

    def lock(self) -> bool:
        """Become the one that acts on this root; False where another sidecar is, and this one stands by.

        Raises:
            StateDirectoryError: The slots can't be made.
        """
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            # A filesystem without locks: each step of the protocol is one rename that only one can win.
            if error.errno not in {errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL}:
                raise StateDirectoryError(f"can't lock {STATE_DIRECTORY}/{LOCK}: {error.strerror}") from error
        else:
            with contextlib.suppress(OSError):
                self._lock_is_real = filesystem_of(self._lock_fd, 0).locks_are_real
        self._sign()
        self.prepare()
        return True

    def is_in_place(self) -> bool:
        """Whether its names still name what was opened: somebody may have moved it away, or have put a link there."""
        return all(_is_named(*place) for place in self._places)

    def _is_alone(self) -> bool:
        """Whether no other sidecar can act on the root: where the lock file was deleted another may hold a new one."""
        return self._lock_is_real and _is_named(*self._lock)

    def prepare(self) -> None:
        """See to it that slots and ballast are there for when the disk is full.

        Raises:
            StateDirectoryError: There is no slot, and none can be made.
        """
        try:
            self.evicting.prepare()
            self.condemned.prepare()
        except OSError as error:
            raise StateDirectoryError(
                f"can't make room in {STATE_DIRECTORY}/ ({error.strerror}); {_remedy(error)}"
            ) from error
        self.take_ballast()

    def take_ballast(self) -> None:
        """Have the ballast again if it isn't there; a comfort: without it a rename on a full disk may fail."""
        if self._has_ballast:
            return
        with contextlib.suppress(OSError):
            fd = os.open(BALLAST, _FILE_FLAGS, 0o600, dir_fd=self._fd)
            try:
                os.posix_fallocate(fd, 0, BALLAST_BYTES)
                self._has_ballast = True
            finally:
                os.close(fd)

    def drop_ballast(self) -> bool:
        """Give the ballast up, for a rename that found no room; False where there was none."""
        self._has_ballast = False
        try:
            os.unlink(BALLAST, dir_fd=self._fd)
        except OSError:
            return False
        return True

    def own_bytes(self) -> int:
        """What it takes: itself, lock, ballast and history, and what lies in the slots as far as that is known."""
        total = size_bytes(self._fd) + self.apart.disk_bytes
        for name in (".", LOCK, BALLAST):
            with contextlib.suppress(OSError):
                total += os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_blocks * BLOCK_BYTES
        return total

    @property
    def fd(self) -> int:
        """Of the directory itself; open until `close`."""
        return self._fd

    def close(self) -> None:
        """Let go of the lock and all descriptors."""
        self._opened.close()

    def _sign(self) -> None:
        # On a full disk the lock still holds; only what it says of its holder may be missing. What the holder before
        # wrote is written over, not cut off first: the block that this gives back others might take.
        with contextlib.suppress(OSError):
            text = json.dumps(self._about, indent=2, ensure_ascii=True) + "\n"
            os.ftruncate(self._lock_fd, os.pwrite(self._lock_fd, text.encode("ascii"), 0))
            # To close a file waits until it is written: on a mount that hangs by then that would hold up our end.
            if filesystem_of(self._lock_fd, 0).is_shared:
                os.fsync(self._lock_fd)


def _is_named(dir_fd: int, name: str, identity: tuple[int, int]) -> bool:
    try:
        return identity_of(os.stat(name, dir_fd=dir_fd, follow_symlinks=False)) == identity
    except OSError:
        return False


def _identity(fd: int) -> tuple[int, int]:
    return identity_of(os.fstat(fd))


def _remedy(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return (
            "the disk is full: delete something by hand once, later it keeps room for itself; it is tried each second"
        )
    if error.errno in {errno.ENOTDIR, errno.ELOOP}:
        return "something else has that name: move it away"
    if error.errno == errno.EROFS:
        return "the filesystem is mounted read-only: mount it writable, or set dry_run"
    return "let the sidecar run as the user who owns the cache, or make the root writable for it"

"""`.gcsidecar/`, the only place in a root where the sidecar creates anything: the lock, the slots, the ballast.

It makes and hands out places; what is moved into them, and why, is the protocol's business.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.cache.descent import identity_of
from gcsidecar.cache.entries import entries_of
from gcsidecar.cache.errors import StateDirectoryError
from gcsidecar.cache.history.file import size_bytes
from gcsidecar.cache.syscalls import rename_exclusive
from gcsidecar.contract import LOCK, STATE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EVICTING, CONDEMNED = "evicting", "condemned"
BALLAST = "ballast"
# So much is given up when a rename finds no room; a directory block and its neighbours on any filesystem.
BALLAST_BYTES = 256 * 1024
# So many slots are kept empty on each side: on a full disk none can be made.
SPARE_SLOTS = 4

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def encode(name: str) -> str:
    """A folder's name as the one name of an entry: the listing says where it belongs."""
    return name.replace("%", "%25").replace("/", "%2F")


def decode(entry: str) -> str:
    """The folder's name that `encode` made an entry of."""
    return entry.replace("%2F", "/").replace("%25", "%")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one entry, and what lies in it; `fd` is open as long as the one who was handed it uses it."""

    side: str
    name: str
    fd: int
    entry: str | None = None


class Side:
    """`evicting/` or `condemned/`: slots with one entry each."""

    def __init__(self, state_fd: int, side: str, owner: str) -> None:
        self.side = side
        self._owner = owner
        self.fd = _own_directory(state_fd, side, 0o700)

    def prepare(self) -> None:
        """See to it that enough empty slots are there, by claiming those of the dead and by making more.

        Raises:
            OSError: They can't be made (a full disk), and there are none.
        """
        spare = [name for name in self._names() if self._is_empty(name)]
        for name in spare:
            if not self._is_mine(name):
                with contextlib.suppress(OSError):
                    rename_exclusive(self.fd, name, self.fd, self._new_name())
        try:
            for _ in range(SPARE_SLOTS - len(spare)):
                os.mkdir(self._new_name(), 0o700, dir_fd=self.fd)
        except OSError:
            if not spare:
                raise

    @contextlib.contextmanager
    def empty(self) -> Iterator[Slot]:
        """An empty slot of ours.

        Raises:
            OSError: There is none, and none can be made.
        """
        name = next((n for n in self._names() if self._is_mine(n) and self._is_empty(n)), None)
        if name is None:
            name = self._new_name()
            os.mkdir(name, 0o700, dir_fd=self.fd)
        with self._opened(name) as slot:
            yield slot

    @contextlib.contextmanager
    def room_for(self, folder: str) -> Iterator[Slot | None]:
        """An empty slot of ours, or none where a folder of that name lies here already; one look for both.

        Raises:
            OSError: There is none, and none can be made; or they can't be listed.
        """
        lying, free = self._overview()
        if encode(folder) in lying:
            yield None
            return
        if free is None:
            free = self._new_name()
            os.mkdir(free, 0o700, dir_fd=self.fd)
        with self._opened(free) as slot:
            yield slot

    @contextlib.contextmanager
    def occupied(self) -> Iterator[Iterator[Slot]]:
        """All slots with something in them, ours or not; each open until the next is asked for."""
        with contextlib.ExitStack() as stack:

            def slots() -> Iterator[Slot]:
                for name in self._names():
                    stack.close()
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                        slot = stack.enter_context(self._opened(name))
                        if slot.entry is not None:
                            yield slot

            yield slots()

    def entries(self) -> list[str]:
        """The names of the folders that lie here.

        Raises:
            OSError: It can't be listed.
        """
        with self.occupied() as slots:
            return [decode(slot.entry) for slot in slots if slot.entry is not None]

    def trim(self) -> None:
        """Remove empty slots that are more than enough."""
        spare = [name for name in self._names() if self._is_mine(name) and self._is_empty(name)]
        for name in spare[2 * SPARE_SLOTS :]:
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=self.fd)

    def _overview(self) -> tuple[set[str], str | None]:
        """All entries, and the name of an empty slot of ours."""
        lying: set[str] = set()
        free = None
        for name in self._names():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._opened(name) as slot:
                if slot.entry is not None:
                    lying.add(slot.entry)
                elif free is None and self._is_mine(name):
                    free = name
        return lying, free

    def _names(self) -> list[str]:
        with entries_of(self.fd) as entries:
            return sorted(entry.name for entry in entries)

    def _is_mine(self, name: str) -> bool:
        return name.startswith(f"{self._owner}-")

    def _new_name(self) -> str:
        return f"{self._owner}-{secrets.token_hex(4)}"

    def _is_empty(self, name: str) -> bool:
        try:
            with self._opened(name) as slot:
                return slot.entry is None
        except OSError:
            return False

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[Slot]:
        fd = os.open(name, _DIRECTORY_FLAGS, dir_fd=self.fd)
        try:
            yield Slot(self.side, name, fd, next(iter(sorted(os.listdir(fd))), None))
        finally:
            os.close(fd)


class StateDirectory:
    """The state directory of one root, open, and locked if this process is the one that acts on the root.

    Args:
        root_fd: The root; open for as long as this is.
        about: What the lock file is to say of its holder: for people, and for clients that check the root's patterns.

    Raises:
        StateDirectoryError: It can't be made or opened, or it isn't ours.
    """

    def __init__(self, root_fd: int, about: Mapping[str, object]) -> None:
        self._root_fd, self._about = root_fd, about
        owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        with contextlib.ExitStack() as opened:
            try:
                self._fd = _own_directory(root_fd, STATE_DIRECTORY, 0o755)
                opened.callback(os.close, self._fd)
                self._lock_fd = os.open(LOCK, _FILE_FLAGS, 0o644, dir_fd=self._fd)
                opened.callback(os.close, self._lock_fd)
                _set_mode(self._lock_fd, 0o644)
                self.evicting = Side(self._fd, EVICTING, owner)
                opened.callback(os.close, self.evicting.fd)
                self.condemned = Side(self._fd, CONDEMNED, owner)
                opened.callback(os.close, self.condemned.fd)
            except OSError as error:
                raise StateDirectoryError(
                    f"can't make or open {STATE_DIRECTORY}/ ({error.strerror}); {_remedy(error)}"
                ) from error
            self._opened = opened.pop_all()

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
        self._sign()
        self.prepare()
        return True

    def is_in_place(self) -> bool:
        """Whether its names still name what was opened: somebody may have moved it away, or have put a link there."""
        sides = ((self._fd, side.side, side.fd) for side in (self.evicting, self.condemned))
        return all(_is_named(*one) for one in ((self._root_fd, STATE_DIRECTORY, self._fd), *sides))

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
        # Ballast is a comfort: without it a rename on a full disk may fail, and is tried again.
        with contextlib.suppress(OSError):
            fd = os.open(BALLAST, _FILE_FLAGS, 0o600, dir_fd=self._fd)
            try:
                os.posix_fallocate(fd, 0, BALLAST_BYTES)
            finally:
                os.close(fd)

    def drop_ballast(self) -> bool:
        """Give the ballast up, for a rename that found no room; False where there was none."""
        try:
            os.unlink(BALLAST, dir_fd=self._fd)
        except OSError:
            return False
        return True

    def own_bytes(self) -> int:
        """What lock, ballast and history take; what lies in the slots, on its way out or parked, is not counted."""
        total = size_bytes(self._fd)
        for name in (LOCK, BALLAST):
            with contextlib.suppress(OSError):
                total += os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_blocks * 512
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


def _own_directory(dir_fd: int, name: str, mode: int) -> int:
    """Open a directory of ours, making it if it isn't there; no link is followed."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=dir_fd)
    fd = os.open(name, _DIRECTORY_FLAGS, dir_fd=dir_fd)
    owner = os.fstat(fd).st_uid
    if owner not in {os.geteuid(), 0} and os.geteuid() != 0:
        os.close(fd)
        raise PermissionError(errno.EPERM, f"it belongs to user {owner}", name)
    _set_mode(fd, mode)
    return fd


def _set_mode(fd: int, mode: int) -> None:
    """Give it its mode whatever the umask: clients of any user read the lock."""
    with contextlib.suppress(OSError):  # another user's, or a filesystem without modes
        if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
            os.fchmod(fd, mode)


def _is_named(dir_fd: int, name: str, fd: int) -> bool:
    try:
        found = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except OSError:
        return False
    return identity_of(found) == identity_of(os.fstat(fd))


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

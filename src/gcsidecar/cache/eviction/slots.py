"""The slots of `.gcsidecar/`: places for one folder each on its way out, and what a folder is called there.

It makes and hands out places; what is moved into them, and why, is the protocol's business.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.cache.entries import entries_of
from gcsidecar.cache.syscalls import rename_exclusive
from gcsidecar.cache.walking.figures import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVICTING, CONDEMNED = "evicting", "condemned"
# So many slots are kept empty on each side: on a full disk none can be made.
SPARE_SLOTS = 4

# The longest name that a file may have, on any filesystem we know.
NAME_MAX_BYTES = 255
# Is in no encoded name.
_MADE_UNIQUE_BY = "%-"

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def encode(name: str) -> str:
    """A folder's name as the one name of an entry: the listing says where it belongs."""
    return name.replace("%", "%25").replace("/", "%2F")


def entry_of(name: str) -> str:
    """What to call a folder's entry in a slot: what none was ever called, if there is room for that in a file's name.

    Two sidecars on a filesystem without locks may meet in one slot; so neither moves on what it did not look at.
    """
    entry = encode(name)
    unique = f"{entry}{_MADE_UNIQUE_BY}{secrets.token_hex(4)}"
    return unique if len(os.fsencode(unique)) <= NAME_MAX_BYTES else entry


def decode(entry: str) -> str:
    """The folder's name that `encode` or `entry_of` made an entry of."""
    return entry.partition(_MADE_UNIQUE_BY)[0].replace("%2F", "/").replace("%25", "%")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one entry, and what that is called; `fd` is open as long as the one who was handed it uses it."""

    side: str
    name: str
    fd: int
    entry: str


def _never() -> bool:
    return False


class Side:
    """`evicting/` or `condemned/`: slots with one entry each.

    Args:
        state_fd: Where it lies.
        side: Which.
        owner: What begins the names of our slots.
        is_ours_alone: Whether nobody else moves anything in or out: then what was seen there holds until something of
            ours stays behind. Asked each time.
    """

    def __init__(self, state_fd: int, side: str, owner: str, is_ours_alone: Callable[[], bool] = _never) -> None:
        self.side = side
        self._owner, self._is_ours_alone = owner, is_ours_alone
        self._latest: tuple[str, ...] = ()  # the slot that was handed out last
        # What lies here, and an empty slot of ours; none where it has to be looked at (anew).
        self._seen: tuple[set[str], str | None] | None = None
        self.fd = own_directory(state_fd, side, 0o700)

    def prepare(self) -> None:
        """See to it that enough empty slots are there, by claiming those of the dead and by making more.

        Raises:
            OSError: They can't be made (a full disk), and there are none.
        """
        self._seen = None
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
    def empty(self, entry: str) -> Iterator[Slot]:
        """An empty slot of ours, for an entry of that name.

        Raises:
            OSError: There is none, and none can be made.
        """
        name = next(filter(self._is_empty, self._latest), None)  # most often it is empty again
        if name is None:
            name = next((n for n in self._names() if self._is_mine(n) and self._is_empty(n)), None) or self._made()
        self._latest = (name,)
        with self._opened(name) as fd:
            yield Slot(self.side, name, fd, entry)

    @contextlib.contextmanager
    def room_for(self, folder: str) -> Iterator[Slot | None]:
        """An empty slot of ours, or none where a folder of that name lies here already; one look for both.

        Whoever asks takes out again what he puts in, or raises.

        Raises:
            OSError: There is none, and none can be made; or they can't be listed.
        """
        seen, self._seen = self._seen, None
        lying, free = seen if seen is not None and self._is_ours_alone() else self._overview()
        if folder in lying:
            yield None
            return
        name = free or self._made()
        with self._opened(name) as fd:
            yield Slot(self.side, name, fd, entry_of(folder))
        self._seen = lying, name

    @contextlib.contextmanager
    def occupied(self) -> Iterator[Iterator[Slot]]:
        """All slots with something in them, ours or not, once for each entry; each open until the next is asked for."""
        self._seen = None
        with contextlib.ExitStack() as stack:

            def slots() -> Iterator[Slot]:
                for name in self._names():
                    stack.close()
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                        fd = stack.enter_context(self._opened(name))
                        yield from (Slot(self.side, name, fd, entry) for entry in sorted(os.listdir(fd)))

            yield slots()

    def entries(self) -> list[str]:
        """The names of the folders that lie here.

        Raises:
            OSError: It can't be listed.
        """
        with self.occupied() as slots:
            return [decode(slot.entry) for slot in slots]

    def own_bytes(self) -> int:
        """What the side itself and its slots take, without what lies in them.

        Raises:
            OSError: It can't be listed.
        """
        total = os.fstat(self.fd).st_blocks * BLOCK_BYTES
        with entries_of(self.fd) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_blocks * BLOCK_BYTES
        return total

    def trim(self) -> None:
        """Remove empty slots that are more than enough."""
        self._seen = None
        spare = [name for name in self._names() if self._is_mine(name) and self._is_empty(name)]
        for name in spare[2 * SPARE_SLOTS :]:
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=self.fd)

    def _overview(self) -> tuple[set[str], str | None]:
        """The names of the folders that lie here, and that of an empty slot of ours."""
        lying: set[str] = set()
        free = None
        for name in self._names():
            try:
                entries = self._entries(name)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if entries:
                lying.update(map(decode, entries))
            elif free is None and self._is_mine(name):
                free = name
        return lying, free

    def _names(self) -> list[str]:
        return sorted(self._entries("."))

    def _is_mine(self, name: str) -> bool:
        return name.startswith(f"{self._owner}-")

    def _new_name(self) -> str:
        return f"{self._owner}-{secrets.token_hex(4)}"

    def _made(self) -> str:
        """A slot that there was not."""
        name = self._new_name()
        os.mkdir(name, 0o700, dir_fd=self.fd)
        return name

    def _is_empty(self, name: str) -> bool:
        try:
            return not self._entries(name)
        except OSError:
            return False

    def _entries(self, name: str) -> list[str]:
        """The names of what lies in a slot, or in the side itself."""
        fd = os.open(name, DIRECTORY_FLAGS, dir_fd=self.fd)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        """A slot's descriptor."""
        fd = os.open(name, DIRECTORY_FLAGS, dir_fd=self.fd)
        try:
            yield fd
        finally:
            os.close(fd)


def own_directory(dir_fd: int, name: str, mode: int) -> int:
    """Open a directory of ours, making it if it isn't there; no link is followed."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=dir_fd)
    fd = os.open(name, DIRECTORY_FLAGS, dir_fd=dir_fd)
    owner = os.fstat(fd).st_uid
    if owner not in {os.geteuid(), 0} and os.geteuid() != 0:
        os.close(fd)
        raise PermissionError(errno.EPERM, f"it belongs to user {owner}", name)
    set_mode(fd, mode)
    return fd


def set_mode(fd: int, mode: int) -> None:
    """Give it its mode whatever the umask: clients of any user read the lock."""
    with contextlib.suppress(OSError):  # another user's, or a filesystem without modes
        if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
            os.fchmod(fd, mode)

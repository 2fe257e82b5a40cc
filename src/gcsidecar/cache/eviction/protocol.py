"""The eviction protocol for one folder, step by step; a model of it has shown that each check is needed.

Each step is one system call that only one can win, so that it may end anywhere: recovery goes on from what lies there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.cache.errors import EvictionError
from gcsidecar.cache.eviction.removal import Removal, never, remove_tree
from gcsidecar.cache.obstacles import obstacle_in
from gcsidecar.cache.syscalls import open_beneath, rename_exclusive
from gcsidecar.contract import MARK
from gcsidecar.gc.errors import DisposableInUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsidecar.cache.eviction.slots import Slot
    from gcsidecar.cache.eviction.state import StateDirectory

IMMOVABLE = "immovable"
# How often a folder's name may change under us before we leave it for the next round.
ATTEMPTS = 3
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK
_NO_LOCKS = frozenset({errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL})


def no_step(_name: str) -> None:
    """Nobody watches the steps."""


def no_wait(_seconds: float) -> None:
    """No other host's view lags."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where evictions take place, and what they ask of others.

    Attributes:
        root_fd: The root.
        state: Its state directory, locked.
        reason: Given the folder's descriptor and name, why it has to stay (`leased`, ...), or none.
        mounted: Whether something is mounted below an open directory.
        settle_seconds: How long to wait before the second look, for the views of other hosts; 0 for none.
        wait: Waits so long, or until the process is to stop.
        stop: Whether a deletion is to end early.
        step: Told the name of each step before it is made, for tests that end a process at each.
    """

    root_fd: int
    state: StateDirectory
    reason: Callable[[int, str], str | None]
    mounted: Callable[[int], bool]
    settle_seconds: float = 0.0
    wait: Callable[[float], object] = no_wait
    stop: Callable[[], bool] = never
    step: Callable[[str], None] = no_step


def evict(ground: Ground, name: str) -> Removal:
    """Take one folder away, unless it is in use.

    Raises:
        DisposableInUseError: It stays where it is, with the reason.
        EvictionError: It could not be moved; it is untouched.
    """
    for _ in range(ATTEMPTS):
        fd = _open(ground, name)
        try:
            lock_or_keep(fd, name)
            ground.step("locked")
            if is_named(ground.root_fd, name, fd):
                return _evict(ground, name, fd)
        finally:
            os.close(fd)
    raise DisposableInUseError(f"{name}: its name changes all the time", reason="changed")


def _open(ground: Ground, name: str) -> int:
    """Step 1: open it, and see that it could be deleted at all."""
    ground.step("open")
    try:
        fd = open_beneath(ground.root_fd, name, _DIRECTORY)
    except OSError as error:
        raise DisposableInUseError(f"{name}: {error.strerror}", reason=_why_not(error)) from error
    try:
        _expect_deletable(ground, fd, name)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _expect_deletable(ground: Ground, fd: int, name: str) -> None:
    """As far as that can be told without a walk: what lies in the folder the last measuring knows."""
    try:
        if ground.mounted(fd):
            raise DisposableInUseError(f"{name}: something is mounted in it", reason="mounted")
        obstacle = obstacle_in(fd)
    except OSError as error:
        raise DisposableInUseError(f"{name}: can't be looked at: {error.strerror}", reason="unreadable") from error
    if obstacle is not None:
        raise DisposableInUseError(f"{name}: {obstacle}", reason="obstacle")


def lock_or_keep(fd: int, name: str) -> None:
    """Step 2: the exclusive lock, which whoever uses the folder through our client or `flock -s` refuses us.

    Raises:
        DisposableInUseError: Somebody holds it.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DisposableInUseError(f"{name}: somebody holds a lock on it", reason="leased") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise DisposableInUseError(f"{name}: {error.strerror}", reason="unreadable") from error


def _evict(ground: Ground, name: str, fd: int) -> Removal:
    """Steps 3 to 7, with the folder open and locked."""
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    _keep_if(ground.reason(fd, name), name)
    try:
        with ground.state.evicting.room_for(name) as slot:
            if slot is None:
                raise DisposableInUseError(f"{name}: parked", reason="parked")
            _move_out(ground, name, fd, slot, mode)
            return _decide(ground, name, fd, slot, mode)
    except OSError as error:
        raise EvictionError(f"{name}: can't be moved out of the way: {error.strerror}; it is kept") from error


def _keep_if(reason: str | None, name: str) -> None:
    if reason is not None:
        raise DisposableInUseError(f"{name}: {reason}", reason=reason)


def _move_out(ground: Ground, name: str, fd: int, slot: Slot, mode: int) -> None:
    """Step 4: out of everybody's way in one step; whatever had the name and isn't what was opened goes back at once."""
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        # To move a directory one has to be able to write in it: its `..` changes.
        with contextlib.suppress(PermissionError):
            os.fchmod(fd, mode | stat.S_IRWXU)
    ground.step("move out")
    try:
        with parent_of(ground.root_fd, name) as (parent_fd, base):
            _rename(ground.state, parent_fd, base, slot.fd, slot.entry)
    except OSError as error:
        _restore_mode(fd, mode)
        if error.errno in {errno.ENOENT, errno.EXDEV, errno.EBUSY}:
            # No mount is in between here: so it is a directory of an overlay's lower layer, or under another quota.
            reason = IMMOVABLE if error.errno == errno.EXDEV else _why_not(error)
            raise DisposableInUseError(f"{name}: {error.strerror}", reason=reason) from error
        raise
    ground.step("moved out")
    if not is_named(slot.fd, slot.entry, fd):
        _restore_mode(fd, mode)
        put_back(ground, name, slot)
        raise DisposableInUseError(f"{name}: another folder has that name now", reason="changed")


def _decide(ground: Ground, name: str, fd: int, slot: Slot, mode: int) -> Removal:
    """Steps 5 to 7: look once more, where nobody can come by name any more; then there is no way back."""
    if ground.settle_seconds:
        ground.wait(ground.settle_seconds)
    reason = "stopped" if ground.stop() else ground.reason(fd, name)
    ground.step("looked again")
    if reason is not None:
        _restore_mode(fd, mode)
        put_back(ground, name, slot)
        raise DisposableInUseError(f"{name}: {reason}", reason=reason)
    try:
        return condemn(ground, slot, fd)
    except OSError:
        _restore_mode(fd, mode)
        put_back(ground, name, slot)
        raise


def put_back(ground: Ground, name: str, slot: Slot) -> bool:
    """Give a folder its name back, never over anything; False where that can't be, and it stays parked in its slot."""
    ground.step("put back")
    try:
        with parent_of(ground.root_fd, name) as (parent_fd, base):
            _rename(ground.state, slot.fd, slot.entry, parent_fd, base)
    except OSError:
        return False
    return True


def condemn(ground: Ground, slot: Slot, fd: int) -> Removal:
    """Steps 6 and 7: mark it on the inode itself, move it to where nothing comes back from, and delete it.

    Raises:
        OSError: It could not be moved on; the mark is off again, and it lies in its slot, whole.
    """
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    ground.step("mark")
    # Where the mark can't be set (a filesystem without modes), the lock does its work.
    with contextlib.suppress(PermissionError):
        os.fchmod(fd, mode | MARK)
    with contextlib.ExitStack() as stack:
        try:
            grave = stack.enter_context(ground.state.condemned.empty(slot.entry))
            ground.step("condemn")
            _rename(ground.state, slot.fd, slot.entry, grave.fd, grave.entry)
        except OSError:
            _restore_mode(fd, mode)
            raise
        ground.step("delete")
        removal = remove_tree(grave.fd, grave.entry, stop=ground.stop, dir_fd=fd)
        ground.step("deleted")
        return removal


@contextlib.contextmanager
def parent_of(root_fd: int, name: str) -> Iterator[tuple[int, str]]:
    """The directory that a folder's name stands in, and its last component.

    Raises:
        OSError: It isn't there.
    """
    above, _, base = name.rpartition("/")
    if not above:
        yield root_fd, base
        return
    fd = open_beneath(root_fd, above, _DIRECTORY)
    try:
        yield fd, base
    finally:
        os.close(fd)


def is_named(dir_fd: int, name: str, fd: int) -> bool:
    """Whether a name still names what is open."""
    try:
        with parent_of(dir_fd, name) as (parent_fd, base):
            found = os.stat(base, dir_fd=parent_fd, follow_symlinks=False)
    except OSError:
        return False
    opened = os.fstat(fd)
    return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)


def _rename(state: StateDirectory, src_fd: int, src: str, dst_fd: int, dst: str) -> None:
    """Rename; on a full disk once more with the ballast given up."""
    try:
        rename_exclusive(src_fd, src, dst_fd, dst)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT} or not state.drop_ballast():
            raise
        rename_exclusive(src_fd, src, dst_fd, dst)


def _restore_mode(fd: int, mode: int) -> None:
    """Give it back the mode it had, unless somebody has given it another meanwhile."""
    with contextlib.suppress(OSError):
        if stat.S_IMODE(os.fstat(fd).st_mode) in {mode | stat.S_IRWXU, mode | stat.S_IRWXU | MARK, mode | MARK}:
            os.fchmod(fd, mode)


def _why_not(error: OSError) -> str:
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
        return "gone"
    return "mounted" if error.errno in {errno.EXDEV, errno.EBUSY} else "unreadable"

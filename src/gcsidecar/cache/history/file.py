"""The history's file in `.gcsidecar/`: opened, looked at and set aside by descriptor, no link followed.

It knows names, inodes and the first bytes; what stands in the tables is the database's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct

from gcsidecar.cache.errors import HistoryDamagedError, HistoryUnavailableError
from gcsidecar.contract import STATE_DIRECTORY

NAME = "history.sqlite"
DAMAGED = f"{NAME}.damaged"
WAL, JOURNAL = "-wal", "-journal"
# All that a history takes; a set of names, so that nobody has to list anything.
FILES = (NAME, NAME + WAL, DAMAGED, DAMAGED + WAL)

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NO_FILE = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV})
_HELD = frozenset({errno.EACCES, errno.EAGAIN})
# Where sqlite's own programs look for a lock (https://www.sqlite.org/fileformat2.html#the_lock_byte_page).
_LOCK_BYTES = (0x40000000, 512)
_MAGIC = b"SQLite format 3\0"
_WAL_MODE = b"\2\2"
_HEADER_BYTES = 100


def open_file(directory_fd: int) -> int:
    """Open the history, or make an empty one, and lock it.

    Raises:
        HistoryDamagedError: What has its name is no history of ours.
        HistoryUnavailableError: Another program has it open.
        OSError: It can't be opened or made.
    """
    # A rollback journal is never one of ours (the history is in WAL mode from its first byte on), and sqlite would
    # obey it: it may name pages to be overwritten, and another file to be deleted.
    with contextlib.suppress(FileNotFoundError):
        _unlink_or_damaged(directory_fd, NAME + JOURNAL)
    with contextlib.suppress(FileNotFoundError):
        _expect_ours(os.stat(NAME + WAL, dir_fd=directory_fd, follow_symlinks=False), NAME + WAL)
    try:
        fd = os.open(NAME, _FLAGS, 0o600, dir_fd=directory_fd)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise HistoryDamagedError(f"{NAME} is no regular file") from error
        raise
    try:
        _expect_ours(os.fstat(fd), NAME)
        _lock(fd)
        _expect_header(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_in_place(directory_fd: int, name: str, status: os.stat_result) -> bool:
    """Whether what was opened still has that name, and no other."""
    try:
        found = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except OSError:
        return False
    return os.path.samestat(found, status) and found.st_nlink == 1


def is_open_here(status: os.stat_result, besides: int) -> bool:
    """Whether this process has that very inode open, by another descriptor than `besides`."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if int(name) != besides and os.path.samestat(os.fstat(int(name)), status):
                return True
    return False


def set_aside(directory_fd: int, most_bytes: int) -> None:
    """Give what has the history's name another one, in place of what was set aside before.

    What is larger than a history may be is deleted: nobody is to fill the disk with what is called one of ours.

    Raises:
        OSError: It can't be renamed.
    """
    for suffix in ("", WAL, JOURNAL):
        try:
            os.rename(NAME + suffix, DAMAGED + suffix, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(DAMAGED + suffix, dir_fd=directory_fd)
        else:
            status = os.stat(DAMAGED + suffix, dir_fd=directory_fd, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and status.st_blocks * 512 > most_bytes:
                os.unlink(DAMAGED + suffix, dir_fd=directory_fd)


def keep_place_of_log(directory_fd: int) -> None:
    """Leave an empty log, which to sqlite is none: on a disk without an inode left none could be made to read by."""
    with contextlib.suppress(OSError):
        os.close(os.open(NAME + WAL, _FLAGS | os.O_EXCL, 0o600, dir_fd=directory_fd))


def size_bytes(directory_fd: int) -> int:
    """What all its files take."""
    total = 0
    for name in FILES:
        with contextlib.suppress(OSError):
            total += os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_blocks * 512
    return total


def is_there(directory_fd: int) -> bool:
    """Whether something has been recorded before, by its name and size alone."""
    try:
        return os.stat(NAME, dir_fd=directory_fd, follow_symlinks=False).st_size > 0
    except OSError:
        return False


def is_there_beneath(root_fd: int) -> bool:
    """The same, for a root whose `.gcsidecar/` isn't open yet."""
    try:
        return os.stat(f"{STATE_DIRECTORY}/{NAME}", dir_fd=root_fd, follow_symlinks=False).st_size > 0
    except OSError:
        return False


def _unlink_or_damaged(directory_fd: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory_fd)
    except IsADirectoryError as error:
        raise HistoryDamagedError(f"{name} is a directory") from error


def _expect_ours(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise HistoryDamagedError(f"{name} is no regular file")
    if status.st_nlink != 1:
        raise HistoryDamagedError(f"{name} has {status.st_nlink} names")
    if status.st_uid != os.geteuid():
        raise HistoryDamagedError(f"{name} belongs to user {status.st_uid}")


def _lock(fd: int) -> None:
    """Hold off other programs for as long as `fd` is open.

    sqlite itself takes no locks here: the root's lock has decided who writes, and a network mount may have none. But an
    operator's `sqlite3` that opened the file meanwhile would take the WAL for its own when it ends. This lock is the
    open file's, so that closing another descriptor of the same file doesn't drop it, as it would a lock of sqlite's.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, *_LOCK_BYTES, 0))
    except OSError as error:
        if error.errno in _HELD:
            raise HistoryUnavailableError(f"another program has {NAME} open") from error


def _expect_header(fd: int) -> None:
    """By the first bytes a history, or nothing yet."""
    header = os.pread(fd, _HEADER_BYTES, 0)
    if header and (len(header) < _HEADER_BYTES or not header.startswith(_MAGIC) or header[18:20] != _WAL_MODE):
        raise HistoryDamagedError(f"{NAME} has another format")

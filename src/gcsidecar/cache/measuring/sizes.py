"""The size of one tree as its deletion would give it back, and whether something in it forbids to delete it.

It looks and counts, in chunks between which its caller may do other things; nothing is changed, and nothing decided.
"""

from __future__ import annotations

import errno
import os
from contextlib import closing
from dataclasses import dataclass
from stat import S_ISDIR
from typing import TYPE_CHECKING

from gcsidecar.cache.descent import Descent, Level, identity_of
from gcsidecar.cache.obstacles import (
    FOREIGN_DIRECTORY,
    FOREIGN_ENTRY,
    IMMUTABLE,
    MOUNTED,
    MOVED,
    is_forbidden,
    is_sticky,
)
from gcsidecar.cache.syscalls import asker_for_immutable, is_immutable, mount_id, mount_id_of, open_beneath

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

BLOCK_BYTES = 512  # the unit of st_blocks, whatever the filesystem's own (`stat(2)`)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


@dataclass(frozen=True, slots=True)
class TreeSize:
    """What one tree takes, as of its measuring.

    Attributes:
        disk_bytes: Allocated, directories included; of a hard link its share, blocks over links.
        inodes: Of a hard link its share.
        apparent_bytes: Length of all that isn't a directory; of a hard link its share.
        newest_mtime: The newest of a regular file, in POSIX seconds; 0.0 where there is none.
        newest_atime: Likewise; 0.0 where it was not asked for.
        entries: How many were looked at, the tree itself included.
        obstacle: The first thing found for which it can't be deleted whole, with its path in the tree; none known.
        unreadable: Directories whose contents, or some of them, are not in these figures.
    """

    disk_bytes: int
    inodes: int
    apparent_bytes: int
    newest_mtime: float
    newest_atime: float
    entries: int
    obstacle: str | None
    unreadable: int


def walk(dir_fd: int, name: str, *, atime: bool = False, chunk: int = 256) -> Generator[int, None, TreeSize]:
    """Measure the directory `name` in `dir_fd`, bit by bit.

    One mount: what is mounted inside is neither entered nor counted. Symbolic links are not followed. What vanishes
    meanwhile is left out. Access times of directories are left alone where that is permitted.

    Args:
        dir_fd: The directory that it is in.
        name: Its name, relative.
        atime: Also find the newest access time.
        chunk: Entries between two yields, about.

    Yields:
        How many entries were looked at.

    Returns:
        The size. Closing the generator before its end lets go of the descriptors.

    Raises:
        OSError: The tree itself can't be opened, as `open_beneath` has it; there are no descriptors left.
    """
    measuring = Walk(atime=atime)
    with closing(measuring.begin(dir_fd, name)) as descent:
        yielded = 0
        while descent.levels:
            measuring.step(descent, chunk)
            if measuring.entries - yielded >= chunk:
                yielded = measuring.entries
                yield yielded
    return measuring.size()


def measure(dir_fd: int, name: str, *, atime: bool = False) -> TreeSize:
    """Measure the directory `name` in `dir_fd` without a pause; as `walk`."""
    steps = walk(dir_fd, name, atime=atime)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            size: TreeSize = end.value
            return size


@dataclass(slots=True, eq=False)
class _Directory(Level):
    """A directory being measured.

    Attributes:
        uid: Whose it is.
        mtime: When its entries last changed, POSIX seconds.
        is_forbidden: We may not delete in it, and not permit ourselves to.
        is_sticky: We may delete our own entries in it only.
        is_incomplete: Something in it could not be looked at.
    """

    uid: int = 0
    mtime: float = 0.0
    is_forbidden: bool = False
    is_sticky: bool = False
    is_incomplete: bool = False


class _Share:
    """The sums over all files with one number of links, before they are divided by it."""

    __slots__ = ("apparent_bytes", "blocks", "files")

    def __init__(self) -> None:
        self.blocks = self.apparent_bytes = self.files = 0


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time in which a change is of interest: of a file, or of the entries of a directory below the top.

    Attributes:
        after: It begins then, POSIX seconds.
        before: It ends then.
        ignored: Whether a name at the top is of none.
    """

    after: float
    before: float
    ignored: Callable[[str], bool]

    def has(self, mtime: float) -> bool:
        """Whether a change falls in it."""
        return self.after < mtime < self.before


class Walk:
    """One measuring under way: a step is a chunk of entries, the way into a subdirectory, or the end of a directory.

    Args:
        atime: Also find the newest access time.
        window: Also find out whether anything changed in that time.

    Attributes:
        entries: How many were looked at.
        is_changing: Whether something did.
    """

    def __init__(self, *, atime: bool, window: Window | None = None) -> None:
        self._atime = atime
        self._window = window
        self.is_changing = False
        self._euid = os.geteuid()
        self._no_atime = os.O_NOATIME
        self._is_immutable_in = asker_for_immutable()
        self._mount: int | None = None
        self.entries = 0
        self._blocks = self._inodes = self._apparent_bytes = 0
        self._newest_mtime = self._newest_atime = 0.0
        self._shares: dict[int, _Share] = {}
        self._obstacle: str | None = None
        self._unreadable = 0

    def size(self) -> TreeSize:
        """The figures as they are now."""
        shares = self._shares.items()
        return TreeSize(
            disk_bytes=self._blocks * BLOCK_BYTES + sum(s.blocks * BLOCK_BYTES // n for n, s in shares),
            inodes=self._inodes + sum(s.files // n for n, s in shares),
            apparent_bytes=self._apparent_bytes + sum(s.apparent_bytes // n for n, s in shares),
            newest_mtime=self._newest_mtime,
            newest_atime=self._newest_atime,
            entries=self.entries,
            obstacle=self._obstacle,
            unreadable=self._unreadable,
        )

    def begin(self, dir_fd: int, name: str) -> Descent[_Directory]:
        """Open the tree."""
        descent = Descent(self._open(dir_fd, name))
        self._look_at(descent)
        return descent

    def step(self, descent: Descent[_Directory], chunk: int) -> None:
        """Go on by one step."""
        directory = descent.here
        if directory.entries is not None and (descent.is_deep or not directory.waiting):
            self._count_some(descent, directory, chunk)
        elif directory.waiting:
            self._enter(descent, directory, directory.waiting.pop())
        else:
            self._finish(descent, directory)

    def _open(self, dir_fd: int, name: str) -> _Directory:
        """Open a directory to count what is in it, and count it."""
        fd = self._open_quietly(dir_fd, name)
        try:
            status = os.fstat(fd)
            directory = _Directory(name, fd, identity_of(status), uid=status.st_uid, mtime=status.st_mtime)
            directory.read()
        except OSError:
            os.close(fd)
            raise
        self._count_directory(status)
        directory.is_forbidden, directory.is_sticky = is_forbidden(fd, status), is_sticky(status)
        return directory

    def _open_quietly(self, dir_fd: int, name: str) -> int:
        """Open without leaving a trace in the access time, where that is permitted: on what is ours, or to root."""
        try:
            return open_beneath(dir_fd, name, _DIRECTORY | self._no_atime)
        except PermissionError:
            if not self._no_atime:
                raise
        fd = open_beneath(dir_fd, name, _DIRECTORY)
        self._no_atime = 0  # the rest is likely somebody else's too, and each refusal costs four calls
        return fd

    def _look_at(self, descent: Descent[_Directory]) -> None:
        if is_immutable(descent.here.fd):
            self._note(descent, "", IMMUTABLE)

    def _count_some(self, descent: Descent[_Directory], directory: _Directory, chunk: int) -> None:
        """Count the next entries; subdirectories among them have to wait."""
        try:
            entries = directory.take(chunk)
        except OSError:
            directory.is_incomplete = True
            return
        if entries and directory.is_forbidden:
            self._note(descent, "", FOREIGN_DIRECTORY)
        self._count_all(descent, directory, entries)

    def _count_all(self, descent: Descent[_Directory], directory: _Directory, entries: list[os.DirEntry[str]]) -> None:
        # Runs once for each file there is, so sums are local and the common case calls nothing: a fifth of the time.
        blocks = apparent_bytes = files = seen = 0
        newest = self._newest_mtime
        fd, obstructed, is_immutable_in = directory.fd, self._obstacle is not None, self._is_immutable_in
        is_usual = not (directory.is_sticky or self._atime or self._window is not None)
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    directory.waiting.append(entry.name)
                    continue
                status = entry.stat(follow_symlinks=False)
                # A directory lists the inode that is in it, stat finds the one mounted over it.
                if status.st_ino != entry.inode() and self._is_mounted(descent, directory, entry.name):
                    continue
            except FileNotFoundError:
                continue
            except OSError:  # one may list it, but not enter it; or the filesystem is damaged
                directory.is_incomplete = True
                continue
            if not obstructed and is_immutable_in(fd, entry.name):
                self._note(descent, entry.name, IMMUTABLE)
                obstructed = True
            seen += 1
            if status.st_nlink > 1:
                self._count_share(status)
            else:
                blocks += status.st_blocks
                apparent_bytes += status.st_size
                files += 1
            if status.st_mtime > newest and entry.is_file(follow_symlinks=False):
                newest = status.st_mtime
            if not is_usual:
                self._look_closer(descent, directory, entry, status)
        self.entries += seen
        self._blocks += blocks
        self._apparent_bytes += apparent_bytes
        self._inodes += files
        self._newest_mtime = newest

    def _look_closer(
        self, descent: Descent[_Directory], directory: _Directory, entry: os.DirEntry[str], status: os.stat_result
    ) -> None:
        if self._atime and status.st_atime > self._newest_atime and entry.is_file(follow_symlinks=False):
            self._newest_atime = status.st_atime
        if directory.is_sticky and status.st_uid != self._euid:
            self._note(descent, entry.name, FOREIGN_ENTRY)
        if self._window is not None and self._window.has(status.st_mtime) and entry.is_file(follow_symlinks=False):
            self.is_changing |= not (descent.above is None and self._window.ignored(entry.name))

    def _count_share(self, status: os.stat_result) -> None:
        """Count a hard link by its share: right in the sum wherever the others lie, and none has to be remembered."""
        share = self._shares.setdefault(status.st_nlink, _Share())
        share.blocks += status.st_blocks
        share.apparent_bytes += status.st_size
        share.files += 1

    def _count_directory(self, status: os.stat_result) -> None:
        self.entries += 1
        self._blocks += status.st_blocks
        self._inodes += 1

    def _is_mounted(self, descent: Descent[_Directory], directory: _Directory, name: str) -> bool:
        """Whether something is mounted over a file, where its inode number is another than the directory's.

        It may be so without a mount: FUSE servers list what numbers they like, and a file can be replaced meanwhile.
        """
        if self._mount is None:
            self._mount = mount_id(directory.fd)
        if mount_id_of(directory.fd, name, missing=self._mount) == self._mount:
            return False
        self._note(descent, name, MOUNTED)
        return True

    def _enter(self, descent: Descent[_Directory], directory: _Directory, name: str) -> None:
        if descent.is_full:
            self._unreadable += 1
            return
        try:
            below = self._open(directory.fd, name)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            self._count_unopened(descent, directory, name, error)
            return
        descent.enter(below)
        self.is_changing |= self._window is not None and self._window.has(below.mtime)
        if directory.is_sticky and below.uid != self._euid:
            self._note(descent, "", FOREIGN_ENTRY)
        self._look_at(descent)

    def _count_unopened(self, descent: Descent[_Directory], directory: _Directory, name: str, refusal: OSError) -> None:
        """Count a directory that could not be entered, itself only."""
        if refusal.errno == errno.EXDEV:
            self._note(descent, name, MOUNTED)
            return
        try:
            status = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
        except OSError:  # gone meanwhile, most likely
            return
        if S_ISDIR(status.st_mode):  # else it was swapped for something that the next measuring will count
            self._count_directory(status)
            self._unreadable += 1
            if status.st_uid != self._euid:
                self._note(descent, name, FOREIGN_DIRECTORY)

    def _finish(self, descent: Descent[_Directory], directory: _Directory) -> None:
        self._unreadable += directory.is_incomplete
        if not descent.climb():
            self._unreadable += 1
            self._note(descent, "", MOVED)
        descent.leave()

    def _note(self, descent: Descent[_Directory], name: str, obstacle: str) -> None:
        if self._obstacle is None:
            self._obstacle = f"{descent.path(name)}: {obstacle}"

"""Counting a directory's entries many at a time, by `getdents64(2)` and `statx(2)` as the kernel gives them.

The common case only is decided here, over whole columns of answers; what is unusual about an entry is told the walk.

The kernel takes a microsecond for an entry that isn't in the processor's caches. `os.scandir` and `DirEntry.stat` add
0.6 to that for objects that nobody keeps, and don't tell what is immutable; a call for that is another 1.4. So names
stay where the kernel put them, are handed back to it by their address, and it answers into an array, of which columns
are looked at: 0.4 in all.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from itertools import repeat
from stat import S_IFDIR, S_IFMT, S_IFREG
from typing import TYPE_CHECKING

from gcsidecar.cache.obstacles import FOREIGN_DIRECTORY, IMMUTABLE, MOUNTED

if TYPE_CHECKING:
    from typing import TypeAlias

    from gcsidecar.cache.walking.walk import Directory, Walk

    _Argument: TypeAlias = object

# Of the kernel's user interface: <linux/stat.h>, <linux/fcntl.h>, <dirent.h>.
_AT_SYMLINK_NOFOLLOW, _AT_NO_AUTOMOUNT, _AT_EMPTY_PATH = 0x100, 0x800, 0x1000
_STATX_BASIC_STATS, _STATX_MNT_ID = 0x7FF, 0x1000
_ATTR_FIXED = 0x10 | 0x20  # STATX_ATTR_IMMUTABLE, STATX_ATTR_APPEND
_ATTR_MOUNT_ROOT = 0x2000  # as old as STATX_MNT_ID
_DT_UNKNOWN, _DT_DIR = 0, 4
_MAYBE_DIRECTORY = frozenset({_DT_UNKNOWN, _DT_DIR})  # an ext4 without `filetype` says unknown of all, of `..`, too
_STATX_BYTES = 256
# In struct dirent64, whose length is a multiple of 8: that length in 16 bits, the type in 8, the name.
_KIND_AT, _NAME_AT = 16, 19
_KIND = 0xFFFFFF
_DOT, _DOT_DOT = 0x2E, 0x2E2E  # with the NUL after them
_ALIKE = 4
_LONGEST_RECORD = 280
_USUAL_RECORD = 32

# Slots for answers: few enough that they stay in the processor's cache, enough that what is done once for all of them
# doesn't count.
_SLOTS = 256
# stx_attributes, stx_nlink, stx_uid, stx_mode, stx_size, stx_blocks, stx_atime, stx_mtime
_fields = struct.Struct("<8xQII4xH10xQQ8xqI36xqI132x")
# Where a byte of a field has one of its usual values in all answers, nothing has to be unpacked.
_ATTRIBUTES_AT, _LINKS_AT, _MODE_AT = 8, 16, 28
_UNFIXED = bytes(byte for byte in range(256) if not byte & _ATTR_FIXED)
_UNMOUNTED = bytes(byte for byte in range(256) if not byte & _ATTR_MOUNT_ROOT >> 8)
_NO_DIRECTORY = bytes(byte for byte in range(256) if byte & 0xF0 != S_IFDIR >> 8)
_REGULAR = bytes(byte for byte in range(256) if byte & 0xF0 == S_IFREG >> 8)
# Columns of 8 bytes: stx_size, stx_blocks, and the seconds of times; their nanoseconds are in the 4 bytes after those.
_SIZE, _BLOCKS, _ATIME, _MTIME = 5, 6, 8, 14
_STEP, _STEP_4 = _STATX_BYTES // 8, _STATX_BYTES // 4


class Bulk:
    """Room for names and answers, made once; to be used in one thread, by any number of walks.

    Args:
        library: The C library. With `ctypes.PyDLL` no other thread runs during a call, which saves a tenth.
        entries: How many are listed at a time, about.

    Raises:
        OSError: This machine can't do it: it has no such calls, refuses them, or tells too little.
    """

    def __init__(self, library: type[ctypes.CDLL], entries: int) -> None:
        statx, told = getattr(library(None), "statx", None), library(None, use_errno=True)
        getdents = getattr(told, "getdents64", None) or getattr(told, "getdents", None)  # musl has but the one
        if statx is None or getdents is None or sys.byteorder != "little":  # the columns above are for little
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), "statx")
        self._statx, self._getdents = statx, getdents
        getdents.restype = ctypes.c_ssize_t
        length = max(_LONGEST_RECORD, entries * _USUAL_RECORD)
        self._names, self._answers = bytearray(length), bytearray(_SLOTS * _STATX_BYTES)
        names, answers = _address(self._names), _address(self._answers)
        self._words = memoryview(self._names)[: length // 8 * 8].cast("Q")
        self._columns = memoryview(self._answers).cast("q")
        self._columns_4 = memoryview(self._answers).cast("I")
        # Arguments are converted once: that takes as long as the rest of a call.
        pointer, number = ctypes.c_void_p.from_param, ctypes.c_int.from_param
        self._name_at = [pointer(names + offset + _NAME_AT) for offset in range(0, length, 8)]
        self._slots = [pointer(answers + offset) for offset in range(0, len(self._answers), _STATX_BYTES)]
        self._room, self._end = pointer(names), 0
        self._lengths: dict[int, ctypes.c_size_t] = {}
        self._flags = number(_AT_SYMLINK_NOFOLLOW | _AT_NO_AUTOMOUNT)
        self._flags_here, self._here = number(_AT_EMPTY_PATH | _AT_NO_AUTOMOUNT), ctypes.c_char_p(b"")
        self._mask = number(_STATX_BASIC_STATS | _STATX_MNT_ID)
        self._probe()

    def begin(self, directory: Directory) -> None:
        """Nothing has to be made ready."""

    def is_immutable(self, fd: int) -> bool:
        """Whether `chattr +i` or `+a` is on an open directory.

        Raises:
            OSError: It can't be asked.
        """
        if self._statx(fd, self._here, self._flags_here, self._mask, self._slots[0]) != 0:
            os.fstat(fd)  # which fails as that did, and says how
            return False
        return bool(self._answers[_ATTRIBUTES_AT] & _ATTR_FIXED)

    def count(self, walk: Walk, directory: Directory, chunk: int) -> None:
        """Count the next entries of a directory; subdirectories among them have to wait.

        Raises:
            OSError: It can't be read on.
        """
        self._end = self._list(directory.fd, chunk)
        if self._end == 0:
            directory.is_read = True
            return
        names = self._take_names(directory.waiting)
        if directory.is_forbidden and (names or directory.waiting):
            walk.note("", FOREIGN_DIRECTORY)
        for first in range(0, len(names), _SLOTS):
            self._count(walk, directory, names[first : first + _SLOTS], first)

    def _probe(self) -> None:
        """See that it is the kernel that answers: the C library feigns `statx` where there is none."""
        answered = self._statx(-100, ctypes.c_char_p(b"/"), self._flags, self._mask, self._slots[0])
        if answered != 0 or not self._columns_4[0] & _STATX_MNT_ID:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), "statx")

    def _list(self, fd: int, chunk: int) -> int:
        """Get the next records; how many bytes they are."""
        length = self._lengths.get(chunk) or self._length_for(chunk)
        while (end := int(self._getdents(fd, self._room, length))) < 0:
            code = ctypes.get_errno()
            if code == errno.ENOENT:  # it was deleted
                return 0
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code))
        return end

    def _length_for(self, chunk: int) -> ctypes.c_size_t:
        length = ctypes.c_size_t(min(len(self._names), max(_LONGEST_RECORD, chunk * _USUAL_RECORD)))
        return self._lengths.setdefault(chunk, length)

    def _take_names(self, waiting: list[str]) -> list[_Argument]:
        """The names of what isn't a directory, to be asked for; those of directories go to `waiting`."""
        words, end, offset, before, alike = self._words, self._end >> 3, 0, 0, 0
        names: list[_Argument] = []
        while offset < end:
            word = words[offset + 2]
            kind, step = word & _KIND, (word & 0xFFFF) >> 3
            if kind >> 16 in _MAYBE_DIRECTORY:
                if not _is_dots(word):
                    if kind >> 16 == _DT_DIR:
                        waiting.append(self._name(offset))
                    else:
                        names.append(self._name_at[offset])
                offset += step
                continue
            names.append(self._name_at[offset])
            offset += step
            alike = alike + 1 if kind == before else 0
            before = kind
            # Names of one length, as hashes and numbers have it, are taken in one go.
            if alike == _ALIKE:
                alike, stop = 0, offset + step * self._count_alike(offset, kind)
                names += self._name_at[offset:stop:step]
                offset = stop
        return names

    def _count_alike(self, offset: int, kind: int) -> int:
        """How many of the records from here on have one length and type."""
        most, step = self._end, kind & 0xFFFF
        for at in range(3):
            column = self._names[offset * 8 + _KIND_AT + at : self._end : step]
            most = min(most, len(column) - len(column.lstrip(bytes([kind >> 8 * at & 0xFF]))))
        return most

    def _offsets(self, first: int, count: int) -> list[int]:
        """Where records of what isn't a directory stand, in words of 8 bytes."""
        words, offset, end = self._words, 0, self._end >> 3
        offsets: list[int] = []
        while offset < end:
            word = words[offset + 2]
            kind = word >> 16 & 0xFF
            if kind != _DT_DIR and not (kind == _DT_UNKNOWN and _is_dots(word)):
                offsets.append(offset)
            offset += (word & 0xFFFF) >> 3
        return offsets[first : first + count]

    def _name(self, offset: int) -> str:
        start = offset * 8 + _NAME_AT
        return os.fsdecode(bytes(self._names[start : self._names.index(0, start)]))

    def _count(self, walk: Walk, directory: Directory, names: list[_Argument], first: int) -> None:
        count, fd = len(names), repeat(ctypes.c_int.from_param(directory.fd))
        # No line of Python runs between the calls.
        failed = list(map(self._statx, fd, names, repeat(self._flags), repeat(self._mask), self._slots))
        if walk.is_curious or directory.is_sticky or any(failed) or not self._are_harmless(count):
            self._look_at_each(walk, directory, first, failed)
        elif self._are_plain(count):
            self._add_plain(walk, count)
        else:
            self._add_each(walk, count)

    def _are_harmless(self, count: int) -> bool:
        """Whether none of them is immutable, mounted over, or a directory after all."""
        answers, end = self._answers, count * _STATX_BYTES
        return not (
            answers[_ATTRIBUTES_AT:end:_STATX_BYTES].strip(_UNFIXED)
            or answers[_ATTRIBUTES_AT + 1 : end : _STATX_BYTES].strip(_UNMOUNTED)
            or answers[_MODE_AT + 1 : end : _STATX_BYTES].strip(_NO_DIRECTORY)
        )

    def _are_plain(self, count: int) -> bool:
        """Whether all of them are regular files of one link."""
        answers, end = self._answers, count * _STATX_BYTES
        return not (
            answers[_MODE_AT + 1 : end : _STATX_BYTES].strip(_REGULAR)
            or answers[_LINKS_AT:end:_STATX_BYTES].strip(b"\1")
            or answers[_LINKS_AT + 1 : end : _STATX_BYTES].strip(b"\0")
            or answers[_LINKS_AT + 2 : end : _STATX_BYTES].strip(b"\0")
            or answers[_LINKS_AT + 3 : end : _STATX_BYTES].strip(b"\0")
        )

    def _add_plain(self, walk: Walk, count: int) -> None:
        """Add regular files of one link each."""
        figures, columns, end = walk.figures, self._columns, count * _STEP
        figures.entries += count
        figures.inodes += count
        figures.blocks += sum(columns[_BLOCKS:end:_STEP].tolist())
        figures.apparent_bytes += sum(columns[_SIZE:end:_STEP].tolist())
        figures.newest_mtime = self._newest(_MTIME, count, figures.newest_mtime)
        if walk.wants_atime:
            figures.newest_atime = self._newest(_ATIME, count, figures.newest_atime)

    def _newest(self, column: int, count: int, known: float) -> float:
        """The newest of these times, and of the one known before."""
        seconds = self._columns[column : count * _STEP : _STEP].tolist()
        newest = max(seconds)
        if newest < int(known):
            return known
        parts = self._columns_4[column * 2 + 2 : count * _STEP_4 : _STEP_4].tolist()
        if seconds.count(newest) < count:
            parts = [part for second, part in zip(seconds, parts, strict=True) if second == newest]
        return max(known, _time(newest, max(parts)))

    def _add_each(self, walk: Walk, count: int) -> None:
        """Add what is no directory, and nothing else is the matter with."""
        figures, wants_atime = walk.figures, walk.wants_atime
        answers = memoryview(self._answers)[: count * _STATX_BYTES]
        for _, links, _, mode, size, blocks, *atime, seconds, nanoseconds in _fields.iter_unpack(answers):
            figures.add(links, blocks, size)
            if mode & 0xF000 != S_IFREG:
                continue
            if seconds >= int(figures.newest_mtime):
                figures.newest_mtime = max(figures.newest_mtime, _time(seconds, nanoseconds))
            if wants_atime:
                figures.newest_atime = max(figures.newest_atime, _time(*atime))

    def _look_at_each(self, walk: Walk, directory: Directory, first: int, failed: list[int]) -> None:
        """Add what may be anything."""
        offsets = self._offsets(first, len(failed))
        answers = _fields.iter_unpack(memoryview(self._answers)[: len(failed) * _STATX_BYTES])
        for offset, has_failed, fields in zip(offsets, failed, answers, strict=True):
            attributes, links, uid, mode, size, blocks, *times = fields
            name = self._name(offset)
            if has_failed:
                walk.count_again(directory, name)
            elif attributes & _ATTR_MOUNT_ROOT:
                walk.note(name, MOUNTED)
            elif S_IFMT(mode) == S_IFDIR:  # the directory doesn't tell types, or it came meanwhile
                directory.waiting.append(name)
            else:
                if attributes & _ATTR_FIXED:
                    walk.note(name, IMMUTABLE)
                walk.figures.add(links, blocks, size)
                walk.look_closer(directory, name, mode, uid, _time(*times[2:]), _time(*times[:2]))


def _is_dots(word: int) -> bool:
    """Whether the name of a record, by its third word, is that of the directory itself or of the one above."""
    return word >> 24 & 0xFFFF == _DOT or word >> 24 & 0xFFFFFF == _DOT_DOT


def _address(room: bytearray) -> int:
    return ctypes.addressof((ctypes.c_char * len(room)).from_buffer(room))


def _time(seconds: int, nanoseconds: int) -> float:
    return seconds + 1e-9 * nanoseconds  # to the bit as `os.stat` has it

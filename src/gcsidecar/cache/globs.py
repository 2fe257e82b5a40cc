"""Paths of globs below an open directory: which entries they match, by descriptor and through no link.

A path of globs has one glob a level; what is found by one means nothing here.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import contextmanager
from fnmatch import translate
from typing import TYPE_CHECKING

from gcsidecar.cache.entries import entries_of
from gcsidecar.cache.syscalls import open_beneath

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_WILD = re.compile(r"[*?\[]")
_ESCAPED = re.compile(r"\[([*?\[])\]")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK
# A name made of a folder's name may be longer than any that can be there.
_NONE_OF_THAT_NAME = frozenset({errno.ENOENT, errno.ENAMETOOLONG})


def is_wild(glob: str) -> bool:
    """Whether it may match other names than itself."""
    return _WILD.search(_ESCAPED.sub("", glob)) is not None


def is_itself(glob: str) -> bool:
    """Whether it matches its own text and nothing else."""
    return _WILD.search(glob) is None


def needle(glob: str) -> str:
    """What stands in each name that it matches; nothing where that isn't plain to see."""
    return "" if "[" in glob else max(re.split(r"[*?]", glob), key=len)


def without_longer(parts: Iterable[str]) -> list[str]:
    """Of these only those that hold no other of them: what holds one of the others holds one of these."""
    shortest: list[str] = []
    for part in sorted(parts, key=len):
        if not any(other in part for other in shortest):
            shortest.append(part)
    return shortest


def literal(name: str) -> str:
    """A glob that only this name matches."""
    return _WILD.sub(r"[\g<0>]", name)


def compiled(globs: Sequence[str]) -> re.Pattern[str]:
    """Matches what any of them matches."""
    return re.compile("|".join(translate(glob) for glob in globs) or r"(?!)", re.DOTALL)


def search(dir_fd: int, parts: Sequence[str]) -> list[tuple[str, float]]:
    """All that a path of globs matches, with its mtime; a way that isn't there has nothing.

    Raises:
        OSError: Something on the way can't be read.
    """
    *above, last = parts
    found: list[tuple[str, float]] = []
    for path, fd in directories(dir_fd, above):
        found.extend((path + name, mtime) for name in names(fd, last) if (mtime := mtime_of(fd, name)) is not None)
    return found


def directories(dir_fd: int, parts: Sequence[str], *, strict: bool = False) -> Iterator[tuple[str, int]]:
    """The directories that a path of globs matches: each one's path, with a slash at its end, and its descriptor.

    Each is open until the next is asked for. No parts: the directory itself.

    Args:
        dir_fd: Where the path begins.
        parts: The globs.
        strict: Whether a link in place of a directory is an error; else there is nothing.

    Raises:
        OSError: Something on the way can't be read.
    """
    if not parts:
        yield "", dir_fd
        return
    glob, *deeper = parts
    for name in names(dir_fd, glob):
        with _opened(dir_fd, name, strict=strict) as fd:
            if fd is not None:
                yield from ((f"{name}/{path}", below) for path, below in directories(fd, deeper, strict=strict))


def mtime_of(dir_fd: int, name: str) -> float | None:
    """When an entry was last changed, POSIX seconds; none where there is none of that name.

    Raises:
        OSError: That can't be told.
    """
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mtime
    except OSError as error:
        if error.errno in _NONE_OF_THAT_NAME:
            return None
        raise


def names(fd: int, glob: str) -> list[str]:
    """The entries of a directory that a glob matches; where it isn't wild its only name, be it there or not.

    Raises:
        OSError: The directory can't be read.
    """
    if not is_wild(glob):
        return [_ESCAPED.sub(r"\1", glob)]
    matches = compiled([glob]).match
    with entries_of(fd) as entries:
        return [entry.name for entry in entries if matches(entry.name)]


@contextmanager
def _opened(dir_fd: int, name: str, *, strict: bool) -> Iterator[int | None]:
    try:
        fd = open_beneath(dir_fd, name, _DIRECTORY)
    except OSError as error:
        if error.errno not in {*_NONE_OF_THAT_NAME, errno.ENOTDIR}:
            raise
        if strict and error.errno == errno.ENOTDIR and _is_link(dir_fd, name):
            raise
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _is_link(dir_fd: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False

"""Paths of globs below an open directory: which entries they match, by descriptor and through no link.

A path of globs has one glob a level; what is found by one means nothing here.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager
from fnmatch import translate
from typing import TYPE_CHECKING

from gcsidecar.cache.entries import entries_of
from gcsidecar.cache.syscalls import open_beneath

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WILD = re.compile(r"[*?\[]")
_ESCAPED = re.compile(r"\[([*?\[])\]")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK
# A name made of a folder's name may be longer than any that can be there.
_NONE_OF_THAT_NAME = frozenset({errno.ENOENT, errno.ENAMETOOLONG})


def is_wild(glob: str) -> bool:
    """Whether it may match other names than itself."""
    return _WILD.search(_ESCAPED.sub("", glob)) is not None


def literal(name: str) -> str:
    """A glob that only this name matches."""
    return _WILD.sub(r"[\g<0>]", name)


def _named(glob: str) -> str:
    """The only name that a glob matches which isn't wild."""
    return _ESCAPED.sub(r"\1", glob)


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
        names = _matching(fd, last) if is_wild(last) else [_named(last)]
        found.extend((path + name, mtime) for name in names if (mtime := mtime_of(fd, name)) is not None)
    return found


def directories(dir_fd: int, parts: Sequence[str]) -> Iterator[tuple[str, int]]:
    """The directories that a path of globs matches: each one's path, with a slash at its end, and its descriptor.

    Each is open until the next is asked for. No parts: the directory itself.

    Raises:
        OSError: Something on the way can't be read.
    """
    if not parts:
        yield "", dir_fd
        return
    glob, *deeper = parts
    for name in _matching(dir_fd, glob) if is_wild(glob) else [_named(glob)]:
        with _opened(dir_fd, name) as fd:
            if fd is not None:
                yield from ((f"{name}/{path}", below) for path, below in directories(fd, deeper))


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


def _matching(fd: int, glob: str) -> list[str]:
    matches = compiled([glob]).match
    with entries_of(fd) as entries:
        return [entry.name for entry in entries if matches(entry.name)]


@contextmanager
def _opened(dir_fd: int, name: str) -> Iterator[int | None]:
    try:
        fd = open_beneath(dir_fd, name, _DIRECTORY)
    except OSError as error:
        if error.errno not in {*_NONE_OF_THAT_NAME, errno.ENOTDIR}:
            raise
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)

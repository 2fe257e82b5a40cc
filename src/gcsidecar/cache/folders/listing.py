"""Which entries of a root are its folders: those that its glob matches, and nothing else.

It lists names with their `stat`, and follows no link; what the folders are worth is not its business.
"""

from __future__ import annotations

import os
import re
from fnmatch import translate
from typing import TYPE_CHECKING, NamedTuple

from gcsidecar.cache.entries import entries_of
from gcsidecar.cache.syscalls import open_beneath
from gcsidecar.contract import STATE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsidecar.cache.use.lease import LeasePatterns

# Ours, and the one that mkfs makes at the top of an ext filesystem for fsck: neither is ever a folder.
_NEVER = frozenset({STATE_DIRECTORY, "lost+found"})
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK


class Found(NamedTuple):
    """A folder as it was listed."""

    name: str
    status: os.stat_result


def _nobody(_path: str) -> None:
    """Nobody listens."""


class FolderGlob:
    """The compiled `folders` glob of a root: one component a level."""

    def __init__(self, glob: str, patterns: LeasePatterns) -> None:
        self._levels = [(re.compile(translate(part), re.DOTALL), part.startswith(".")) for part in glob.split("/")]
        self._patterns = patterns

    def matches(self, name: str) -> bool:
        """Whether a path relative to the root can be a folder's name."""
        parts = name.split("/")
        if len(parts) != len(self._levels) or self._patterns.is_beside(name):
            return False
        return all(self._fits(part, level) for level, part in enumerate(parts))

    def is_above(self, path: str) -> bool:
        """Whether folders may lie below a path relative to the root."""
        return path.count("/") + 1 < len(self._levels)

    def list(self, root_fd: int, entering: Callable[[str], None] = _nobody) -> Iterator[Found]:
        """All folders of a root, in no particular order.

        Args:
            root_fd: The root.
            entering: Told of each directory above folders, before it is listed.

        Raises:
            OSError: The root can't be listed. (A directory above the folders that can't be is passed by.)
        """
        yield from self._list(root_fd, "", 0, entering)

    def _list(self, fd: int, above: str, level: int, entering: Callable[[str], None]) -> Iterator[Found]:
        last = level == len(self._levels) - 1
        fits, is_beside = self._fits, self._patterns.is_beside
        with entries_of(fd) as entries:
            for entry in entries:
                if not fits(entry.name, level) or not entry.is_dir(follow_symlinks=False):
                    continue
                name = above + entry.name if above else entry.name  # one object, not two, where there are very many
                if not last:
                    yield from self._below(fd, name, level, entering)
                elif not is_beside(name):
                    try:
                        yield Found(name, entry.stat(follow_symlinks=False))
                    except FileNotFoundError:
                        continue

    def _below(self, fd: int, name: str, level: int, entering: Callable[[str], None]) -> Iterator[Found]:
        try:
            below = open_beneath(fd, name.rpartition("/")[2], _FLAGS)
        except OSError:
            return
        try:
            entering(name)
            yield from self._list(below, f"{name}/", level + 1, entering)
        finally:
            os.close(below)

    def _fits(self, name: str, level: int) -> bool:
        pattern, hidden_too = self._levels[level]
        if name in _NEVER or (name.startswith(".") and not hidden_too):
            return False
        return pattern.match(name) is not None

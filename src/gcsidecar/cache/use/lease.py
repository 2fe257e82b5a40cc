"""Leases by file: which names mean that a folder is in use, and which of them are there now.

It finds and never judges: no lease file is opened here, no link followed, and what it can't read it raises.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.cache.entries import entries_of, may_have
from gcsidecar.cache.globs import compiled, is_itself, is_wild, literal, mtime_of, needle, search, without_longer
from gcsidecar.cache.use.beside import Backwards, parents_of
from gcsidecar.contract import CLIENT_LEASES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

PLACEHOLDER = "{folder}"
Version = tuple[int, int, int, int]


def version_of(status: os.stat_result) -> Version:
    """What changes with any change of a file's content, or when another file takes its name."""
    return status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size


@dataclass(frozen=True, slots=True)
class Lease:
    """Evidence that a folder is in use.

    Attributes:
        path: Where it is: relative to the folder if `inside`, else to the root.
        mtime: When its holder last touched it, POSIX seconds.
        inside: Whether it lies in the folder and moves with it.
        version: Tells this file as it is from any other (inode, ctime, mtime, size), where it may be one of our client:
            a file in the folder, by such a name and no empty one. None for all others, which only their mtimes tell of.
    """

    path: str
    mtime: float
    inside: bool
    version: Version | None = None


class LeasePatterns:
    """The compiled lease patterns of a root; leases of our client count whatever the patterns are.

    Args:
        patterns: Relative to the root, each with `{folder}` once, as the config has checked them.

    Attributes:
        shows_in_mtime: Whether a folder's own mtime tells of every lease that comes or goes in it.
        lists_beside: Whether a look beside one folder lists a directory that others lie in.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        inside = [p.removeprefix(f"{PLACEHOLDER}/") for p in patterns if p.startswith(f"{PLACEHOLDER}/")]
        here = [*(p for p in inside if "/" not in p), CLIENT_LEASES]
        self._here, self._needles = compiled(here), [os.fsencode(part) for part in without_longer(map(needle, here))]
        self._here_raw = re.compile(os.fsencode(self._here.pattern), re.DOTALL)
        self._clients = compiled([CLIENT_LEASES])
        self._deeper = [p.split("/") for p in inside if "/" in p]
        self.shows_in_mtime = not self._deeper
        self._beside = [p for p in patterns if not p.startswith(f"{PLACEHOLDER}/")]
        self._beside_names = compiled([p.replace(PLACEHOLDER, "*") for p in self._beside])
        listed = [p for p in self._beside if PLACEHOLDER in p.rpartition("/")[2]]
        self._listed = [Backwards(p, PLACEHOLDER) for p in listed]
        self._asked = [p for p in self._beside if p not in listed]
        self.lists_beside = any(pattern.is_wild for pattern in self._listed)

    def is_inside(self, name: str) -> bool:
        """Whether an entry of a folder with this name is a lease on it."""
        return self._here.match(name) is not None

    def is_inside_raw(self, name: bytes) -> bool:
        """The same of a name as the kernel gives it; of plain ones, as nearly all are, it is told without decoding."""
        return self._here_raw.match(name) is not None if name.isascii() else self.is_inside(os.fsdecode(name))

    def is_beside(self, path: str) -> bool:
        """Whether a path relative to the root could be a lease beside some folder."""
        return self._beside_names.match(path) is not None

    def folders_beside(self, path: str) -> set[str] | None:
        """The names that a folder may have beside which this path is a lease; none where its name alone can't tell.

        Without that all folders have to be looked at, by a listing.
        """
        if any(is_wild(pattern.replace(PLACEHOLDER, "")) for pattern in self._beside):
            return None
        ways = (pattern.split(PLACEHOLDER) for pattern in self._beside)
        return {
            path[len(head) : len(path) - len(tail)]
            for head, tail in ways
            if len(path) > len(head) + len(tail) and path.startswith(head) and path.endswith(tail)
        }

    def inside(self, folder_fd: int) -> list[Lease]:
        """The leases in a folder, wherever it is now.

        Raises:
            OSError: It can't be read; it is in use then.
        """
        found = self._found_here(folder_fd)
        if self._deeper:
            deeper = {path: mtime for parts in self._deeper for path, mtime in search(folder_fd, parts)}
            found.extend(Lease(path, mtime, inside=True) for path, mtime in deeper.items())
        return found

    def beside(self, root_fd: int, folder: str) -> list[Lease]:
        """The leases beside a folder, by its name; the folder itself need not be there.

        Raises:
            OSError: It can't be read; the folder is in use then.
        """
        return _beside(self._beside, root_fd, folder)

    def folders_with_lease_beside(
        self, root_fd: int, folders: Collection[str], is_folder: Callable[[str], bool]
    ) -> set[str]:
        """Of all these folders those with a lease beside them.

        Args:
            root_fd: The root.
            folders: The names of all folders.
            is_folder: Whether a name is one of them; so nothing that grows with them has to be made for that.

        Raises:
            OSError: It can't be read.
        """
        parents = parents_of(folders) if self._listed else set()
        found = {name for pattern in self._listed for name in pattern.folders(root_fd, parents, is_folder)}
        if self._asked:
            found.update(name for name in folders if name not in found and _beside(self._asked, root_fd, name))
        return found

    def _found_here(self, folder_fd: int) -> list[Lease]:
        # In nearly all folders nothing is like a lease, and to see that costs less than a match of each name.
        if not may_have(folder_fd, self._needles):
            return []
        with entries_of(folder_fd) as entries:
            names = [entry.name for entry in entries if self._here.match(entry.name) is not None]
        return [lease for name in names if (lease := self._lease(folder_fd, name)) is not None]

    def _lease(self, folder_fd: int, name: str) -> Lease | None:
        """The lease of that name in a folder, unless it was released since it was listed."""
        try:
            status = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        ours = stat.S_ISREG(status.st_mode) and status.st_size > 0 and self._clients.match(name) is not None
        return Lease(name, status.st_mtime, inside=True, version=version_of(status) if ours else None)


def _beside(patterns: Sequence[str], root_fd: int, folder: str) -> list[Lease]:
    found: dict[str, float] = {}  # by path, since more than one pattern may match it
    for pattern in patterns:
        path = pattern.replace(PLACEHOLDER, folder)
        if "/" not in path and is_itself(pattern):  # as nearly always: one call, and no way to it
            mtime = mtime_of(root_fd, path)
            found |= {} if mtime is None else {path: mtime}
        else:
            found.update(search(root_fd, pattern.replace(PLACEHOLDER, literal(folder)).split("/")))
    return [Lease(path, mtime, inside=False) for path, mtime in found.items()]

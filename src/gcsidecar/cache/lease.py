"""Leases by file: which names mean that a folder is in use, and which of them are there now.

It looks and judges; it never opens a lease file, never follows a link, and what it can't read it raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.cache.beside import Backwards, by_parent
from gcsidecar.cache.entries import entries_of
from gcsidecar.cache.globs import compiled, is_wild, literal, mtime_of, search

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

PLACEHOLDER = "{folder}"


@dataclass(frozen=True, slots=True)
class Lease:
    """Evidence that a folder is in use.

    Attributes:
        path: Where it is: relative to the folder if `inside`, else to the root.
        mtime: When its holder last touched it, POSIX seconds.
        inside: Whether it lies in the folder and moves with it.
    """

    path: str
    mtime: float
    inside: bool


class LeasePatterns:
    """The compiled lease patterns of a root.

    Args:
        patterns: Relative to the root, each with `{folder}` once, as the config has checked them.

    Attributes:
        shows_in_mtime: Whether a folder's own mtime tells of every lease that comes or goes in it.
        lists_beside: Whether a look beside one folder lists a directory that others lie in.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        inside = [p.removeprefix(f"{PLACEHOLDER}/") for p in patterns if p.startswith(f"{PLACEHOLDER}/")]
        here = [p for p in inside if "/" not in p]
        self._here = compiled(here)
        self._here_literal = [p for p in here if not is_wild(p)]
        self._here_wild = len(self._here_literal) < len(here)
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

    def is_beside(self, path: str) -> bool:
        """Whether a path relative to the root could be a lease beside some folder."""
        return self._beside_names.match(path) is not None

    def inside(self, folder_fd: int) -> list[Lease]:
        """The leases in a folder, wherever it is now.

        Raises:
            OSError: It can't be read; it is in use then.
        """
        found = dict(self._found_here(folder_fd))
        for parts in self._deeper:
            found.update(search(folder_fd, parts))
        return [Lease(path, mtime, inside=True) for path, mtime in found.items()]

    def beside(self, root_fd: int, folder: str) -> list[Lease]:
        """The leases beside a folder, by its name; the folder itself need not be there.

        Raises:
            OSError: It can't be read; the folder is in use then.
        """
        return _beside(self._beside, root_fd, folder)

    def folders_with_lease_beside(self, root_fd: int, folders: Collection[str]) -> set[str]:
        """Of all these folders those with a lease beside them.

        Raises:
            OSError: It can't be read.
        """
        parents = by_parent(folders) if self._listed else {}
        found = {name for pattern in self._listed for name in pattern.folders(root_fd, parents)}
        if self._asked:
            found.update(name for name in folders if name not in found and _beside(self._asked, root_fd, name))
        return found

    def _found_here(self, folder_fd: int) -> list[tuple[str, float]]:
        names: list[str] = self._here_literal
        if self._here_wild:
            with entries_of(folder_fd) as entries:
                names = [entry.name for entry in entries if self._here.match(entry.name)]
        return [(name, mtime) for name in names if (mtime := mtime_of(folder_fd, name)) is not None]


def _beside(patterns: Sequence[str], root_fd: int, folder: str) -> list[Lease]:
    found: dict[str, float] = {}  # by path, since more than one pattern may match it
    for pattern in patterns:
        found.update(search(root_fd, pattern.replace(PLACEHOLDER, literal(folder)).split("/")))
    return [Lease(path, mtime, inside=False) for path, mtime in found.items()]


class Heartbeats:
    """When each lease file was last seen to change, so that a jump of the calendar's clock expires nothing.

    A lease is stale once its mtime is older than `ttl_seconds`, and it was also seen unchanged for as long by the
    monotonic clock.
    """

    def __init__(self, ttl_seconds: float) -> None:
        self.ttl_seconds = ttl_seconds
        self._seen: dict[str, dict[str, tuple[float, float]]] = {}

    def stale(self, folder: str, leases: Sequence[Lease], now: float, monotonic: float) -> set[Lease]:
        """Judge all leases of a folder, and remember having seen them; those that are there no longer are forgotten."""
        known, seen = self._seen.get(folder, {}), {}
        for lease in leases:
            mtime, since = known.get(lease.path, (lease.mtime, monotonic))
            seen[lease.path] = (lease.mtime, since if mtime == lease.mtime else monotonic)
        self._seen[folder] = seen
        if not seen:
            del self._seen[folder]
        return {lease for lease in leases if self._is_stale(lease.mtime, seen[lease.path][1], now, monotonic)}

    def forget(self, folder: str) -> None:
        """Forget all leases of a folder."""
        self._seen.pop(folder, None)

    def _is_stale(self, mtime: float, since: float, now: float, monotonic: float) -> bool:
        return now - mtime > self.ttl_seconds and monotonic - since > self.ttl_seconds

"""Where a path stands: the root that it is a folder of, its name there, and whether a lease on it protects anything.

It reads what the root's sidecar says in `.gcsidecar/lock`; nothing is opened for use here.
"""

from __future__ import annotations

import json
import os
import time
from fnmatch import fnmatchcase

from gcsidecar.client.errors import LeaseRefusedError
from gcsidecar.contract import CONTRACT_VERSION, LOCK, STATE_DIRECTORY

# Never folders, whatever the root's glob says.
_NEVER = frozenset({STATE_DIRECTORY, "lost+found"})
_PLACEHOLDER = "{folder}"
_MAX_BYTES = 1 << 20
# A lock file is written over when another sidecar takes a root over: who reads it meanwhile may see half of either.
_TRIES, _PAUSE_SECONDS = 3, 0.005
# So many entries are looked at for a root among them.
_LOOKED_AT = 1000


class Place:
    """Where a folder stands.

    Attributes:
        path: The folder, absolute.
        base: The directory it is opened from: its root. Where no sidecar has been yet, the nearest one that is there.
        name: Its path from there.
        has_root: Whether a sidecar has told that it is a folder of its root.
    """

    __slots__ = ("base", "has_root", "name", "path")

    def __init__(self, path: str, base: str, *, has_root: bool) -> None:
        self.path, self.base, self.has_root = path, base, has_root
        self.name = path[len(base) :].lstrip("/")


class Told:
    """What the lock file of a root says of its folders.

    Attributes:
        folders: The glob that matches them; none where nothing is said.
        beside: Patterns of what lies beside them and is a lease.
    """

    __slots__ = ("beside", "folders")

    def __init__(self, folders: str | None, lease_files: list[str]) -> None:
        self.folders = folders
        inside = f"{_PLACEHOLDER}/"
        self.beside = [pattern.replace(_PLACEHOLDER, "*") for pattern in lease_files if not pattern.startswith(inside)]

    def has_folder(self, name: str) -> bool:
        """Whether a path relative to the root can be a folder's name."""
        if self.folders is None:
            return True
        parts, globs = name.split("/"), self.folders.split("/")
        return (
            len(parts) == len(globs)
            and all(map(_fits, parts, globs))
            and not any(fnmatchcase(name, pattern) for pattern in self.beside)
        )


def _fits(name: str, glob: str) -> bool:
    if name in _NEVER or (name.startswith(".") and not glob.startswith(".")):
        return False
    return fnmatchcase(name, glob)


def place_of(path: str) -> Place:
    """Where an absolute path stands: in the nearest directory above it that has a `.gcsidecar/lock`.

    Raises:
        LeaseRefusedError: It is no folder of that root, or the root's sidecar speaks another version.
    """
    above = path
    while True:
        told = _told_by(above)
        if told is not None:
            return _checked(Place(path, above, has_root=True), told)
        if above == (above := os.path.dirname(above)):
            return _without_root(path)


def _checked(place: Place, told: Told) -> Place:
    if not place.name:
        raise LeaseRefusedError(
            f"{place.path} is a root, and no folder of one: a lease on it protects nothing; lease one of its folders"
        )
    if not told.has_folder(place.name):
        raise LeaseRefusedError(_instead(place, told))
    return place


def _instead(place: Place, told: Told) -> str:
    """What is wrong with a path in a root, and what to lease."""
    folders = told.folders or ""
    parts, depth = place.name.split("/"), folders.count("/") + 1
    instead = "/".join(parts[:depth])
    if len(parts) > depth and told.has_folder(instead):
        return (
            f"{place.path} lies within a folder of {place.base}: a lease on it protects nothing; lease "
            f"{os.path.join(place.base, instead)}"
        )
    if len(parts) < depth and all(map(_fits, parts, folders.split("/"))):
        return (
            f"{place.path} lies above the folders of {place.base}, which are {folders}: a lease on it protects "
            f"nothing; lease one of those"
        )
    return (
        f"{place.path} is no folder of {place.base}, whose folders are {folders}: no sidecar evicts it, and a lease on "
        f"it protects nothing; lease one of those, or let `folders` of that root match it"
    )


def _without_root(path: str) -> Place:
    """No sidecar has been here yet: opened from the nearest directory above it that is there."""
    if path == os.path.dirname(path):
        raise LeaseRefusedError(f"{path} can't be a folder of a root; lease a folder in a root")
    if (root := _root_in(path)) is not None:
        raise LeaseRefusedError(
            f"{path} lies above the root {root}: a lease on it protects nothing; lease a folder of that root"
        )
    base = os.path.dirname(path)
    while not os.path.isdir(base):
        base = os.path.dirname(base)
    return Place(path, base, has_root=False)


def _root_in(path: str) -> str | None:
    """A root directly in a directory; only the first entries are looked at."""
    try:
        with os.scandir(path) as entries:
            for _, entry in zip(range(_LOOKED_AT), entries, strict=False):
                if entry.is_dir(follow_symlinks=False) and os.path.lexists(f"{entry.path}/{STATE_DIRECTORY}/{LOCK}"):
                    return entry.path
    except OSError:
        pass
    return None


# What was read, by the lock file's path: with what it was like when it was read.
_read: dict[str, tuple[tuple[int, int, int, int], Told]] = {}


def _told_by(directory: str) -> Told | None:
    """What the root that a directory is says of its folders; none where it is no root."""
    path = f"{directory}/{STATE_DIRECTORY}/{LOCK}"
    try:
        status = os.stat(path, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LeaseRefusedError(f"{path} can't be read: {error.strerror}; let its sidecar make it readable") from error
    key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    known = _read.get(path)
    if known is None or known[0] != key:
        known = key, _parsed(path)
        _read[path] = known
    return known[1]


def _parsed(path: str) -> Told:
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        try:
            says = json.loads(_content(path))
        except (ValueError, RecursionError):
            continue
        if isinstance(says, dict):
            return _understood(says, path)
    # A sidecar that stands by, or that found the disk full, has not written what its folders are.
    return Told(None, [])


def _content(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(fd, _MAX_BYTES)
        finally:
            os.close(fd)
    except OSError as error:
        raise LeaseRefusedError(f"{path} can't be read: {error.strerror}; let its sidecar make it readable") from error


def _understood(says: dict[str, object], path: str) -> Told:
    version = says.get("contract")
    if version != CONTRACT_VERSION:
        raise LeaseRefusedError(
            f"{path}: the sidecar there speaks version {version} of the lease contract, and this is version "
            f"{CONTRACT_VERSION}; install the same release of gcsidecar on both sides"
        )
    folders, files = says.get("folders"), says.get("lease_files")
    return Told(
        folders if isinstance(folders, str) else None,
        [pattern for pattern in files if isinstance(pattern, str)] if isinstance(files, list) else [],
    )

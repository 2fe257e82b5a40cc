"""What the sidecar of a root says in `.gcsidecar/lock`: which version of the contract, and which are its folders.

It reads and matches names; what a path that matches nothing means is for others to say.
"""

from __future__ import annotations

import os
import time

from gcsidecar.client.errors import LeaseRefusedError
from gcsidecar.contract import CONTRACT_VERSION, LOCK, STATE_DIRECTORY

# Never folders, whatever the root's glob says.
_NEVER = frozenset({STATE_DIRECTORY, "lost+found"})
_PLACEHOLDER = "{folder}"
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_BYTES = 1 << 20
# A lock file is written over when another sidecar takes the root over: who reads it meanwhile may see half of each.
_TRIES, _PAUSE_SECONDS = 3, 0.005


class Told:
    """What a root's lock file says of its folders.

    Args:
        folders: The glob that matches them; none where nothing is said.
        lease_files: The root's lease patterns.
    """

    __slots__ = ("_beside", "folders")

    def __init__(self, folders: str | None, lease_files: list[str]) -> None:
        self.folders = folders
        inside = f"{_PLACEHOLDER}/"
        self._beside = [pattern.replace(_PLACEHOLDER, "*") for pattern in lease_files if not pattern.startswith(inside)]

    @property
    def depth(self) -> int:
        """How many levels below the root its folders are."""
        return (self.folders or "").count("/") + 1

    def has_folder(self, name: str) -> bool:
        """Whether a path relative to the root can be a folder's name; anything can, where nothing is said."""
        if self.folders is None:
            return name.partition("/")[0] not in _NEVER
        deep_enough = name.count("/") == self.folders.count("/")
        return deep_enough and self.leads_on(name) and not any(_matches(name, pattern) for pattern in self._beside)

    def leads_on(self, name: str) -> bool:
        """Whether a path relative to the root can be a folder's name, or the beginning of one."""
        return all(_fits(*pair) for pair in zip(name.split("/"), (self.folders or "").split("/"), strict=False))


def _fits(name: str, glob: str) -> bool:
    if name in _NEVER or (name.startswith(".") and not glob.startswith(".")):
        return False
    return _matches(name, glob)


def _matches(name: str, glob: str) -> bool:
    from fnmatch import fnmatchcase  # noqa: PLC0415  who only imports the client does not pay for it

    return fnmatchcase(name, glob)


# What was read, by the lock file's path, with what told the file from others when it was read.
_known: dict[str, tuple[tuple[int, int, int, int], Told]] = {}


def told_by(directory: str) -> Told | None:
    """What the root that a directory is says of its folders; none where it is no root.

    Raises:
        LeaseRefusedError: It can't be read, or speaks of another version of the contract.
        OSError: The directory can't be entered.
    """
    path = f"{directory}/{STATE_DIRECTORY}/{LOCK}"
    try:
        status = os.stat(path, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        os.lstat(os.path.dirname(path))  # if that is refused, too, the way here is closed, and what lies here unknown
        raise _unreadable(path, error) from error
    key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    if path not in _known or _known[path][0] != key:
        _known[path] = (key, _read(path))
    return _known[path][1]


def _read(path: str) -> Told:
    import json  # noqa: PLC0415  as above

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
        fd = os.open(path, _FLAGS)
        try:
            return os.read(fd, _MAX_BYTES)
        finally:
            os.close(fd)
    except OSError as error:
        raise _unreadable(path, error) from error


def _understood(says: dict[str, object], path: str) -> Told:
    version = says.get("contract")
    if version != CONTRACT_VERSION:
        raise LeaseRefusedError(
            f"{path}: the sidecar there speaks version {version} of the lease contract, and this client version "
            f"{CONTRACT_VERSION}; install the same release of gcsidecar on both sides"
        )
    folders, files = says.get("folders"), says.get("lease_files")
    return Told(
        folders if isinstance(folders, str) else None,
        [pattern for pattern in files if isinstance(pattern, str)] if isinstance(files, list) else [],
    )


def _unreadable(path: str, error: OSError) -> LeaseRefusedError:
    return LeaseRefusedError(
        f"{path} can't be read ({error.strerror}), and says which folders can be leased; make it readable for everybody"
    )

"""Where a path stands: the root that it is a folder of, and its name there, or what to lease instead.

What a root says of its folders stands in `told.py`.
"""

from __future__ import annotations

import os

from gcsidecar.client.errors import LeaseRefusedError
from gcsidecar.client.told import told_by
from gcsidecar.contract import LOCK, STATE_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsidecar.client.told import Told

# So many entries of a directory are looked at for a root among them.
_LOOKED_AT = 1000


class Place:
    """Where a folder stands.

    Attributes:
        path: The folder, absolute.
        base: The directory it is opened from: its root. Where no sidecar has been yet, the nearest one that is there.
        name: Its path from there.
    """

    __slots__ = ("base", "name", "path")

    def __init__(self, path: str, base: str) -> None:
        self.path, self.base = path, base
        self.name = path[len(base) :].lstrip("/")


def place_of(path: str) -> Place:
    """Where an absolute path stands: in the nearest directory above it that has a `.gcsidecar/lock`.

    Raises:
        LeaseRefusedError: It is no folder of that root, or the root's sidecar speaks another version.
        OSError: A directory on the way can't be entered.
    """
    for directory in _upwards(path):
        told = told_by(directory)
        if told is not None:
            return _checked(Place(path, directory), told)
    return _without_root(path)


def _upwards(path: str) -> Iterator[str]:
    """The path itself, and all that is above it."""
    yield path
    while path != (above := os.path.dirname(path)):
        yield (path := above)


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
    parts = place.name.split("/")
    folder = "/".join(parts[: told.depth])
    if len(parts) > told.depth and told.has_folder(folder):
        return (
            f"{place.path} lies within a folder of the root {place.base}: a lease on it protects nothing; lease "
            f"{os.path.join(place.base, folder)}"
        )
    if len(parts) < told.depth and told.leads_on(place.name):
        return (
            f"{place.path} lies above the folders of the root {place.base} ({told.folders}): a lease on it protects "
            f"nothing; lease those of them that are used"
        )
    return (
        f"{place.path} is no folder of the root {place.base} ({told.folders or '*'}): no sidecar evicts it, and a "
        f"lease on it protects nothing; lease one that is, or change `folders` of the root"
    )


def _without_root(path: str) -> Place:
    """No sidecar has been here yet: it is opened from the nearest directory above that is there."""
    root = _root_in(path)
    if root is not None:
        raise LeaseRefusedError(
            f"{path} lies above the root {root}: a lease on it protects nothing; lease a folder of that root"
        )
    _, *above = _upwards(path)
    if not above:
        raise LeaseRefusedError(f"{path} can't be a folder of a root; lease a folder in a root")
    return Place(path, next(directory for directory in above if os.path.isdir(directory)))


def _root_in(path: str) -> str | None:
    """A root directly in a directory; only the first entries are looked at."""
    try:
        with os.scandir(path) as entries:
            for _, entry in zip(range(_LOOKED_AT), entries, strict=False):
                if entry.is_dir(follow_symlinks=False) and os.path.lexists(f"{entry.path}/{STATE_DIRECTORY}/{LOCK}"):
                    return entry.path
    except OSError:  # it isn't there, or can't be listed: then that is what is said of it
        pass
    return None

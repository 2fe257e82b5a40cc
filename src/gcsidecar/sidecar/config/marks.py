"""Which of the known stores a directory is, told by the names in it; for `check`, and for whoever looks for roots.

It looks at a few names and walks nothing; it never says that a directory is fine.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from gcsidecar.sidecar.config.stores import STORES, UNITS

if TYPE_CHECKING:
    from gcsidecar.sidecar.config.stores import Store, Units

MAX_NAMES = 10_000
# So far above a directory a tool's own is looked for.
_LEVELS_ABOVE = 4
_WILDCARDS = frozenset("*?[")


def store_at(path: str) -> Store | None:
    """Which tool's own a directory is."""
    place = _Place(path)
    return next((store for store in STORES if place.has_all(store.marks)), None)


def store_around(path: str) -> tuple[str, Store] | None:
    """The directory at a path or not far above it that is a tool's own, and what it is."""
    here = os.path.realpath(path)
    if store := store_at(here):
        return here, store
    for _ in range(_LEVELS_ABOVE):
        here = os.path.dirname(here)
        store = store_at(here)
        if store and store.reaches_below:
            return here, store
    return None


def units_at(path: str) -> Units | None:
    """Which directory with units and other things this is."""
    place = _Place(path)
    return next((units for units in UNITS if place.has_all(units.marks)), None)


def shares_blobs(hub: str) -> bool:
    """Whether models of a Hugging Face hub have links to payloads beside them: huggingface_hub does so from 1.32 on.

    Only a payload counts: after `hf cache prune` there may be but its directories left.
    """
    shared = f"{hub}/blobs"
    if not os.path.lexists(f"{shared}/.huggingface-shared-blobs"):
        return False
    beginnings = (name for name in names_in(shared) if len(name) == len("ab"))
    return any(len(name) == len("ab") * 32 for beginning in beginnings for name in names_in(f"{shared}/{beginning}"))


def names_in(path: str) -> list[str]:
    """The names in a directory, not too many of them; none where it can't be read."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in islice(entries, MAX_NAMES)]
    except OSError:
        return []


class _Place:
    """A directory that is asked for marks; it is listed at most once."""

    def __init__(self, path: str) -> None:
        self._path = path

    def has_all(self, marks: tuple[str, ...]) -> bool:
        return all(any(map(self._has, mark.split("|"))) for mark in marks)

    def _has(self, mark: str) -> bool:
        if _WILDCARDS.isdisjoint(mark):
            return os.path.lexists(f"{self._path}/{mark}")
        return any(fnmatchcase(name, mark) for name in self._names)

    @cached_property
    def _names(self) -> list[str]:
        return names_in(self._path)

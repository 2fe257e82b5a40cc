"""Whether what lies in a root are units that can go: not one tool's own store, nor what its other folders hang on.

It looks at names only, and at few of them; how the stores of tools are told is in `marks`.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from itertools import islice
from typing import TYPE_CHECKING

from gcsidecar.contract import STATE_DIRECTORY
from gcsidecar.sidecar.config.marks import MAX_NAMES, shares_blobs, store_around, store_at, units_at
from gcsidecar.sidecar.config.patterns import Fault
from gcsidecar.sidecar.config.problems import show
from gcsidecar.sidecar.config.stores import HUB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcsidecar.cache.spec import RootSpec
    from gcsidecar.sidecar.config.stores import Units

_MAX_FOLDERS = 1000
_MAX_PARENTS = 16
_SINGLE = "a folder for each project or job below the root, and the tool pointed into it"


def layout_faults(root: RootSpec) -> Iterator[tuple[str, Fault]]:
    """What looks wrong with what lies in a root, each with the key it is about; nothing where it can't be read."""
    folders = list(islice(_folders(root.path, root.folders.split("/")), _MAX_FOLDERS))
    parents = _parents(root, folders)
    if found := _around(root) or _taken_apart(root, parents):
        yield found
        return
    known = {parent: units for parent in parents if (units := units_at(parent))}
    for parent, units in known.items():
        yield from _units_faults(root, parent, units)
    if len(folders) == 1 and not known:
        what = f"{show(root.path)} has a single folder, {show(folders[0])}: the whole cache goes at once"
        yield "path", Fault(what, _SINGLE)


def _parents(root: RootSpec, folders: Sequence[str]) -> list[str]:
    """The directories that folders lie in: the root itself, or the first of those below it."""
    if "/" not in root.folders:
        return [root.path]
    return list(islice(dict.fromkeys(f"{root.path}/{os.path.dirname(folder)}" for folder in folders), _MAX_PARENTS))


def _around(root: RootSpec) -> tuple[str, Fault] | None:
    """Whether the root is a tool's own store, or lies in one."""
    found = store_around(root.path)
    if found is None:
        return None
    at, store = found
    where = f"is {store.title}" if at == os.path.realpath(root.path) else f"lies in {show(at)}, {store.title}"
    return "path", Fault(f"{show(root.path)} {where}: {store.why}", store.remedy)


def _taken_apart(root: RootSpec, parents: Sequence[str]) -> tuple[str, Fault] | None:
    """Whether the glob leads into a tool's own store, where that as a whole would be a unit."""
    for parent in parents:
        if store := store_at(parent):
            what = f"{show(root.folders)} takes apart {show(parent)}, {store.title}: {store.why}"
            return "folders", Fault(what, store.remedy)
    return None


def _units_faults(root: RootSpec, parent: str, units: Units) -> Iterator[tuple[str, Fault]]:
    glob = root.folders.rpartition("/")[2]
    if covered := sorted(name for name in units.never if _fits(name, glob)):
        names = " and ".join(map(show, covered))
        what = f"{show(root.folders)} covers {names} of {show(parent)}, {units.title}: {units.why}"
        yield "folders", Fault(what, f"its units only, as {show(units.folders)} does")
    if units is HUB and shares_blobs(parent):
        what = (
            f"{show(parent)} keeps payloads in blobs, beside its models: evicting a model brings next to nothing back"
        )
        remedy = 'HF_HUB_DISABLE_SHARED_BLOBS=1 for all who download; "hf cache prune" removes what no model uses'
        yield "path", Fault(what, remedy)


def _folders(path: str, levels: list[str]) -> Iterator[str]:
    """The names of folders, hidden ones where the glob says so, symlinks never."""
    glob, *below = levels
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in islice(entries, MAX_NAMES) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in names:
        if name == STATE_DIRECTORY or not _fits(name, glob):
            continue
        if not below:
            yield name
        else:
            yield from (f"{name}/{rest}" for rest in _folders(f"{path}/{name}", below))


def _fits(name: str, glob: str) -> bool:
    return fnmatchcase(name, glob) and (not name.startswith(".") or glob.startswith("."))

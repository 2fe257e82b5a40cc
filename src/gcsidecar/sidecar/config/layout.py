"""Whether a root looks like one tool's own store, where one folder is all there is and would go as a whole.

It looks at names only, and at few of them.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from itertools import islice
from typing import TYPE_CHECKING

from gcsidecar.contract import STATE_DIRECTORY
from gcsidecar.sidecar.config.patterns import Fault
from gcsidecar.sidecar.config.problems import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsidecar.cache.spec import RootSpec

# The folder in which a tool keeps all that it has: the cache of this tool would go at once.
_STORES = {"http-v2": "pip", "http": "pip", "_cacache": "npm"}
_REMEDY = "a folder for each project or job below the root, and the tool pointed into it"


def layout_fault(root: RootSpec) -> Fault | None:
    """What looks wrong with what lies in a root; nothing where it is empty or can't be read."""
    folders = list(islice(_folders(root.path, root.folders.split("/")), 1000))
    if store := next((name for name in folders if name in _STORES), None):
        what = (
            f"{show(root.path)} looks like a cache of {_STORES[store]}: all of it is in {show(store)} and goes at once"
        )
        return Fault(what, f"{_REMEDY} (PIP_CACHE_DIR, npm_config_cache)")
    if len(folders) == 1:
        return Fault(
            f"{show(root.path)} has a single folder, {show(folders[0])}: the whole cache goes at once", _REMEDY
        )
    return None


def _folders(path: str, levels: list[str]) -> Iterator[str]:
    """The names of folders, hidden ones where the glob says so, symlinks never."""
    glob, *below = levels
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in islice(entries, 10_000) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in names:
        is_asked = glob.startswith(".") or not name.startswith(".")
        if name == STATE_DIRECTORY or not is_asked or not fnmatchcase(name, glob):
            continue
        if not below:
            yield name
        else:
            yield from (f"{name}/{rest}" for rest in _folders(f"{path}/{name}", below))

"""Looks at what a root knows of a folder, and a watch that notes what it is asked for, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.root import Root


def folder_of(root: Root, name: str) -> Folder:
    folder = root.census.get(name)
    assert folder is not None
    return folder


def keep_of(root: Root, name: str, now: float) -> str | None:
    return folder_of(root, name).candidate(now).keep


class Watched:
    """A watch that notes what it is asked for, and may do something in between."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.changes: list[tuple[str, bool]] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def add(self, name: str) -> bool:
        self.names.add(name)
        return True

    def add_above(self, path: str) -> None:
        self.names.add(f"{path}/")

    def remove(self, name: str) -> None:
        self.names.discard(name)

    def changed(self, folder: Folder, *, arrived: bool) -> None:
        self.changes.append((folder.name, arrived))

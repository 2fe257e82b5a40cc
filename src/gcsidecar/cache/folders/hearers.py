"""Who hears of what is found of folders: a watch, that is to look out for changes, and a listener, that is to remember.

Protocols, and a watch for where nothing is watched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gcsidecar.cache.folders.folder import Folder


class Watch(Protocol):
    """Watches folders, so that their changes are heard of."""

    def add(self, name: str, /) -> bool:
        """Watch a folder, before it is looked at, so that nothing is missed between; False where it can't be."""

    def add_above(self, path: str) -> None:
        """Watch a directory above folders; before it is listed."""

    def remove(self, name: str) -> None:
        """Watch it no longer."""

    def changed(self, folder: Folder, *, arrived: bool) -> None:
        """A folder arrived, lost its last lease or has new entries: its size may have changed."""

    def wanted(self, name: str) -> None:
        """Somebody waits for the size of a folder, or of what lies apart, by its path in the root."""


class _NoWatch:
    def add(self, _name: str, /) -> bool:
        """Nothing is watched."""
        return True

    def add_above(self, path: str) -> None:
        """Nothing is watched."""

    def remove(self, name: str) -> None:
        """Nothing is watched."""

    def changed(self, folder: Folder, *, arrived: bool) -> None:
        """Nothing is measured."""

    def wanted(self, name: str) -> None:
        """Nothing is measured."""


NO_WATCH = _NoWatch()


class Listener(Protocol):
    """Hears of what happens to folders, in the thread that found it; must not wait."""

    def complete(self) -> None:
        """All folders that were there at the start have been seen."""

    def arrived(self, folder: Folder, at: float) -> None:
        """A folder appeared after that."""

    def used(self, folder: Folder) -> None:
        """A folder's last use has moved."""

    def noted(self, folder: Folder) -> None:
        """What is known of a folder has changed, but not its last use."""

    def departed(self, folder: Folder, *, evicted: bool) -> None:
        """A folder is gone: by us, or by others."""

"""Hints about one root: what watching tells, gathered until somebody has time to look.

Listeners run in the watching thread, so they only take a note here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gcsidecar.cache.watching.watches import Change, ChangeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsidecar.cache.folders.census import Census
    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.root import Root
    from gcsidecar.cache.watching.watcher import Watcher
    from gcsidecar.cache.watching.watches import Watches


@dataclass(slots=True)
class Noted:
    """What there is to look at.

    Attributes:
        names: Folders to be looked at.
        gone: Folders whose directory was deleted or moved, and which are to be looked at for what has the name now.
        beside: Whether a lease came or went beside some folder, and its name doesn't tell beside which.
        everything: Whether hints were lost, so that all has to be looked at.
        changed: Folders whose size may have changed, and whether each just arrived.
        wanted: What somebody waits for the size of, by its path in the root.
    """

    # In the order in which they were heard of: it decides which of two that arrive together was there first.
    names: dict[str, None] = field(default_factory=dict)
    gone: dict[str, None] = field(default_factory=dict)
    beside: bool = False
    everything: bool = False
    changed: dict[str, bool] = field(default_factory=dict)
    wanted: dict[str, None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.names or self.gone or self.beside or self.everything or self.changed or self.wanted)


class Hints:
    """Watches one root's folders, and keeps what it hears. It is that root's `Watch`.

    Args:
        watcher: The process's one watcher.
        path: The root's path.
        wake: Called when there is something to look at; must return at once.
    """

    def __init__(self, watcher: Watcher, path: str, wake: Callable[[], None]) -> None:
        self._watcher = watcher
        self._path = path
        self._wake = wake
        self._lock = threading.Lock()
        self._noted = Noted()
        self._root: Root | None = None
        self._watches: Watches | None = None

    def attach(self, root: Root) -> None:
        """Begin to watch the root itself."""
        self._root = root
        self._watches = self._watcher.listen(self._path, self._heard, root.patterns.is_inside_raw)
        self._watcher.add(self._watches, "")

    def detach(self) -> None:
        """Watch the root and its folders no longer."""
        watches, self._root, self._watches = self._watches, None, None
        if watches is not None:
            self._watcher.end(watches)

    def add(self, name: str) -> bool:
        """Watch a folder for leases that come, go or are touched; False where it can't be (yet)."""
        watches = self._watches
        return watches is not None and self._watcher.add(watches, name)

    def add_above(self, path: str) -> None:
        """Watch a directory above folders for folders that come and go, until the root is watched no longer."""
        self.add(f"{path}/")

    def remove(self, name: str) -> None:
        """Watch a folder no longer."""
        watches = self._watches
        if watches is not None:
            self._watcher.remove(watches, name)

    def try_again(self) -> Iterator[None]:
        """Watch what could not be watched so far, and the root in any case: it may be another directory by now."""
        watches = self._watches
        if watches is not None:
            self._watcher.add(watches, "")
            yield from self._watcher.try_again(watches)

    def changed(self, folder: Folder, *, arrived: bool) -> None:
        """Note that a folder's size may have changed."""
        with self._lock:
            first = not self._noted
            self._noted.changed[folder.name] = arrived or self._noted.changed.get(folder.name, False)
        if first:
            self._wake()

    def wanted(self, name: str) -> None:
        """Note that somebody waits for a size."""
        with self._lock:
            self._noted.wanted[name] = None
        self._wake()

    def take(self) -> Noted:
        """All that was noted since the last time."""
        with self._lock:
            noted, self._noted = self._noted, Noted()
        return noted

    def _heard(self, change: Change) -> None:
        with self._lock:
            first = not self._noted
            self._note(change)
            news = first and bool(self._noted)
        if news:  # whoever looks takes all that was noted: it is woken once
            self._wake()

    def _note(self, change: Change) -> None:
        root = self._root
        if root is None:
            return
        if change.kind is ChangeKind.OVERFLOW:
            self._noted.everything = True
            return
        watched = change.directory
        if watched and not watched.endswith("/"):
            (self._noted.gone if change.kind is ChangeKind.GONE else self._noted.names)[watched] = None
        elif not change.name:
            self._noted.everything = True
        elif root.patterns.is_beside(watched + change.name):
            names = root.patterns.folders_beside(watched + change.name)
            self._noted.names.update(dict.fromkeys(names or ()))
            self._noted.beside |= names is None
        elif root.glob.matches(watched + change.name):
            self._note_folder(watched + change.name, change.kind, root.census)
        elif root.glob.is_above(watched + change.name):
            self._noted.everything = True

    def _note_folder(self, name: str, kind: ChangeKind, census: Census) -> None:
        # What we have evicted is most often forgotten by the time its parent's watch tells of it: there is nothing to
        # look at. What is being looked at for the first time is watched by then, or has at least been refused a watch.
        if kind is not ChangeKind.VANISHED or census.is_known(name) or self._is_watched(name):
            self._noted.names[name] = None

    def _is_watched(self, name: str) -> bool:
        """Whether a folder is watched, or should be."""
        watches = self._watches
        return watches is not None and watches.descriptor_of(name) is not None

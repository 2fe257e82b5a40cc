"""The watches of one listener: which directories below one path it hears of, and by which descriptors.

Packed, since there may be 100,000: two entries in two tables each, which share the name. It asks no kernel.
"""

from __future__ import annotations

import os
import threading
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOT_IN_FORCE = -1


class ChangeKind(StrEnum):
    """What a hint is about."""

    APPEARED = "appeared"
    VANISHED = "vanished"
    MODIFIED = "modified"
    GONE = "gone"  # the watched directory itself was moved, deleted or unmounted
    OVERFLOW = "overflow"  # hints were lost, in any directory


class Change(NamedTuple):
    """A hint.

    Attributes:
        directory: The name under which the directory was added; '' for `OVERFLOW` as well, which is about all of them.
        name: The entry that changed, as `os.fsdecode` gives it; '' for the directory itself.
        kind: What happened.
    """

    directory: str
    name: str
    kind: ChangeKind


OVERFLOW = Change("", "", ChangeKind.OVERFLOW)


class Watches:
    """Those of one listener, thread-safe.

    A directory's name is its path below `path`, '' for that itself. With a slash at its end, or empty, it stands for
    one all of whose entries are of interest; in any other one only those are that the listener asks for.

    Attributes:
        listener: Called for each change.
        interesting: Asked for each name first, as bytes; where it says no, nothing else is done.
    """

    __slots__ = ("_denied", "_descriptors", "_limited", "_lock", "_names", "_path", "interesting", "listener")

    def __init__(
        self,
        path: bytes | str,
        listener: Callable[[Change], None],
        interesting: Callable[[bytes], object] | None = None,
    ) -> None:
        self._path = os.fsencode(path)
        self.listener = listener
        self.interesting = interesting
        # Of its own and held over no call of the kernel's: the reading thread, which may not fall behind, takes it too.
        self._lock = threading.Lock()
        self._descriptors: dict[str, int] = {}
        # Several for one descriptor: a directory renamed, and added under its new name before the old one is removed.
        self._names: dict[int, str | tuple[str, ...]] = {}
        self._limited: set[str] = set()
        self._denied: set[str] = set()

    def path_of(self, name: str) -> bytes:
        """Where a directory is, or was when it was added."""
        return b"%b/%b" % (self._path, os.fsencode(name.removesuffix("/"))) if name else self._path

    # These take no lock: what they ask of a table is one step.

    def names(self) -> list[str]:
        """All directories that are watched, or should be."""
        return list(self._descriptors)

    def names_of(self, descriptor: int) -> tuple[str, ...]:
        """The names of the directory that a descriptor stands for."""
        names = self._names.get(descriptor, ())
        return (names,) if isinstance(names, str) else names

    def descriptor_of(self, name: str) -> int | None:
        """By which a directory is watched; `NOT_IN_FORCE` where it should be and is not, none where it should not."""
        return self._descriptors.get(name)

    @property
    def in_force(self) -> int:
        """How many directories are watched."""
        return max(0, len(self._descriptors) - self.refused)

    @property
    def refused(self) -> int:
        """How many should be and are not."""
        return len(self._limited) + len(self._denied)

    @property
    def limited(self) -> bool:
        """Whether there was no watch left for some of these."""
        return bool(self._limited)

    def refusals(self) -> Iterator[tuple[str, bool]]:
        """Those that should be watched and are not, and whether that is since no watch was left; these last."""
        yield from ((name, False) for name in list(self._denied))
        yield from ((name, True) for name in list(self._limited))

    # These change what is known.

    def put(self, name: str, descriptor: int) -> int:
        """Note a watch that is in force now; returns a descriptor that was this name's alone, or `NOT_IN_FORCE`."""
        with self._lock:
            same = self._descriptors.get(name) == descriptor
            before = NOT_IN_FORCE if same else self._take(name)
            if not same:
                self._descriptors[name] = descriptor
                others = self.names_of(descriptor)
                self._names[descriptor] = (*others, name) if others else name
            return before

    def refuse(self, name: str, *, limited: bool) -> None:
        """Note that a directory should be watched and can't be; the name has no watch."""
        with self._lock:
            self._descriptors[name] = NOT_IN_FORCE
            (self._limited if limited else self._denied).add(name)

    def take(self, name: str) -> int:
        """Know a name no longer; returns a descriptor that was this name's alone, or `NOT_IN_FORCE`."""
        with self._lock:
            return self._take(name)

    def take_all(self, descriptor: int) -> tuple[str, ...]:
        """Know a descriptor no longer, which the kernel has ended; returns the names it had."""
        with self._lock:
            names = self.names_of(descriptor)
            self._names.pop(descriptor, None)
            for name in names:
                del self._descriptors[name]
            return names

    def lapse(self) -> None:
        """None is in force any more, and all should be."""
        with self._lock:
            self._names.clear()
            self._denied.clear()
            self._descriptors = dict.fromkeys(self._descriptors, NOT_IN_FORCE)
            self._limited.update(self._descriptors)

    def clear(self) -> None:
        """Know none."""
        with self._lock:
            for known in (self._descriptors, self._names, self._limited, self._denied):
                known.clear()

    def _take(self, name: str) -> int:
        self._limited.discard(name)
        self._denied.discard(name)
        descriptor = self._descriptors.pop(name, NOT_IN_FORCE)
        if descriptor == NOT_IN_FORCE:
            return NOT_IN_FORCE
        others = tuple(other for other in self.names_of(descriptor) if other != name)
        if others:
            self._names[descriptor] = others if len(others) > 1 else others[0]
            return NOT_IN_FORCE
        del self._names[descriptor]
        return descriptor

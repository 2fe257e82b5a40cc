"""How an attribute of a folder is read and written: in a column of its table, or among what few folders have.

Descriptors only; what each figure means stands at `FolderRecord`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from gcsidecar.cache.folders.table import NOTHING_RARE, Rare

if TYPE_CHECKING:
    from gcsidecar.cache.folders.record import FolderRecord

T = TypeVar("T")


class Figure(Generic[T]):
    """One in a column."""

    __slots__ = ("_name",)

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, folder: FolderRecord, _owner: type) -> T:
        found: T = getattr(folder.table, self._name)[folder.row]
        return found

    def __set__(self, folder: FolderRecord, value: T) -> None:
        getattr(folder.table, self._name)[folder.row] = value


class Flag(Figure[bool]):
    """One that is so or not."""

    __slots__ = ()

    def __get__(self, folder: FolderRecord, _owner: type) -> bool:
        return bool(getattr(folder.table, self._name)[folder.row])


class Optional(Figure[T | None]):
    """One that may not be known.

    Args:
        unknown: What the column has then.
    """

    __slots__ = ("_unknown",)

    def __init__(self, unknown: T) -> None:
        self._unknown = unknown

    def __get__(self, folder: FolderRecord, _owner: type) -> T | None:
        found: T = getattr(folder.table, self._name)[folder.row]
        return None if found == self._unknown else found

    def __set__(self, folder: FolderRecord, value: T | None) -> None:
        super().__set__(folder, self._unknown if value is None else value)


class Sign(Figure[T]):
    """A sign of use: the last use follows from them all."""

    __slots__ = ()

    def __set__(self, folder: FolderRecord, value: T) -> None:
        super().__set__(folder, value)
        folder.table.note_use(folder.row)


class OptionalSign(Optional[T]):
    """The same, of one that may not be known."""

    __slots__ = ()

    def __set__(self, folder: FolderRecord, value: T | None) -> None:
        super().__set__(folder, value)
        folder.table.note_use(folder.row)


class Seldom(Figure[T]):
    """One that few folders have at any time."""

    __slots__ = ()

    def __get__(self, folder: FolderRecord, _owner: type) -> T:
        found: T = getattr(folder.table.rare.get(folder.row, NOTHING_RARE), self._name)
        return found

    def __set__(self, folder: FolderRecord, value: T) -> None:
        rare = folder.table.rare
        if folder.row not in rare and value == getattr(NOTHING_RARE, self._name):
            return
        own = rare.setdefault(folder.row, Rare())
        setattr(own, self._name, value)
        if own == NOTHING_RARE:
            del rare[folder.row]

"""Leases beside the folders, read backwards: from the entries of a directory to the names of the folders they hold.

So a directory is listed once, not once for each of its folders: 10,000 of these took 100 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.cache.entries import entries_of
from gcsidecar.cache.globs import compiled, directories, is_wild, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator


def parents_of(folders: Iterable[str]) -> set[str]:
    """What stands above folders' names: directories to be listed, relative to the root; "" is the root itself."""
    return {folder.rpartition("/")[0] for folder in folders}


class Backwards:
    """A lease pattern with the folder's name in its last component.

    Args:
        pattern: Relative to the root.
        placeholder: What stands for the folder's name in it.

    Attributes:
        is_wild: Whether a look at one folder, too, has to list the directory.
    """

    def __init__(self, pattern: str, placeholder: str) -> None:
        above, _, last = pattern.rpartition("/")
        self._above = above.split("/") if above else []
        self._head, self._tail = last.split(placeholder)
        self.is_wild = is_wild(self._head) or is_wild(self._tail)

    def folders(self, root_fd: int, parents: Collection[str], is_folder: Callable[[str], bool]) -> Iterator[str]:
        """The folders that have such a lease; one may come more than once.

        Args:
            root_fd: The root.
            parents: Where folders lie, as of `parents_of`.
            is_folder: Whether there is a folder of that name.

        Raises:
            OSError: A directory can't be read.
        """
        for parent in parents:
            way, head = self._above, self._head
            if parent:
                # What stands before the name stands before its first component: "x-{folder}.lock" is "x-a/b.lock".
                way, head = [*way, *(head + literal(parent)).split("/")], ""
            above = f"{parent}/" if parent else ""
            for _, fd in directories(root_fd, way):
                yield from (above + base for base in self._bases(fd, head) if is_folder(above + base))

    def _bases(self, fd: int, head: str) -> Iterator[str]:
        """All that the name may be in each entry."""
        fits = compiled([f"{head}*{self._tail}"]).match
        with entries_of(fd) as entries:
            for name in (entry.name for entry in entries if fits(entry.name)):
                ends = _ends(name, self._tail)
                yield from (name[start:end] for start in _starts(name, head) for end in ends if start < end)


def _starts(name: str, head: str) -> list[int]:
    """Where a name may begin, after what matches `head`."""
    if not is_wild(head):
        return [len(head)]
    matches = compiled([head]).match
    return [at for at in range(len(name) + 1) if matches(name[:at])]


def _ends(name: str, tail: str) -> list[int]:
    """Where a name may end, before what matches `tail`."""
    if not is_wild(tail):
        return [len(name) - len(tail)]
    matches = compiled([tail]).match
    return [at for at in range(len(name) + 1) if matches(name[at:])]

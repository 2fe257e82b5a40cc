"""What the figures of one run share: trees in memory, made when first asked for, and how large everything is to be.

Figures of a small run only show that all of them work; they are never written anywhere.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Self

from bench.places import IS_ROOT, plant, tmpfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

# Never full: the default thresholds are not to be crossed. It takes only what is in it.
_TREE_BYTES = 16 << 30
# A folder that changed a moment ago is looked at anew for two minutes, since a filesystem's clock is coarse.
_FRESH_SECONDS = 125.0


class NotHereError(Exception):
    """A figure can't be measured on this machine, and why."""


class Ground:
    """Of one run; what it has made is gone at its end.

    Args:
        share: 1 for figures that count; with less all is smaller by so much.
    """

    def __init__(self, share: float = 1.0) -> None:
        self.share = share
        self._stack = contextlib.ExitStack()
        self._trees: dict[tuple[int, int], Path] = {}
        self._made_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def few(self, number: int, least: int = 1) -> int:
        """So many in a run that counts, fewer in a small one."""
        return number if self.share == 1.0 else max(least, round(number * self.share))

    def memory(self, size_bytes: int = _TREE_BYTES) -> contextlib.AbstractContextManager[Path]:
        """A filesystem in memory of one's own.

        Raises:
            NotHereError: Only root may mount one.
        """
        need_root()
        return tmpfs(size_bytes)

    def tree(self, folders: int, files: int) -> Path:
        """A root with so many folders and files, in a filesystem of its own; to be left as it was found.

        Raises:
            NotHereError: Only root may mount one.
        """
        size = (self.few(folders), self.few(files, least=10))
        if size not in self._trees:
            root = self._stack.enter_context(self.memory()) / "tree"
            plant(root, *size)
            self._trees[size], self._made_at = root, time.monotonic()
        return self._trees[size]

    @contextlib.contextmanager
    def borrowed(self, folders: int, files: int) -> Iterator[Path]:
        """Such a tree; one that nobody else has asked for is gone afterwards.

        Raises:
            NotHereError: Only root may mount one.
        """
        size = (self.few(folders), self.few(files, least=10))
        if size in self._trees:
            yield self._trees[size]
            return
        with self.memory() as place:
            plant(place / "tree", *size)
            yield place / "tree"

    def settle(self) -> None:
        """Wait until no tree is so fresh any more that the sidecar could not tell a change in it from its making."""
        if self.share == 1.0:
            time.sleep(max(0.0, self._made_at + _FRESH_SECONDS - time.monotonic()))


def need_root() -> None:
    """See that a filesystem can be mounted.

    Raises:
        NotHereError: It can't be.
    """
    if not IS_ROOT:
        raise NotHereError("it takes a filesystem in memory, and to mount one needs root")

"""Roots on real directories, for tests."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gcsidecar.cache.root import Root
from gcsidecar.cache.spec import LeaseSpec, RootSpec, Seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gcsidecar.gc.disposable import Disposable
    from gcsidecar.gc.source import DisposableSource


def eventually(condition: Callable[[], object], within_seconds: float = 1.0) -> bool:
    """Whether it becomes so in time."""
    until = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


class Tracker:
    """Whom roots give their folders."""

    def __init__(self) -> None:
        self.sources: list[DisposableSource] = []

    @property
    def registered(self) -> list[Disposable | None]:
        """All that the sources have now, in the order in which it is to go."""
        now = time.time()
        return [candidate.subject for source in self.sources for candidate in source.candidates(now, ())]

    def add_source(self, source: DisposableSource) -> None:
        self.sources.append(source)

    def remove_source(self, source: DisposableSource) -> None:
        self.sources.remove(source)

    def unregister(self, disposable: Disposable) -> bool:
        assert not any(source.has(disposable) for source in self.sources), "it is told of only when it is gone"
        return False


def spec(path: Path, **keys: Any) -> RootSpec:
    lease = keys.pop("lease", LeaseSpec())
    # Without a history, which has tests of its own: a file and a thread for each of so many roots take their time.
    defaults = {"min_age": Seconds(0), "history": None}
    return RootSpec(name="jobs", path=str(path), lease=lease, **(defaults | keys))


@contextmanager
def opened(path: Path, *, tracker: Tracker | None = None, active: bool = True, **keys: Any) -> Iterator[Root]:
    """A root that is open, active and reconciled."""
    options = {
        name: keys.pop(name)
        for name in ("clock", "step", "stop", "wait", "dry_run", "watch", "regretted", "reaped", "said")
        if name in keys
    }
    root = Root(spec(path, **keys), tracker or Tracker(), **options)
    try:
        if active:
            root.custody.activate({"holder": "test"})
            root.custody.recover()
        reconcile(root)
        yield root
    finally:
        root.close()


def reconcile(root: Root) -> None:
    for _ in root.reconciling.run():
        pass


def make_folder(root: Path, name: str, *, used_at: float | None = None, size: int = 4096) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "data").write_bytes(b"x" * size)
    if used_at is not None:
        os.utime(folder / "data", (used_at, used_at))
        os.utime(folder, (used_at, used_at))
    return folder

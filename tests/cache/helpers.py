"""Roots on real directories, for tests."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gcsidecar.cache.root import Root
from gcsidecar.cache.spec import LeaseSpec, RootSpec, Seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gcsidecar.gc.disposable import Disposable


class Tracker:
    """Whom folders register with."""

    def __init__(self) -> None:
        self.registered: list[Disposable] = []

    def register(self, disposable: Disposable) -> None:
        self.registered.append(disposable)

    def unregister(self, disposable: Disposable) -> bool:
        known = disposable in self.registered
        if known:
            self.registered.remove(disposable)
        return known


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
            root.activate({"holder": "test"})
            root.recover()
        reconcile(root)
        yield root
    finally:
        root.close()


def reconcile(root: Root) -> None:
    for _ in root.census.reconcile():
        pass


def make_folder(root: Path, name: str, *, used_at: float | None = None, size: int = 4096) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "data").write_bytes(b"x" * size)
    if used_at is not None:
        os.utime(folder / "data", (used_at, used_at))
        os.utime(folder, (used_at, used_at))
    return folder

"""A root over restarts, for tests of what a start takes from its history: with a clock, and with what it asks to watch.

Between two starts the clock goes on by an hour; what is made on disk meanwhile has times of now, as the clock has.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from cache.helpers import Tracker, reconcile, spec
from cache.history.looking import await_stock, eventually
from fakes import FakeClock
from gcsidecar.cache.folders.finder import RECENT_SECONDS
from gcsidecar.cache.root import Root
from gcsidecar.cache.spec import HistorySpec, Seconds
from gcsidecar.cache.walking.sizes import measure

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from gcsidecar.cache.folders.folder import Folder


class Watched:
    """Watches nothing, and remembers what it was asked for: which folders are watched, and which to be measured."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.to_be_measured: set[str] = set()

    def add(self, name: str, /) -> bool:
        self.names.append(name)
        return True

    def add_above(self, path: str) -> None:
        pass

    def remove(self, name: str) -> None:
        pass

    def changed(self, folder: Folder, *, arrived: bool) -> None:  # noqa: ARG002  one of a protocol's
        self.to_be_measured.add(folder.name)

    def wanted(self, name: str) -> None:
        pass


class Run:
    """One run of a sidecar on a root, from its start to its end; `looked_at` are the folders that it looked into."""

    def __init__(self, path: Path, clock: FakeClock, *, order: str = "act wait look", **keys: Any) -> None:
        self.clock, self.watch, self.said = clock, Watched(), list[tuple[str, str]]()
        dry_run = keys.pop("dry_run", False)
        self.root = Root(
            spec(path, **({"history": HistorySpec(), "min_age": Seconds(0)} | keys)),
            Tracker(),
            clock=clock,
            watch=self.watch,
            dry_run=dry_run,
            said=lambda *event: self.said.append(event),
        )
        for step in order.split():
            getattr(self, step)()
        # Not watched in a moment, as those that were adopted are: these it found by itself.
        self.looked_at = set(self.watch.names)

    def act(self) -> None:
        self.root.custody.activate({})

    def wait(self) -> None:
        eventually(lambda: not self.root.chronicle.is_awaited(), "the history has told what it knows")

    def look(self) -> None:
        reconcile(self.root)
        if self.root.chronicle.recorder is not None:
            await_stock(self.root)

    def measure_all(self) -> None:
        """As the survey would."""
        for folder in self.root.census.folders():
            self.root.census.measured(folder, measure(self.root.fd, folder.name))

    def sizes(self) -> dict[str, int | None]:
        return {folder.name: folder.disk_bytes for folder in self.root.census.folders()}

    def leased(self) -> set[str]:
        return {folder.name for folder in self.root.census.folders() if folder.leases or folder.unreadable}

    def folder(self, name: str) -> Folder:
        found = self.root.census.get(name)
        assert found is not None
        return found

    def close(self) -> None:
        self.root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def clock_later() -> FakeClock:
    """A clock by which all that is made on disk now was made a while ago."""
    return FakeClock(time.time() + 2 * RECENT_SECONDS)


def run(path: Path, clock: FakeClock, **keys: Any) -> AbstractContextManager[Run]:
    """A run of an hour later than the last."""
    clock.advance(3600)
    return Run(path, clock, **keys)


def measured_once(path: Path, clock: FakeClock, **keys: Any) -> dict[str, int | None]:
    """Let a first run find and measure all; what it found."""
    with run(path, clock, **keys) as first:
        first.measure_all()
        return first.sizes()

"""What is stale is measured again by the sweep: the oldest first, in batches worth a process, while nothing else is."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder, opened
from fakes import FakeClock
from gcsidecar.cache.measuring.schedule import Target
from gcsidecar.cache.measuring.sweep import (
    AGAIN_SECONDS,
    LEAST_SECONDS,
    LOOK_ANYWAY_SECONDS,
    LOOK_SECONDS,
    MOST_FOLDERS,
    MOST_SECONDS,
    PATIENCE_SHARE,
    Sweep,
)
from gcsidecar.cache.spec import MeasureSpec, Seconds
from gcsidecar.cache.walking.sizes import TreeSize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.root import Root

STALE, RATE = 3600.0, 10


class Batches:
    """Surveyors that only note what they are given; they are done when they are told."""

    def __init__(self) -> None:
        self.given: list[list[str]] = []
        self.is_sweeping = False

    def sweep(self, _root: Root, names: Sequence[str]) -> None:
        self.given.append(list(names))
        self.is_sweeping = True


class Scene:
    """A sweep over a real root, a day after the beginning."""

    def __init__(self, root: Root, clock: FakeClock, stale_after: float | None) -> None:
        self.root, self.clock, self.surveyors = root, clock, Batches()
        after = None if stale_after is None else Seconds(stale_after)
        spec = MeasureSpec(stale_after=after, sweep_entries_per_second=RATE)
        self.sweep = Sweep([root], spec, self.surveyors, clock)  # type: ignore[arg-type]

    def measured(self, name: str, age_seconds: float, entries: int = 1) -> None:
        size = TreeSize(4096, entries, 4096, 0.0, 0.0, entries, None, 0)
        self.root.census.measured(self.folder(name), size, self.clock.now - age_seconds)

    def folder(self, name: str) -> Folder:
        found = self.root.census.get(name)
        assert found is not None
        return found

    def target(self, name: str) -> Target:
        return Target(self.root, name)

    def look(self, after_seconds: float = 0.0) -> list[str] | None:
        """What is begun with then, or nothing."""
        self.clock.advance(after_seconds)
        before = len(self.surveyors.given)
        self.sweep.look()
        return self.surveyors.given[-1] if len(self.surveyors.given) > before else None


@contextmanager
def scene(path: Path, *names: str, stale_after: float | None = STALE) -> Iterator[Scene]:
    for name in names:
        make_folder(path, name)
    clock = FakeClock(time.time())
    with opened(path, clock=clock) as root:
        clock.advance(86_400)
        yield Scene(root, clock, stale_after)


def test_the_oldest_is_measured_first_and_nothing_that_is_not_stale(tmp_path: Path) -> None:
    with scene(tmp_path, "a", "b", "c") as made:
        made.measured("a", STALE + 10, RATE * 100)
        made.measured("b", STALE - 10, RATE * 100)
        made.measured("c", STALE + 20, RATE * 100)
        assert made.look() == ["c", "a"]
        assert made.look(3600) is None, "one after the other"
        made.surveyors.is_sweeping = False
        made.measured("a", 0)
        made.measured("c", 0)
        assert made.look() == ["b"]


def test_a_batch_is_no_longer_than_what_may_wait(tmp_path: Path) -> None:
    with scene(tmp_path, "a", "b", "c") as made:
        for number, name in enumerate("abc"):
            made.measured(name, STALE + 10 - number, int(RATE * MOST_SECONDS * 0.6))
        assert made.look() == ["a", "b"]


def test_for_little_no_process_is_started_until_it_has_waited_for_long(tmp_path: Path) -> None:
    with scene(tmp_path, "a", "b") as made:
        made.measured("a", STALE + 1, int(RATE * LEAST_SECONDS) - 1)
        assert made.look() is None
        assert made.look(LOOK_SECONDS) is None
        assert made.look(STALE * PATIENCE_SHARE) == ["a"]


@pytest.mark.parametrize(("count", "begun"), [(MOST_FOLDERS - 1, None), (MOST_FOLDERS, MOST_FOLDERS)])
def test_many_small_ones_are_much_too(tmp_path: Path, count: int, begun: int | None) -> None:
    names = [f"{number}" for number in range(count)]
    with scene(tmp_path, *names) as made:
        for name in names:
            made.measured(name, STALE + 1, 0)
        batch = made.look()
        assert (None if batch is None else len(batch)) == begun


@pytest.mark.parametrize(("age", "pause"), [(STALE - 5, LOOK_SECONDS), (STALE - 200, 200), (0, LOOK_ANYWAY_SECONDS)])
def test_it_looks_again_when_the_next_may_be_stale(tmp_path: Path, age: float, pause: float) -> None:
    with scene(tmp_path, "a") as made:
        made.measured("a", age)
        assert made.look() is None
        assert made.sweep.next_at - made.clock.mono == pytest.approx(pause)


def test_turned_off_it_never_looks(tmp_path: Path) -> None:
    with scene(tmp_path, "a", stale_after=None) as made:
        made.measured("a", 1e6, 10_000)
        assert made.look() is None
        assert made.sweep.next_at == math.inf


def test_what_can_not_be_measured_is_tried_again_later_and_holds_up_nobody(tmp_path: Path) -> None:
    with scene(tmp_path, "never", "old", "b") as made:
        made.measured("old", STALE + 20, RATE * 100)
        made.measured("b", STALE + 10, RATE * 100)
        for name in ("never", "old"):
            made.sweep.failed(made.target(name))
        assert made.look() == ["b"]
        made.surveyors.is_sweeping = False
        made.measured("b", 0)
        assert made.look(AGAIN_SECONDS - LOOK_ANYWAY_SECONDS) is None
        assert sorted(made.look(LOOK_ANYWAY_SECONDS) or ()) == ["never", "old"]
        made.surveyors.is_sweeping = False
        for name in ("never", "old"):
            made.measured(name, 0)
        assert made.look(LOOK_SECONDS) is None


def test_where_all_of_the_oldest_can_not_be_measured_those_after_them_are(tmp_path: Path) -> None:
    names = [f"{number}" for number in range(MOST_FOLDERS)]
    with scene(tmp_path, *names, "last") as made:
        for name in names:
            made.measured(name, STALE + 100)
            made.sweep.failed(made.target(name))
        made.measured("last", STALE + 1, RATE * 100)
        assert made.look() == ["last"]


def test_what_is_gone_is_not_tried_again(tmp_path: Path) -> None:
    with scene(tmp_path, "a") as made:
        made.sweep.failed(made.target("a"))
        (tmp_path / "a").rename(tmp_path / ".away")
        made.root.finder.refresh("a")
        assert made.look(AGAIN_SECONDS + 1) is None

"""What a root may have grown by beyond what is measured: a bound that holds, and what it may cost."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.helpers import make_folder, opened, reconcile
from cache.measuring.surveying import MIB, Disk, Surveyor, measure_all
from fakes import FakeClock
from gcsidecar.cache.measuring.caps import SizeGauge
from gcsidecar.cache.measuring.growth import MOST_PAUSES, PATIENCE_SECONDS, SHORTEST_SECONDS
from gcsidecar.cache.walking.sizes import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.root import Root

BLOCK = 4096


class Scene:
    """A capped root with one leased folder, on a disk that others use, too."""

    def __init__(self, root: Root, clock: FakeClock, surveyor: Surveyor, most_bytes: int) -> None:
        self.root, self.clock, self.surveyor, self.disk = root, clock, surveyor, Disk()
        measure_all(root)
        self.gauge = SizeGauge(root, most_bytes, clock=clock, statvfs=self.disk.statvfs)
        self.gauge.measure()

    def look(self, after_seconds: float = 0.02) -> list[str]:
        """Let the gauge look; what it wants measured by then."""
        self.clock.advance(after_seconds)
        self.gauge.measure()
        return self.surveyor.names

    def seconds_to_next(self) -> float:
        """When it wants something measured, while others write all the time."""
        for halves in range(100):
            self.disk.free -= 50 * MIB
            if self.look(0.5):
                return (halves + 1) / 2
        raise AssertionError("nothing is measured any more")

    @property
    def least_free(self) -> int:
        """What is left of the budget at the least."""
        reading = self.gauge.measure()
        assert reading.least_free is not None
        return reading.least_free

    def answer(self, seconds: float = 0.0) -> None:
        """Have all measured that is wanted, which takes so long, and let the gauge hear of it."""
        self.clock.advance(seconds)
        self.surveyor.answer(self.root)
        self.look(0)


@contextmanager
def scene(path: Path, *, most_bytes: int = 5 * MIB) -> Iterator[Scene]:
    clock, surveyor = FakeClock(time.time()), Surveyor()
    make_folder(path, "a")
    (path / "a/.lease").touch()
    with opened(path, clock=clock, watch=surveyor) as root:
        yield Scene(root, clock, surveyor, most_bytes)


def test_what_others_delete_does_not_hide_what_a_folder_has_grown_by(tmp_path: Path) -> None:
    with scene(tmp_path) as made:
        made.disk.write(tmp_path / "a/one", 3 * MIB)
        made.look()
        made.disk.free += 50 * MIB
        made.look()
        made.disk.write(tmp_path / "a/two", 3 * MIB)
        assert made.look() == ["a"]


def test_what_goes_from_the_root_itself_does_not_hide_it_either(tmp_path: Path) -> None:
    make_folder(tmp_path, "b", size=4 * MIB)
    with scene(tmp_path) as made:
        shutil.rmtree(tmp_path / "b")
        made.root.finder.gone("b")
        made.disk.write(tmp_path / "a/more", 4 * MIB)
        made.disk.free += 4 * MIB
        assert made.least_free == pytest.approx(MIB, abs=MIB)


def test_what_a_measuring_finds_is_not_counted_twice(tmp_path: Path) -> None:
    """New folders come and are measured all the time: none is a reason to measure one more."""
    with scene(tmp_path) as made:
        for number in range(4):
            made.clock.advance(1)
            folder = make_folder(tmp_path, f"new{number}")
            made.disk.write(folder / "data", MIB)
            reconcile(made.root)
            made.look()
            found = made.root.census.get(folder.name)
            assert found is not None
            made.root.census.measured(found, measure(made.root.fd, folder.name))
            assert made.look() == []


def test_what_was_there_at_the_start_explains_nothing_that_was_written_since(tmp_path: Path) -> None:
    """A first scan may take minutes; what is written behind it must not be lost from the bound."""
    clock, disk, surveyor = FakeClock(time.time()), Disk(), Surveyor()
    for name in ("a", "b"):
        make_folder(tmp_path, name, size=MIB)
        (tmp_path / name / ".lease").touch()
    with opened(tmp_path, clock=clock, watch=surveyor) as root:
        gauge = SizeGauge(root, 5 * MIB, clock=clock, statvfs=disk.statvfs)
        gauge.measure()
        for name in ("a", "b"):
            found = root.census.get(name)
            assert found is not None
            root.census.measured(found, measure(root.fd, name))
            disk.write(tmp_path / name / "behind", MIB)
            gauge.measure()
        reading = gauge.measure()
        assert reading.least_free == reading.free - 2 * MIB


def test_what_grew_before_a_restart_explains_nothing_that_was_written_since(tmp_path: Path) -> None:
    """Its size was known from the history, as of an hour ago."""
    with scene(tmp_path) as made:
        (folder,) = made.root.census.folders()
        folder.measured_at = made.clock.now - 3600
        (tmp_path / "a/before").write_bytes(b"x" * MIB)
        made.disk.write(tmp_path / "a/since", MIB)
        made.look()
        made.root.census.measured(folder, measure(made.root.fd, "a"))
        made.look()
        reading = made.gauge.measure()
        assert reading.least_free == reading.free - MIB


def test_it_asks_once_and_waits_for_the_answer(tmp_path: Path) -> None:
    with scene(tmp_path) as made:
        made.disk.free -= 6 * MIB
        assert [len(made.look()) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("answered", [0, 20])
def test_to_wait_for_many_costs_no_more_than_to_wait_for_few(tmp_path: Path, answered: int) -> None:
    """The gauge is read up to 50 times a second, and 100,000 folders may be growing."""
    count = 40
    for number in range(count):
        make_folder(tmp_path, f"{number}")
        (tmp_path / f"{number}/.lease").touch()
    with scene(tmp_path) as made:
        made.disk.free -= 6 * MIB
        names = made.look()
        assert len(names) == count + 1
        for name in names[count + 1 - answered :]:
            folder = made.root.census.get(name)
            assert folder is not None
            made.root.census.measured(folder, measure(made.root.fd, name))
        made.look()
        asked, get = [], made.root.census.get

        def counted(name: str) -> Folder | None:
            asked.append(name)
            return get(name)

        made.root.census.get = counted  # type: ignore[method-assign]
        for _ in range(5):
            made.look()
        assert 5 <= len(asked) <= 5 * 2
        assert made.least_free < 0


def test_a_walk_that_was_under_way_already_is_no_answer(tmp_path: Path) -> None:
    with scene(tmp_path) as made:
        began, folder = made.clock.time(), made.root.census.folders()[0]
        size = measure(made.root.fd, "a")
        made.disk.write(tmp_path / "a/behind", 6 * MIB)
        made.look(after_seconds=1)
        made.root.census.measured(folder, size, began)
        made.look()
        assert made.least_free < 0
        made.answer()
        assert made.gauge.measure().free < 0


def test_what_is_written_during_a_measuring_stays_in_the_bound(tmp_path: Path) -> None:
    with scene(tmp_path) as made:
        made.disk.free -= 6 * MIB
        made.look()
        made.surveyor.answer(made.root)
        made.disk.write(tmp_path / "a/behind", MIB)
        made.look(0)
        reading = made.gauge.measure()
        assert reading.least_free == reading.free - MIB


def test_while_the_root_itself_grows_measuring_may_take_half_of_the_time(tmp_path: Path) -> None:
    with scene(tmp_path) as made:
        made.disk.write(tmp_path / "a/own", 3 * MIB)
        made.disk.free -= 3 * MIB
        made.look()
        made.answer(seconds=3)
        assert made.seconds_to_next() == 3


def test_a_noisy_neighbour_has_it_measured_an_eighth_of_the_time_at_most(tmp_path: Path) -> None:
    with scene(tmp_path) as made:
        for number in range(99):
            (tmp_path / f"a/{number}").touch()
        entries, took, hour = measure(made.root.fd, "a").entries, 2.0, 3600.0
        began = made.clock.monotonic()
        while made.clock.monotonic() < began + hour:
            made.disk.free -= 10 * MIB
            if made.look(0.5):
                made.answer(took)
        share = hour / (took * (1 + MOST_PAUSES))
        assert made.surveyor.entries <= entries * (share + 5)
        assert made.surveyor.entries >= entries * (share - 5), "else it is not measured any more at all"


def test_a_small_folder_beside_a_noisy_neighbour_is_not_measured_each_second_either(tmp_path: Path) -> None:
    with scene(tmp_path) as made:
        asked = 0
        for _ in range(1000):
            made.disk.free -= 10 * MIB
            if made.look(0.1):
                asked += 1
                made.answer()
        assert asked <= 100 / (MOST_PAUSES * SHORTEST_SECONDS) + 5


def test_once_the_root_grows_again_it_is_measured_sooner(tmp_path: Path) -> None:
    with scene(tmp_path, most_bytes=50 * MIB) as made:
        for _ in range(4):
            made.seconds_to_next()
            made.answer()
        made.clock.advance(MOST_PAUSES * SHORTEST_SECONDS)
        made.disk.write(tmp_path / "a/own", 40 * MIB)
        made.disk.free -= 20 * MIB
        assert made.look() == ["a"]
        made.answer()
        assert made.seconds_to_next() == SHORTEST_SECONDS


def test_one_that_cannot_be_measured_is_given_up_and_hides_no_other(tmp_path: Path) -> None:
    make_folder(tmp_path, "b")
    (tmp_path / "b/.lease").touch()
    with scene(tmp_path) as made:
        made.disk.free -= 6 * MIB
        assert sorted(made.look()) == ["a", "b"]
        made.surveyor.names.remove("b")
        made.answer()
        assert made.least_free < 0, "the bound still holds"
        assert made.look(PATIENCE_SECONDS) == []
        assert sorted(made.look(PATIENCE_SECONDS * MOST_PAUSES)) == ["a", "b"]
        made.surveyor.names.remove("b")
        made.answer()
        assert made.least_free > 0


def test_a_folder_that_went_meanwhile_is_waited_for_no_longer(tmp_path: Path) -> None:
    with scene(tmp_path) as made:
        made.disk.free -= 6 * MIB
        made.look()
        shutil.rmtree(tmp_path / "a")
        made.root.finder.refresh("a")
        made.look()
        assert made.least_free > 0


class World:
    """Whatever happens to a scene, one thing at a time."""

    def __init__(self, made: Scene, path: Path) -> None:
        self._made, self._path, self._census, self._numbers = made, path, made.root.census, itertools.count()

    def write(self, blocks: int) -> None:
        """Deep in the leased folder."""
        self._made.disk.write(self._path / f"a/data{next(self._numbers)}", blocks * BLOCK)

    def arrive(self, blocks: int) -> None:
        folder = make_folder(self._path, f"new{next(self._numbers)}", size=0)
        self._made.disk.free -= folder.stat().st_blocks * 512
        self._made.disk.write(folder / "data", blocks * BLOCK)
        reconcile(self._made.root)

    def measure(self, _blocks: int) -> None:
        """As the survey does by itself."""
        measure_all(self._made.root)

    def evict(self, _blocks: int) -> None:
        for folder in [one for one in self._census.folders() if not one.leases][:1]:
            self._made.disk.free += measure(self._made.root.fd, folder.name).disk_bytes
            folder.dispose()

    def neighbour(self, blocks: int) -> None:
        self._made.disk.free -= blocks * BLOCK

    def ask(self, _blocks: int) -> None:
        self._made.gauge._growth.ask()

    def answer(self, _blocks: int) -> None:
        self._made.answer()

    def look(self, _blocks: int) -> None:
        self._made.look()


EVENTS = (World.write, World.arrive, World.measure, World.evict, World.neighbour, World.ask, World.answer, World.look)


@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(1, 8)), max_size=25))
def test_as_long_as_nobody_else_deletes_the_bound_holds_whatever_happens(
    events: list[tuple[Callable[[World, int], None], int]],
) -> None:
    with tempfile.TemporaryDirectory() as path, scene(Path(path)) as made:
        world = World(made, Path(path))
        for event, blocks in events:
            made.clock.advance(1)
            event(world, blocks)
        made.look()
        truth = sum(measure(made.root.fd, folder.name).disk_bytes for folder in made.root.census.folders())
        assert made.root.census.known_bytes + made.gauge._growth.most_bytes >= truth

"""Who measures what: what is small this process, in steps, what is much or stale another one, by real surveyors."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder, opened
from fakes import FakeClock
from gcsidecar.cache.measuring.measuring import AHEAD, ENTRIES_PER_SECOND, STRETCH_ENTRIES, Measuring
from gcsidecar.cache.measuring.schedule import GROWING_SECONDS, LARGE_SCAN, Target
from gcsidecar.cache.spec import MeasureSpec, Seconds
from gcsidecar.cache.surveying.surveyors import LARGE_ENTRIES
from gcsidecar.cache.walking.sizes import measure
from gcsidecar.cache.watching.hints import Noted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.root import Root

STALE = 3600.0


class Scene:
    """The measuring of a real root, led step by step; what others measure takes its time."""

    def __init__(self, root: Root, clock: FakeClock) -> None:
        self.root, self.clock = root, clock
        self.wakes = 0
        self.measuring = Measuring([root], MeasureSpec(stale_after=Seconds(STALE)), self._woken, clock)

    def _woken(self) -> None:
        self.wakes += 1

    def folder(self, name: str) -> Folder:
        found = self.root.census.get(name)
        assert found is not None
        return found

    def new(self, *names: str) -> None:
        self.measuring.heard(self.root, Noted(changed=dict.fromkeys(names, True)))

    def want(self, *names: str) -> None:
        self.measuring.heard(self.root, Noted(wanted=dict.fromkeys(names)))

    def here(self) -> list[str]:
        """Measure all that this process has to; in which order."""
        order = []
        while (job := self.measuring.next_job()) is not None:
            before = {f.name: f.measured_at for f in self.root.census.folders()}
            self.clock.advance(1e-6)
            for _ in job:
                pass
            order += [f.name for f in self.root.census.folders() if f.measured_at != before[f.name]]
        return order

    def elsewhere(self) -> None:
        """Wait until others have measured all that they are to."""
        until = time.monotonic() + 20
        surveyors = self.measuring._surveyors
        while surveyors.waiting or surveyors.is_sweeping:
            assert time.monotonic() < until
            time.sleep(0.001)
            self.measuring.take_in()


@contextmanager
def scene(path: Path) -> Iterator[Scene]:
    clock = FakeClock(time.time())
    with opened(path, clock=clock) as root:
        made = Scene(root, clock)
        try:
            yield made
        finally:
            made.measuring.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a folder that is worth a process, and a few small ones; made once, as it takes a while."""
    path = tmp_path_factory.mktemp("large")
    folder = make_folder(path, "large", used_at=1e9)
    for number in range(LARGE_ENTRIES + 1000):
        os.symlink("x", folder / f"{number}")
    for number in range(6):
        make_folder(path, f"f{number}", used_at=1e8 + number)
    return path


def test_what_is_small_is_measured_here_the_least_recently_used_first(tmp_path: Path) -> None:
    for name, used_at in (("c", 3e8), ("a", 2e8), ("b", 1e8)):
        make_folder(tmp_path, name, used_at=used_at)
    with scene(tmp_path) as made:
        made.new("a", "b", "c")
        assert made.here() == ["b", "a", "c"]
        assert made.measuring.progress == (6, 0)
        assert made.folder("a").disk_bytes == measure(made.root.fd, "a").disk_bytes


def test_what_turns_out_to_be_large_is_measured_elsewhere_and_holds_up_no_other(large: Path) -> None:
    with scene(large) as made:
        made.new("large", "f0")
        made.here()
        assert made.folder("large").disk_bytes is None
        assert made.measuring.progress.waiting >= 1
        made.elsewhere()
        assert made.folder("large").disk_bytes == measure(made.root.fd, "large").disk_bytes
        assert made.folder("f0").disk_bytes is not None
        assert made.wakes > 0
        assert made.measuring.progress == (made.folder("large").inodes + 2, 0)


def test_what_is_known_to_be_large_is_not_begun_with_here(large: Path) -> None:
    with scene(large) as made:
        made.root.census.measured(made.folder("large"), measure(made.root.fd, "large"))
        (large / "large/new").touch()
        made.clock.advance(5)
        made.new("large")
        assert next(iter(made.here()), None) is None
        assert made.measuring._stretch == STRETCH_ENTRIES
        made.elsewhere()
        assert made.folder("large").inodes == measure(made.root.fd, "large").inodes


def test_a_first_scan_that_is_too_much_is_handed_over_whole_and_what_arrives_meanwhile_is_measured_here(
    tmp_path: Path,
) -> None:
    for number in range(20):
        make_folder(tmp_path, f"f{number:02}", used_at=1e9 + number)
    with scene(tmp_path) as made:
        made.measuring._stretch = 9.0  # of five folders
        made.new(*(f"f{number:02}" for number in reversed(range(20))))
        assert made.here() == [f"f{number:02}" for number in range(5)]
        assert made.measuring.progress.waiting == 15
        make_folder(tmp_path, "new")
        made.root.finder.refresh("new")
        made.new("new")
        made.clock.advance(10 / ENTRIES_PER_SECOND + 1)
        assert made.here() == ["new"]
        made.elsewhere()
        assert all(folder.disk_bytes for folder in made.root.census.folders())


def test_of_a_large_first_scan_others_get_some_at_a_time_while_there_is_no_time_for_it_here(tmp_path: Path) -> None:
    for number in range(LARGE_SCAN + AHEAD):
        (tmp_path / f"{number}").mkdir()
    with scene(tmp_path) as made:
        made.measuring.hand_some_over()
        assert made.measuring.progress.waiting == 0
        made.new(*(f"{number}" for number in range(LARGE_SCAN + AHEAD)))
        made.measuring.hand_some_over()
        made.measuring.hand_some_over()
        assert made.measuring.progress.waiting == AHEAD
        made.elsewhere()
        assert made.root.tally().unmeasured == LARGE_SCAN
        assert len(made.here()) == LARGE_SCAN
        assert made.root.tally().unmeasured == 0


def test_what_somebody_waits_for_is_measured_before_all_others_elsewhere_too(large: Path) -> None:
    with scene(large) as made:
        others = [Target(made.root, f"f{number}") for number in range(5)]
        made.measuring._surveyors.hand_over(others * 200)
        made.measuring._stretch = 0.0
        made.want("f5")
        made.here()
        made.elsewhere()
        assert made.folder("f5").measured_at < max(made.folder(f"f{number}").measured_at for number in range(5))


def test_what_lies_apart_is_measured_for_the_root_itself(tmp_path: Path) -> None:
    parked = tmp_path / ".gcsidecar/evicting/0/gone"
    with scene(tmp_path) as made:
        parked.mkdir(parents=True)
        (parked / "data").write_bytes(b"x" * 1_000_000)
        told = []
        made.root.custody.measured_apart = lambda path, size: told.append((path, size.disk_bytes))  # type: ignore[method-assign]
        made.want(".gcsidecar/evicting/0/gone", ".gcsidecar/evicting/0/never")
        made.here()
        ((path, disk_bytes),) = told
        assert path == ".gcsidecar/evicting/0/gone"
        assert disk_bytes >= 1_000_000


def test_one_in_use_is_measured_again_and_one_that_is_not_is_not(tmp_path: Path) -> None:
    for name in ("used", "idle"):
        make_folder(tmp_path, name)
    (tmp_path / "used/.lease").touch()
    with scene(tmp_path) as made:
        made.new("used", "idle")
        made.here()
        for seconds in (GROWING_SECONDS, 1):
            made.clock.advance(seconds)
            order = made.here()
        assert order == ["used"]


def test_what_is_stale_is_swept_elsewhere_while_nothing_else_is_to_do_and_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_folder(tmp_path, name, size=100)
    with scene(tmp_path) as made:
        for name in ("a", "b"):
            made.root.census.measured(made.folder(name), measure(made.root.fd, name), made.clock.now - 2 * STALE)
            (tmp_path / name / "data").write_bytes(b"x" * 1_000_000)
        made.measuring.rest()
        assert made.measuring._surveyors.is_sweeping
        assert made.measuring.progress.waiting == 0
        made.elsewhere()
        assert all((made.folder(name).disk_bytes or 0) >= 1_000_000 for name in ("a", "b"))
        made.measuring.rest()
        assert not made.measuring._surveyors.is_sweeping


def test_while_something_else_is_measured_elsewhere_nothing_is_swept(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_folder(tmp_path, name)
    with scene(tmp_path) as made:
        made.root.census.measured(made.folder("a"), measure(made.root.fd, "a"), made.clock.now - 2 * STALE)
        made.measuring._surveyors.hand_over([Target(made.root, "b")])
        made.measuring.rest()
        assert not made.measuring._surveyors.is_sweeping
        made.elsewhere()
        made.measuring.rest()
        assert made.measuring._surveyors.is_sweeping


def test_what_can_not_be_measured_stays_unknown_and_everything_goes_on(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_folder(tmp_path, name)
    with scene(tmp_path) as made:
        made.new("a", "b")
        (tmp_path / "a").rename(tmp_path / ".away")
        assert made.here() == ["b"]
        made.measuring._surveyors.hand_over([Target(made.root, "a")])
        made.elsewhere()
        assert made.folder("a").disk_bytes is None

"""What outlives a restart: when folders arrived, what was evicted, and what came of it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from cache.helpers import Tracker, make_folder, opened, reconcile, spec
from cache.history.looking import asked, await_stock, eventually
from fakes import FakeClock
from gcsidecar import GarbageCollector
from gcsidecar.cache.folders.tally import State
from gcsidecar.cache.measuring.caps import FoldersGauge
from gcsidecar.cache.root import Root
from gcsidecar.cache.spec import HistorySpec, Seconds
from gcsidecar.cache.walking.sizes import measure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cache.conftest import MakeFilesystem
    from gcsidecar.cache.regrets import Regret

KEPT: dict[str, Any] = {"history": HistorySpec(), "min_age": Seconds(120)}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(time.time())


def near(at: float) -> Any:
    """The same moment, but for what a filesystem rounds."""
    return pytest.approx(at, abs=0.01)


def reasons(root: Root, clock: FakeClock) -> dict[str, str | None]:
    return {folder.name: folder.candidate(clock.now).keep for folder in root.census.folders()}


def arrivals(root: Root) -> dict[str, float | None]:
    return {folder.name: folder.arrived_at for folder in root.census.folders()}


def begun(path: Path, clock: FakeClock, order: str, **keys: Any) -> Root:
    """A root whose folders are known before or after it is the one that acts."""
    root = Root(spec(path, **(KEPT | keys)), Tracker(), clock=clock)
    steps: dict[str, Callable[[], object]] = {"look": lambda: reconcile(root), "act": lambda: root.custody.activate({})}
    for step in order.split():
        steps[step]()
    await_stock(root)
    return root


@pytest.mark.parametrize("order", ["look act", "act look"])
def test_a_folder_keeps_its_arrival_and_min_age_holds(tmp_path: Path, clock: FakeClock, order: str) -> None:
    make_folder(tmp_path, "adopted")
    with opened(tmp_path, clock=clock, **KEPT) as root:
        make_folder(tmp_path, "arrived")
        os.utime(tmp_path / "arrived", (1, 1))
        reconcile(root)
        arrived_at = arrivals(root)["arrived"]
        assert arrived_at == clock.now
    clock.advance(100)
    root = begun(tmp_path, clock, order)
    assert arrivals(root) == {"adopted": None, "arrived": arrived_at}
    assert reasons(root, clock) == {"adopted": None, "arrived": State.YOUNG}
    assert root.tally().by_state[State.YOUNG].folders == 1
    assert root.census.grow_up() == near(arrived_at + 120)
    clock.advance(21)
    assert root.census.grow_up() is None
    assert reasons(root, clock)["arrived"] is None
    root.close()


@pytest.mark.parametrize("order", ["look act", "act look"])
def test_a_folder_that_came_while_nobody_looked_arrived_at_its_ctime(
    tmp_path: Path, clock: FakeClock, order: str
) -> None:
    with opened(tmp_path, clock=clock, **KEPT) as root:
        await_stock(root)
    folder = make_folder(tmp_path, "a", used_at=1000)
    clock.advance(60)
    root = begun(tmp_path, clock, order)
    assert arrivals(root) == {"a": near(folder.stat().st_ctime)}
    assert reasons(root, clock) == {"a": State.YOUNG}
    root.close()
    assert asked(tmp_path, "SELECT arrived_at FROM folders") == [near(folder.stat().st_ctime)]


def test_another_folder_under_a_known_name_arrived_at_its_ctime(tmp_path: Path, clock: FakeClock) -> None:
    with opened(tmp_path, clock=clock, **KEPT) as root:
        await_stock(root)
        make_folder(tmp_path, "a")
        reconcile(root)
    (tmp_path / "a").rename(
        tmp_path.with_name(f"{tmp_path.name}-away")
    )  # so that its inode isn't given to the next one
    ctime = make_folder(tmp_path, "a").stat().st_ctime
    clock.advance(1)
    root = begun(tmp_path, clock, "act look")
    assert arrivals(root) == {"a": near(ctime)}
    root.close()
    known = asked(tmp_path, "SELECT departure FROM folders ORDER BY id")
    assert known == ["missed", None]


def test_without_a_history_an_arrival_is_unknown_and_stays_so(tmp_path: Path, clock: FakeClock) -> None:
    make_folder(tmp_path, "a")
    for _ in range(3):
        with opened(tmp_path, clock=clock, **KEPT) as root:
            await_stock(root)
            assert arrivals(root) == {"a": None}
    assert asked(tmp_path, "SELECT name, arrived_at, departed_at FROM folders") == [(b"a", None, None)]


def test_an_arrival_in_the_future_counts_as_now(tmp_path: Path, clock: FakeClock) -> None:
    with opened(tmp_path, clock=clock, **KEPT) as root:
        clock.now += 3600
        make_folder(tmp_path, "a")
        reconcile(root)
        clock.now -= 3600
    root = begun(tmp_path, clock, "act look")
    assert arrivals(root) == {"a": clock.now}
    root.close()


def test_who_stood_by_knows_it_all_once_it_takes_over(tmp_path: Path, clock: FakeClock) -> None:
    with opened(tmp_path, clock=clock, **KEPT) as first:
        make_folder(tmp_path, "early")
        reconcile(first)
        early_at = clock.now
        clock.advance(10)
        second = Root(spec(tmp_path, **KEPT), Tracker(), clock=clock)
        assert not second.custody.activate({})
        reconcile(second)
        assert arrivals(second) == {"early": None}
        make_folder(tmp_path, "late")
        reconcile(first)
        reconcile(second)
        assert second.chronicle.recorder is None
    assert second.custody.activate({})
    await_stock(second)
    assert arrivals(second) == {"early": early_at, "late": clock.now}
    second.close()


def test_until_the_history_has_answered_nothing_of_unknown_age_goes(tmp_path: Path, clock: FakeClock) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path, clock=clock, **KEPT) as root:
        await_stock(root)
    root = Root(spec(tmp_path, **KEPT), Tracker(), clock=clock)
    root.custody.activate({})
    root.finder.refresh("a")  # not all of them are known yet, so it waits
    assert reasons(root, clock) == {"a": State.YOUNG}
    clock.advance(2)
    assert reasons(root, clock) == {"a": None}
    root.close()


def test_what_a_lease_beside_a_folder_told_of_its_last_use_is_kept_where_it_could_not_be_written_down(
    tmp_path: Path, clock: FakeClock
) -> None:
    make_folder(tmp_path, "a", used_at=1000)
    with opened(tmp_path, clock=clock, **KEPT) as root:
        await_stock(root)
        folder = root.census.get("a")
        assert folder is not None
        folder.touched_at = clock.now - 7
        root.chronicle.used(folder)
    root = begun(tmp_path, clock, "act look")
    folder = root.census.get("a")
    assert folder is not None
    assert folder.last_used() == clock.now - 7
    root.close()


@pytest.mark.parametrize("order", ["look act", "act look"])
def test_a_regret_is_one_across_a_restart_too(tmp_path: Path, clock: FakeClock, order: str) -> None:
    for name in "abc":
        make_folder(tmp_path, name)
    with opened(tmp_path, clock=clock, **KEPT) as root:
        await_stock(root)
        for name in "ab":
            root.census.get(name).dispose()  # type: ignore[union-attr]
    evicted_at = clock.now
    ctime = make_folder(tmp_path, "a").stat().st_ctime
    clock.advance(5)
    told: list[Regret] = []
    root = Root(spec(tmp_path, **KEPT), Tracker(), clock=clock, regretted=told.append)
    for step in order.split():
        (root.custody.activate({}) if step == "act" else reconcile(root))
    await_stock(root)
    make_folder(tmp_path, "b")
    reconcile(root)
    assert [(regret.folder, regret.evicted_at) for regret in told] == [("a", evicted_at), ("b", evicted_at)]
    assert [regret.returned_at for regret in told] == [near(max(ctime, evicted_at)), clock.now]
    root.close()
    known = asked(tmp_path, "SELECT name FROM folders WHERE returned_at IS NOT NULL ORDER BY name")
    assert known == [b"a", b"b"]


def test_an_eviction_is_kept_with_the_figures_of_its_decision_and_what_came_of_it(tmp_path: Path) -> None:
    old, new = time.time() - 500, time.time() - 100
    make_folder(tmp_path, "old", used_at=old)
    make_folder(tmp_path, "new", used_at=new)
    with opened(tmp_path, **KEPT) as root:
        for folder in root.census.folders():
            root.census.measured(folder, measure(root.fd, folder.name))
        gauge = FoldersGauge(root, 1)
        collector = GarbageCollector(
            gauges=[gauge],
            on_eviction=lambda done: root.chronicle.evicted(done, done.subject),  # type: ignore[arg-type]
        )
        for folder in root.census.folders():
            collector.register(folder)
        (eviction,) = collector.collect().evictions
        assert [want.threshold.resource.value for want in eviction.wants] == ["folders"]
    columns = "name, departure, f.disk_bytes, reasons, last_used, expected_bytes, expected_inodes, clamped"
    query = f"SELECT {columns} FROM evictions JOIN folders AS f ON f.id = folder"
    size = eviction.expected
    assert asked(tmp_path, query) == [
        (b"old", "evicted", size["disk"], "folders", near(old), size["disk"], size["inodes"], 0)  # type: ignore[index]
    ]
    (want,) = asked(tmp_path, "SELECT resource, root, capacity, free, trigger, target, deficit FROM wants")
    assert want == ("folders", "jobs", 1, -1, 0, 0, 1)
    (measured_at, at) = asked(tmp_path, "SELECT measured_at, at FROM wants JOIN evictions USING (folder)")[0]
    assert measured_at <= at <= time.time()


def test_a_use_is_kept_at_most_once_a_minute_a_folder_with_its_newest_time(tmp_path: Path, clock: FakeClock) -> None:
    folder = make_folder(tmp_path, "a", used_at=1000)
    began = clock.now
    with opened(tmp_path, clock=clock, **KEPT) as root:
        await_stock(root)
        for second in range(0, 150, 10):
            clock.now = began + second
            clock.mono += 10
            os.utime(folder, (clock.now, clock.now))
            root.finder.refresh("a")
            recorder = root.chronicle.recorder
            assert recorder is not None
            recorder.wake()
            eventually(lambda: not recorder.is_due(), "what is due is written")  # noqa: B023  called at once
    uses = asked(tmp_path, "SELECT at FROM uses ORDER BY at")
    assert 2 <= len(uses) <= 3
    assert uses[-1] == near(began + 140)


def test_on_a_full_disk_a_restart_still_knows_when_folders_arrived(ext4: MakeFilesystem, clock: FakeClock) -> None:
    path = ext4(8 << 20, "-b", "1024", "-N", "64")
    with opened(path, clock=clock, **KEPT) as root:
        make_folder(path, "a")
        reconcile(root)
        arrived_at = clock.now
    fill(path)
    status = os.statvfs(path)
    assert (status.f_bavail, status.f_favail) == (0, 0)
    clock.advance(10)
    root = Root(spec(path, **KEPT), Tracker(), clock=clock)
    root.custody.activate({})
    reconcile(root)
    eventually(lambda: arrivals(root) == {"a": arrived_at}, "its arrival is known")
    clock.advance(120)
    root.census.get("a").dispose()  # type: ignore[union-attr]
    root.close()


def fill(path: Path) -> None:
    """Leave 0 bytes and 0 inodes."""
    try:
        for number in range(1000):
            (path / f"i{number}").touch()
    except OSError:
        pass
    for size in (65536, 512):
        try:
            with open(path / "i0", "ab", buffering=0) as file:
                while True:
                    file.write(b"x" * size)
        except OSError:
            os.sync()

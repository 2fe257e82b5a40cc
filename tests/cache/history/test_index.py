"""What a start takes from the history: the sizes of folders that stand still, without a look into any of them."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from cache.helpers import Tracker, make_folder, reconcile, spec
from cache.history.looking import asked, await_stock, change_history, eventually
from cache.history.starting import Run, clock_later, measured_once, run
from gcsidecar.cache.errors import StateDirectoryError
from gcsidecar.cache.folders.finder import RECENT_SECONDS
from gcsidecar.cache.history.backlog import MANY_CHANGES
from gcsidecar.cache.history.recorder import PATIENCE_SECONDS
from gcsidecar.cache.history.records import Arrival
from gcsidecar.cache.root import Root
from gcsidecar.cache.spec import HistorySpec, LeaseSpec, Seconds
from gcsidecar.cache.survey import Survey, Surveyed
from gcsidecar.cache.walking.sizes import measure
from gcsidecar.cache.watching.hints import Hints
from gcsidecar.cache.watching.watcher import Watcher
from gcsidecar.gc.errors import DisposableInUseError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cache.conftest import MakeFilesystem
    from fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return clock_later()


def fill(path: Path, *names: str) -> None:
    for number, name in enumerate(names or ("a", "b", "c")):
        make_folder(path, name, used_at=1000 + number, size=(number + 1) * 10_000)


def test_what_stands_still_keeps_its_size_and_is_looked_into_by_nobody(disk: Path, clock: FakeClock) -> None:
    fill(disk)
    sizes = measured_once(disk, clock)
    measured_at = clock.now
    assert all(sizes.values())
    for _ in range(3):
        with run(disk, clock) as again:
            assert again.sizes() == sizes
            assert not again.leased() | again.looked_at | again.watch.to_be_measured
            tally = again.root.tally()
            assert (tally.unmeasured, tally.oldest_measured_at) == (0, measured_at)
            assert [again.folder(name).last_used() for name in "abc"] == [1000, 1001, 1002]
            # They are watched after that.
            for _ in again.root.adoption.watch_rest():
                pass
            assert sorted(again.watch.names) == ["a", "b", "c"]
            assert not again.watch.to_be_measured


def enter(folder: Path) -> None:
    (folder / "new").touch()


def leave(folder: Path) -> None:
    (folder / "data").unlink()


def change_mode(folder: Path) -> None:
    folder.chmod(0o700)


def touch(folder: Path) -> None:
    os.utime(folder)


def set_its_mtime_back(folder: Path) -> None:
    enter(folder)
    os.utime(folder, (1000, 1000))


def lease(folder: Path) -> None:
    (folder / ".lease.x").touch()
    os.utime(folder, (1000, 1000))


def replace(folder: Path) -> None:
    folder.rename(folder.with_name(".away"))
    make_folder(folder.parent, folder.name, used_at=1000)


@pytest.mark.parametrize(
    "change", [enter, leave, change_mode, touch, set_its_mtime_back, lease, replace], ids=lambda f: f.__name__
)
def test_what_has_changed_meanwhile_is_looked_at_and_is_to_be_measured(
    disk: Path, clock: FakeClock, change: Callable[[Path], object]
) -> None:
    fill(disk)
    sizes = measured_once(disk, clock)
    change(disk / "a")
    with run(disk, clock, order="act wait") as again:
        if change is not replace:
            assert again.leased() == {"a"}, "until it has been looked at, it is in use"
        again.look()
        assert again.leased() == ({"a"} if change is lease else set())
        assert again.watch.to_be_measured == {"a"}
        # An old size is better than none, save that of another folder.
        assert again.sizes() == sizes | ({"a": None} if change is replace else {})
        if change is not replace:
            assert again.folder("a").measured_at == again.folder("b").measured_at


def bare(folder: Path) -> dict[str, Any]:
    (folder / ".lease").touch()
    return {}


def beside(folder: Path) -> dict[str, Any]:
    folder.with_name(f"{folder.name}.lease").touch()
    return {}


def stale(folder: Path) -> dict[str, Any]:
    bare(folder)
    os.utime(folder / ".lease", (1, 1))
    return {"lease": LeaseSpec(ttl=Seconds(60))}


def dead(folder: Path) -> dict[str, Any]:
    """Nobody holds it, and it can't be removed."""
    os.mkdir(folder / ".lease")
    (folder / ".lease/in it").touch()
    return {"lease": LeaseSpec(ttl=Seconds(60), on_stale="expire")}


def deeper(folder: Path) -> dict[str, Any]:
    (folder / "in").mkdir()
    (folder / "in/x.lock").touch()
    return {"lease": LeaseSpec(files=("{folder}/in/*.lock",))}


@pytest.mark.parametrize("make", [bare, beside, stale, dead, deeper], ids=lambda f: f.__name__)
def test_what_had_a_lease_of_any_kind_is_looked_at_and_keeps_its_size(
    tmp_path: Path, clock: FakeClock, make: Callable[[Path], dict[str, Any]]
) -> None:
    fill(tmp_path)
    keys = make(tmp_path / "a")
    with run(tmp_path, clock, **keys) as first:
        first.measure_all()
        sizes = first.sizes()
        clock.advance(200)
        reconcile(first.root)
        assert first.folder("a").dead_leases == (make is dead)
    assert asked(tmp_path, "SELECT leaseless FROM folders WHERE name = CAST('a' AS BLOB)") == [0]
    with run(tmp_path, clock, order="act wait", **keys) as again:
        assert "a" in again.leased()
        again.look()
        found = again.folder("a")
        assert found.leases + found.dead_leases == 1
        assert again.sizes() == sizes
        assert not again.watch.to_be_measured


def test_a_lease_beside_a_folder_is_found_though_it_shows_in_nothing_of_it(tmp_path: Path, clock: FakeClock) -> None:
    fill(tmp_path)
    measured_once(tmp_path, clock)
    beside(tmp_path / "b")
    with run(tmp_path, clock) as again:
        assert again.leased() == {"b"}


def test_what_was_looked_at_too_soon_after_its_last_change_is_looked_at_again(tmp_path: Path, clock: FakeClock) -> None:
    """A lease taken within the same tick of the filesystem's clock would show in neither time."""
    clock.now -= RECENT_SECONDS
    fill(tmp_path)
    clock.now -= 3600
    sizes = measured_once(tmp_path, clock)
    assert asked(tmp_path, "SELECT DISTINCT leaseless FROM folders") == [0]
    clock.now -= 3600
    with run(tmp_path, clock, order="act wait") as again:
        assert again.leased() == {"a", "b", "c"}
        again.look()
        assert not again.leased()
        assert again.sizes() == sizes
        # Once its times have been standing for a while, that is known for the next start.
        clock.advance(RECENT_SECONDS + 60)
        reconcile(again.root)
    assert asked(tmp_path, "SELECT DISTINCT leaseless FROM folders") == [1]


def test_other_lease_patterns_are_looked_for_and_leave_sizes_as_they_are(tmp_path: Path, clock: FakeClock) -> None:
    fill(tmp_path)
    (tmp_path / "b/held.lock").touch()
    sizes = measured_once(tmp_path, clock)
    with run(tmp_path, clock, lease=LeaseSpec(files=("{folder}/*.lock",))) as again:
        assert again.leased() == {"b"}
        assert again.sizes() == sizes
        assert not again.watch.to_be_measured
    with run(tmp_path, clock, order="act wait") as again:
        # What was found for those says nothing about these; that of b still stands here, as it was found for these.
        assert again.leased() == {"a", "c"}
        again.look()
        assert not again.leased()


@pytest.mark.parametrize("other", ["last_used", "rights"])
def test_a_size_that_was_measured_in_another_way_is_measured_anew(tmp_path: Path, clock: FakeClock, other: str) -> None:
    """With atime a folder was used by readers; with other rights other things can't be deleted."""
    fill(tmp_path)
    measured_once(tmp_path, clock)
    if other == "rights":
        change_history(tmp_path, "UPDATE bases SET rights = 'user=1'")
    with run(tmp_path, clock, **({"last_used": "atime"} if other == "last_used" else {})) as again:
        assert again.sizes() == dict.fromkeys("abc")
        assert again.watch.to_be_measured == {"a", "b", "c"}
        assert not again.looked_at


def test_a_size_measured_in_the_future_has_an_age_that_nobody_knows(tmp_path: Path, clock: FakeClock) -> None:
    fill(tmp_path)
    clock.now += 7200
    measured_once(tmp_path, clock)
    clock.now -= 7200 + 3600  # the clock was set back
    with run(tmp_path, clock) as again:
        assert again.sizes() == dict.fromkeys("abc")
        assert again.watch.to_be_measured == {"a", "b", "c"}


def test_an_obstacle_holds_over_a_start_and_is_looked_for_again(
    tmp_path: Path, clock: FakeClock, immutable: Callable[[Path, str], None]
) -> None:
    fill(tmp_path, "a", "caf\udce9")
    (tmp_path / "caf\udce9/d\udce9").touch()
    immutable(tmp_path / "caf\udce9/d\udce9", "i")
    measured_once(tmp_path, clock)
    with run(tmp_path, clock) as again:
        assert again.folder("caf\udce9").candidate(clock.now).keep == "obstacle"
        assert again.folder("caf\udce9").obstacle == "d\udce9: it is immutable or append-only (chattr)"
        assert again.watch.to_be_measured == {"caf\udce9"}


def test_a_copy_of_a_volume_is_another(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "one").mkdir()
    fill(tmp_path / "one")
    measured_once(tmp_path / "one", clock)
    subprocess.run(["cp", "-a", str(tmp_path / "one"), str(tmp_path / "two")], check=True)
    with run(tmp_path / "two", clock) as again:
        assert again.sizes() == dict.fromkeys("abc")
        assert again.looked_at == again.watch.to_be_measured == {"a", "b", "c"}


def test_below_other_directories_it_is_the_same_and_no_link_leads_there(tmp_path: Path, clock: FakeClock) -> None:
    fill(tmp_path, "x/a", "y/a", "y/b")
    keys = {"folders": "*/*"}
    sizes = measured_once(tmp_path, clock, **keys)
    (tmp_path / "y").rename(tmp_path / ".y")
    (tmp_path / "y").symlink_to(".y")
    with run(tmp_path, clock, **keys) as again:
        assert again.sizes() == {"x/a": sizes["x/a"]}
        assert not again.looked_at & {"x/a"}


def test_what_changes_before_it_is_watched_is_found_by_the_stat_that_follows(tmp_path: Path, clock: FakeClock) -> None:
    fill(tmp_path)
    measured_once(tmp_path, clock)
    with run(tmp_path, clock) as again:
        (tmp_path / "b/.lease").touch()
        (tmp_path / "c").rename(tmp_path / ".c")
        for _ in again.root.adoption.watch_rest():
            pass
        assert again.leased() == {"b"}
        assert again.watch.to_be_measured == {"b"}
        assert set(again.sizes()) == {"a", "b"}


def test_no_eviction_rests_on_it(tmp_path: Path, clock: FakeClock) -> None:
    """Whatever it says: with times that fit, and a lease of which it knows nothing."""
    fill(tmp_path)
    (tmp_path / "a/.lease").touch()
    measured_once(tmp_path, clock)
    change_history(tmp_path, "UPDATE folders SET leaseless = 1")
    with run(tmp_path, clock, order="act wait") as again:
        assert not again.leased()
        with pytest.raises(DisposableInUseError):
            again.folder("a").dispose()
        assert (tmp_path / "a/.lease").exists()


def test_a_first_scan_that_is_interrupted_goes_on_where_it_was(tmp_path: Path) -> None:
    """What is measured is in the file long before the end, so that a kill takes away little."""
    for number in range(MANY_CHANGES + 50):
        (tmp_path / f"f{number:04}").mkdir()
    root = Root(spec(tmp_path, history=HistorySpec()), Tracker())
    root.custody.activate({})
    reconcile(root)
    await_stock(root)
    for folder in root.census.folders()[: MANY_CHANGES + 10]:
        root.census.measured(folder, measure(root.fd, folder.name))
    query = "SELECT count(*) FROM folders WHERE disk_bytes IS NOT NULL"
    eventually(lambda: asked(tmp_path, query) >= [MANY_CHANGES], "as many as are written together")
    root.close()
    assert asked(tmp_path, query) == [MANY_CHANGES + 10]


def test_what_is_measured_before_its_row_is_made_is_written_after_that(tmp_path: Path, clock: FakeClock) -> None:
    fill(tmp_path, "a")
    with Run(tmp_path, clock, order="act wait") as first:
        first.root.finder.refresh("a")
        first.measure_all()
        recorder = first.root.chronicle.recorder
        assert recorder is not None
        for number in range(MANY_CHANGES):
            recorder.note_change(f"other{number}")
        recorder.note(Arrival("b", 7, 1.0))
        clock.advance(1)
        recorder.wake()
        eventually(lambda: not recorder.is_due(), "what is due is written")
        first.look()
        sizes = first.sizes()
    assert asked(tmp_path, "SELECT disk_bytes FROM folders WHERE departed_at IS NULL") == list(sizes.values())


def test_what_nobody_measured_yet_is_to_be_measured(tmp_path: Path, clock: FakeClock) -> None:
    fill(tmp_path)
    with run(tmp_path, clock) as first:
        first.root.census.measured(first.folder("a"), measure(first.root.fd, "a"))
    with run(tmp_path, clock) as again:
        assert [name for name, size in again.sizes().items() if size] == ["a"]
        assert again.watch.to_be_measured == {"b", "c"}


def test_where_there_is_a_history_it_is_waited_for_but_not_for_ever(tmp_path: Path, clock: FakeClock) -> None:
    root = Root(spec(tmp_path, history=HistorySpec()), Tracker(), clock=clock)
    assert not root.chronicle.is_awaited(), "there is none"
    root.close()
    fill(tmp_path)
    measured_once(tmp_path, clock)
    root = Root(spec(tmp_path, history=HistorySpec()), Tracker(), clock=clock)
    assert root.chronicle.is_awaited(), "nobody has tried to act on the root yet"
    clock.advance(PATIENCE_SECONDS)
    assert not root.chronicle.is_awaited()
    root.close()
    root = Root(spec(tmp_path), Tracker(), clock=clock)
    assert not root.chronicle.is_awaited(), "none is kept here"
    root.close()


def test_what_can_not_be_acted_on_is_not_waited_for(tmpfs: MakeFilesystem, clock: FakeClock) -> None:
    path = tmpfs()
    fill(path)
    measured_once(path, clock)
    subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)
    root = Root(spec(path, history=HistorySpec()), Tracker(), clock=clock)
    assert root.chronicle.is_awaited()
    with pytest.raises(StateDirectoryError):
        root.custody.activate({})
    assert not root.chronicle.is_awaited()
    reconcile(root)
    assert {folder.name: folder.disk_bytes for folder in root.census.folders()} == dict.fromkeys("abc")
    root.close()


def test_the_first_reconcile_awaits_what_the_history_knows_and_begins_without_it_if_it_does_not_answer(
    tmp_path: Path, clock: FakeClock
) -> None:
    fill(tmp_path)
    measured_once(tmp_path, clock)
    hints = Hints(watcher := Watcher(), str(tmp_path), lambda: None)
    root = Root(spec(tmp_path, history=HistorySpec()), Tracker(), clock=clock, watch=hints)
    surveyed = Surveyed(root, hints)
    survey = Survey([surveyed], watched=lambda: True, publish=lambda: None, lost=lambda *_problem: None, clock=clock)
    survey._advance()
    assert not root.census.complete
    assert 0 < survey._rest_seconds(None) < PATIENCE_SECONDS, "it looks whether it has been told"
    clock.advance(PATIENCE_SECONDS)
    survey._advance()
    assert root.census.complete
    survey.close()
    root.close()
    watcher.close()


def test_in_dry_run_all_is_looked_at_and_measured(tmp_path: Path, clock: FakeClock) -> None:
    fill(tmp_path)
    measured_once(tmp_path, clock)
    with run(tmp_path, clock, order="act wait look", dry_run=True) as again:
        assert again.sizes() == dict.fromkeys("abc")
        assert again.looked_at == again.watch.to_be_measured == {"a", "b", "c"}
        assert again.clock is clock


def test_who_stands_by_measures_for_itself_and_learns_the_rest_when_it_takes_over(
    tmp_path: Path, clock: FakeClock
) -> None:
    fill(tmp_path)
    woken: list[bool] = []
    with Run(tmp_path, clock) as first:
        first.measure_all()
        second = Root(spec(tmp_path, history=HistorySpec()), Tracker(), clock=clock, wake=lambda: woken.append(True))
        assert not second.custody.activate({})
        assert woken
        assert not second.chronicle.is_awaited()
        reconcile(second)
        (tmp_path / "a/new").write_bytes(b"x" * 50_000)
        second.census.measured(second.census.get("a"), measure(second.fd, "a"))  # type: ignore[arg-type]
        own = second.census.get("a").disk_bytes  # type: ignore[union-attr]
        sizes = first.sizes()
    assert second.custody.activate({})
    await_stock(second)
    found = {folder.name: folder.disk_bytes for folder in second.census.folders()}
    assert found == sizes | {"a": own}
    assert own != sizes["a"]
    second.close()

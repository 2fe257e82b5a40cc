"""What is known of the folders of a root: which there are, when they came and were used, and what holds them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cache.helpers import Tracker, make_folder, opened, reconcile
from fakes import FakeClock
from gcsidecar.cache.errors import RootUnavailableError
from gcsidecar.cache.folders.finder import RECENT_SECONDS
from gcsidecar.cache.folders.tally import State
from gcsidecar.cache.spec import LeaseSpec, Seconds
from gcsidecar.cache.walking.sizes import measure
from gcsidecar.cache.watching.hints import Hints
from gcsidecar.cache.watching.watcher import Change, ChangeKind, Watcher
from gcsidecar.gc.errors import DisposableInUseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cache.conftest import Mounts
    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.root import Root


def folder_of(root: Root, name: str) -> Folder:
    folder = root.census.get(name)
    assert folder is not None
    return folder


def keep_of(root: Root, name: str, now: float) -> str | None:
    return folder_of(root, name).candidate(now).keep


class Watched:
    """A watch that notes what it is asked for, and may do something in between."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.changes: list[tuple[str, bool]] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def add(self, name: str) -> bool:
        self.names.add(name)
        return True

    def add_above(self, path: str) -> None:
        self.names.add(f"{path}/")

    def remove(self, name: str) -> None:
        self.names.discard(name)

    def changed(self, folder: Folder, *, arrived: bool) -> None:
        self.changes.append((folder.name, arrived))


class Counting(Watched):
    """One that counts what it was asked to add."""

    def __init__(self) -> None:
        super().__init__()
        self.added = 0

    def add(self, name: str) -> bool:
        self.added += 1
        return super().add(name)


def test_for_a_name_that_is_gone_no_watch_is_asked_for_and_none_stays(tmp_path: Path) -> None:
    watch = Counting()
    with opened(tmp_path, watch=watch) as root:
        reconcile(root)
        watch.names.add("a")  # by whatever happened to that name before
        root.finder.refresh("a")
        assert (watch.added, watch.names) == (0, set())
        make_folder(tmp_path, "a")
        root.finder.refresh("a")
        assert root.census.get("a") is not None
        assert (watch.added, watch.names) == (1, {"a"})


def test_an_eviction_asks_for_no_watch(tmp_path: Path) -> None:
    watch, old = Counting(), make_folder(tmp_path, "a")
    with opened(tmp_path, watch=watch) as root:
        reconcile(root)
        before = watch.added
        root.custody.evict(folder_of(root, "a"))
        assert not old.exists()
        assert (watch.added, watch.names) == (before, set())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# When a folder was last used, and when it arrived


def test_the_order_of_a_volume_just_adopted_is_that_of_its_mtimes(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    for name, ago in (("b", 300), ("c", 100), ("a", 200)):
        make_folder(tmp_path, name, used_at=clock.now - ago)
    with opened(tmp_path, clock=clock, min_age=Seconds(120)) as root:
        assert sorted(root.census.folders(), key=lambda f: f.last_used()) == [folder_of(root, n) for n in "bac"]
        assert [keep_of(root, name, clock.now) for name in "abc"] == [None] * 3


def test_a_folder_that_appears_later_arrives_then_and_is_young_until_min_age(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    with opened(tmp_path, clock=clock, min_age=Seconds(120)) as root:
        clock.advance(10)
        make_folder(tmp_path, "a", used_at=clock.now - 5000)
        reconcile(root)
        assert folder_of(root, "a").last_used() == clock.now
        candidate = folder_of(root, "a").candidate(clock.now)
        assert (candidate.keep, candidate.keep_until) == ("young", clock.now + 120)
        version = root.census.version
        clock.advance(119)
        assert root.census.grow_up() == pytest.approx(clock.now + 1, abs=0.001)
        assert root.census.version == version
        clock.advance(1)
        assert root.census.grow_up() is None
        assert root.census.version > version
        assert keep_of(root, "a", clock.now) is None
        assert root.tally().by_state[State.IDLE].folders == 1


@pytest.mark.parametrize("heard", [False, True])
def test_folders_that_are_found_together_arrive_in_the_order_in_which_they_appeared(
    tmp_path: Path, *, heard: bool
) -> None:
    names = list("gcebadf")
    with opened(tmp_path) as root:
        hints = Hints(Watcher(), str(tmp_path), lambda: None)
        hints._root = root
        for name in names:
            (tmp_path / name).mkdir()
            hints._heard(Change("", name, ChangeKind.APPEARED))
            time.sleep(0.01)  # more than a tick of the filesystem's clock
        if heard:
            for name in hints.take().names:
                root.finder.refresh(name)
        else:
            reconcile(root)
        assert [folder.name for folder in sorted(root.census.folders(), key=lambda f: f.last_used())] == names


@pytest.mark.parametrize(
    ("pattern", "names", "beside"), [("{folder}.lease", ["a"], False), ("{folder}*.lease", [], True)]
)
def test_a_hint_of_a_lease_beside_a_folder_costs_no_look_at_all_others(
    tmp_path: Path, pattern: str, names: list[str], *, beside: bool
) -> None:
    with opened(tmp_path, lease=LeaseSpec(files=(pattern,))) as root:
        hints = Hints(Watcher(), str(tmp_path), lambda: None)
        hints._root = root
        hints._heard(Change("", "a.lease", ChangeKind.APPEARED))
        noted = hints.take()
        assert (list(noted.names), noted.beside) == (names, beside)


def test_a_last_use_in_the_future_counts_as_now(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a", used_at=clock.now + 9999)
    with opened(tmp_path, clock=clock) as root:
        assert folder_of(root, "a").candidate(clock.now).last_used == clock.now
        assert root.tally().top[0].last_used == clock.now


def test_a_lease_and_a_file_inside_are_signs_of_use(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    folder = make_folder(tmp_path, "a", used_at=clock.now - 5000)
    with opened(tmp_path, clock=clock) as root:
        os.utime(folder / "data", (clock.now - 100, clock.now - 300))
        root.census.measured(folder_of(root, "a"), measure(root.fd, "a"))
        assert folder_of(root, "a").last_used() == pytest.approx(clock.now - 300, abs=0.001)
        (folder / ".lease").touch()
        os.utime(folder / ".lease", (clock.now, clock.now - 50))
        os.utime(folder, (clock.now, clock.now - 9000))
        reconcile(root)
        assert folder_of(root, "a").last_used() == pytest.approx(clock.now - 50, abs=0.001)


def test_a_touch_of_a_folder_is_a_cause_for_another_plan(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    folder = make_folder(tmp_path, "a", used_at=clock.now - 5000)
    with opened(tmp_path, clock=clock) as root:
        version = root.census.version
        reconcile(root)
        assert root.census.version == version
        os.utime(folder)
        reconcile(root)
        assert root.census.version > version


# What holds a folder


@pytest.mark.parametrize(
    ("glob", "name", "pinned"),
    [
        ("base-*", "base-1", True),
        ("base-*", "a-base-1", False),
        ("base-*", "BASE-1", False),
        (r"caf\xe9", os.fsdecode(b"caf\xe9"), True),
        (r"caf\xE9", os.fsdecode(b"caf\xe9"), True),
        (r"caf\xe9", "café", False),
        ("[ab]", "b", True),
    ],
)
def test_pinned_folders_are_those_that_a_glob_of_keep_matches(
    tmp_path: Path, glob: str, name: str, *, pinned: bool
) -> None:
    make_folder(tmp_path, name)
    with opened(tmp_path, keep=(glob,)) as root:
        assert folder_of(root, name).pinned == pinned
        assert keep_of(root, name, time.time()) == ("pinned" if pinned else None)


def test_of_several_states_the_first_counts(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    with opened(tmp_path, clock=clock, keep=("p*",), min_age=Seconds(60)) as root:
        for name in ("p1", "p2", "y1", "y2"):
            make_folder(tmp_path, name)
        (tmp_path / "p1/.lease").touch()
        (tmp_path / "y1.lease").touch()
        reconcile(root)
        states = {folder.name: folder.state(clock.now) for folder in root.census.folders()}
        assert states == {"p1": "leased", "p2": "pinned", "y1": "leased", "y2": "young"}
        assert {state: amount.folders for state, amount in root.tally().by_state.items()} == {
            State.LEASED: 2,
            State.PINNED: 1,
            State.YOUNG: 1,
            State.IDLE: 0,
        }


def test_the_newest_of_a_root_stay_and_which_they_are_follows_their_use(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    for name, ago in (("a", 100), ("b", 200), ("c", 300)):
        make_folder(tmp_path, name, used_at=clock.now - ago)
    with opened(tmp_path, clock=clock, keep_newest=1) as root:
        assert [keep_of(root, name, clock.now) for name in "abc"] == ["newest", None, None]
        os.utime(tmp_path / "c", (clock.now, clock.now))
        reconcile(root)
        assert [keep_of(root, name, clock.now) for name in "abc"] == [None, None, "newest"]


@pytest.mark.parametrize(("calendar", "monotonic", "due"), [(11, 11, True), (9, 9, False), (86400, 5, False)])
def test_max_idle_is_told_by_a_clock_that_does_not_jump(
    tmp_path: Path, calendar: float, monotonic: float, *, due: bool
) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a", used_at=clock.now)
    with opened(tmp_path, clock=clock, max_idle=Seconds(10)) as root:
        clock.now += calendar
        clock.mono += monotonic
        assert folder_of(root, "a").candidate(clock.now).due == ("max-idle" if due else None)


def test_what_cannot_be_read_is_in_use(tmp_path: Path, as_nobody: Callable[[Callable[[], object]], object]) -> None:
    make_folder(tmp_path, "a").chmod(0o311)
    make_folder(tmp_path, "b")

    def states() -> list[object]:
        with opened(Path(f"/proc/self/fd/{fd}"), active=False, dry_run=True) as root:
            return [keep_of(root, "a", time.time()), keep_of(root, "b", time.time())]

    fd = os.open(tmp_path, os.O_RDONLY)
    assert as_nobody(states) == ["unreadable", None]
    os.close(fd)


def test_a_folder_on_another_mount_is_kept(tmp_path: Path, mounts: Mounts) -> None:
    mounts.mount(tmp_path / "a", "-t", "tmpfs", "tmpfs")
    with opened(tmp_path) as root:
        assert keep_of(root, "a", time.time()) == "unreadable"


def test_a_folder_that_could_not_be_deleted_whole_is_kept(tmp_path: Path, mounts: Mounts) -> None:
    mounts.mount(make_folder(tmp_path, "a") / "mnt", "-t", "tmpfs", "tmpfs")
    with opened(tmp_path) as root:
        assert keep_of(root, "a", time.time()) is None
        root.census.measured(folder_of(root, "a"), measure(root.fd, "a"))
        assert keep_of(root, "a", time.time()) == "obstacle"


def test_a_size_is_unknown_until_it_was_measured(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path) as root:
        assert set(folder_of(root, "a").candidate(0).sizes.values()) == {None, 1}
        assert root.tally().unmeasured == 1
        root.census.measured(folder_of(root, "a"), measure(root.fd, "a"))
        assert root.tally().unmeasured == 0
        assert (
            root.tally().by_state[State.IDLE].disk_bytes == folder_of(root, "a").disk_size() == root.census.known_bytes
        )


# What changes


def test_what_vanished_is_dropped_with_all_that_was_known_of_it(tmp_path: Path) -> None:
    tracker, watch = Tracker(), Watched()
    for name in ("a", "b"):
        make_folder(tmp_path, name)
    with opened(tmp_path, tracker=tracker, watch=watch) as root:
        root.census.measured(folder_of(root, "a"), measure(root.fd, "a"))
        (tmp_path / "a").rename(tmp_path / ".away")
        reconcile(root)
        assert [folder.name for folder in root.census.folders()] == ["b"]
        assert tracker.registered == root.census.folders()
        assert watch.names == {"b"}
        assert root.census.known_bytes == 0
    assert tracker.registered == []
    assert watch.names == set()


def test_a_reconcile_where_all_stands_still_makes_next_to_nothing_for_each_folder(tmp_path: Path) -> None:
    count = 2000
    for number in range(count):
        (tmp_path / f"folder-{number:06}").mkdir()
    with opened(tmp_path, clock=FakeClock(time.time() + 2 * RECENT_SECONDS)) as root:
        tracemalloc.start()
        try:
            reconcile(root)
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            reconcile(root)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak - before < count * 20


def test_another_folder_of_the_same_name_arrives_anew_and_the_old_one_is_known_no_longer(tmp_path: Path) -> None:
    clock, tracker, watch = FakeClock(time.time()), Tracker(), Watched()
    make_folder(tmp_path, "a", used_at=clock.now - 5000)
    with opened(tmp_path, tracker=tracker, watch=watch, clock=clock, min_age=Seconds(60)) as root:
        old = folder_of(root, "a")
        (tmp_path / "a").rename(tmp_path / ".away")
        make_folder(tmp_path, "a")
        reconcile(root)
        assert folder_of(root, "a") is not old
        assert tracker.registered == root.census.folders()
        assert keep_of(root, "a", clock.now) == "young"
        assert watch.names == {"a"}
        assert watch.changes[-1] == ("a", True)


def test_a_folder_made_anew_under_an_inode_number_used_before_arrives_anew_when_that_was_heard(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a", used_at=clock.now - 5000)
    with opened(tmp_path, clock=clock, min_age=Seconds(60)) as root:
        old = folder_of(root, "a")
        root.finder.gone("a")
        assert folder_of(root, "a") is not old
        assert keep_of(root, "a", clock.now) == "young"


def test_a_folder_that_was_swapped_since_it_was_chosen_is_not_evicted_in_its_place(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path, min_age=Seconds(60)) as root:
        chosen = folder_of(root, "a")
        (tmp_path / "a").rename(tmp_path / ".away")
        make_folder(tmp_path, "a")
        with pytest.raises(Exception, match="changed"):
            chosen.dispose()
        assert (tmp_path / "a/data").exists()
        assert keep_of(root, "a", time.time()) == "young"


def test_a_kept_folder_is_the_same_as_before(tmp_path: Path) -> None:
    clock, tracker, watch = FakeClock(time.time()), Tracker(), Watched()
    folder = make_folder(tmp_path, "a", used_at=clock.now - 5000)

    def take(step: str) -> None:
        if step == "moved out":
            (tmp_path / "a.lease").touch()

    with opened(tmp_path, tracker=tracker, watch=watch, clock=clock, step=take, min_age=Seconds(60)) as root:
        known = folder_of(root, "a")
        with pytest.raises(Exception, match="leased"):
            known.dispose()
        assert folder_of(root, "a") is known
        assert tracker.registered == [known]
        assert watch.names == {"a"}
        assert folder.stat().st_mtime == pytest.approx(clock.now - 5000, abs=0.001)
        assert known.leases == 1


def test_while_a_folder_is_evicted_a_look_at_its_name_changes_nothing(tmp_path: Path) -> None:
    tracker = Tracker()
    make_folder(tmp_path, "a")
    looked: list[list[Folder]] = []

    def look(step: str) -> None:
        if step in {"moved out", "deleted"}:
            reconcile(root)
            looked.append(root.census.folders())

    with opened(tmp_path, tracker=tracker, step=look) as root:
        folder = folder_of(root, "a")
        folder.dispose()
        assert looked == [[folder], [folder]]
        assert tracker.registered == root.census.folders() == []


class InterruptedClock(FakeClock):
    """Something happens whenever somebody looks at it: here, after the leases of a folder were seen."""

    meanwhile: Callable[[], object] | None = None

    def time(self) -> float:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().time()


def test_a_folder_evicted_by_another_thread_while_it_is_looked_at_does_not_come_back(tmp_path: Path) -> None:
    tracker, clock = Tracker(), InterruptedClock(time.time())
    make_folder(tmp_path, "a")
    with opened(tmp_path, tracker=tracker, clock=clock) as root:

        def evict() -> None:
            evictor = threading.Thread(target=folder_of(root, "a").dispose)
            evictor.start()
            evictor.join()

        clock.meanwhile = evict
        root.finder.refresh("a")
        assert clock.meanwhile is None
        assert root.census.folders() == tracker.registered == []


def test_a_lease_taken_within_the_same_tick_as_the_last_look_is_found_by_the_next_reconcile(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    with opened(tmp_path) as root:
        known = folder_of(root, "a")
        (folder / ".lease").touch()
        status = folder.stat()
        known.mtime_ns, known.ctime_ns = status.st_mtime_ns, status.st_ctime_ns
        reconcile(root)
        assert known.leases == 1


@pytest.mark.parametrize(
    ("folders", "files", "folder", "lease"),
    [
        ("*", ("{folder}/sub/.lease",), "a", "a/sub/.lease"),
        ("*/*", ("{folder}.lease",), "x/y", "x/y.lease"),
        ("*", ("{folder}.lease.*",), "a", "a.lease.1"),
        ("*", (".locks/{folder}/*.lease",), "a", ".locks/a/1.lease"),
    ],
)
def test_a_reconcile_sees_leases_that_leave_no_trace_in_the_folder(
    tmp_path: Path, folders: str, files: tuple[str, ...], folder: str, lease: str
) -> None:
    clock = FakeClock(time.time() + 9999)
    (make_folder(tmp_path, folder) / "sub").mkdir()
    (tmp_path / ".locks/a").mkdir(parents=True)
    with opened(tmp_path, clock=clock, folders=folders, lease=LeaseSpec(files=files)) as root:
        for exists in (True, False):
            (tmp_path / lease).touch() if exists else (tmp_path / lease).unlink()
            reconcile(root)
            assert root.tally().leases == exists


def test_of_the_largest_folders_each_is_told(tmp_path: Path) -> None:
    for number in range(5):
        make_folder(tmp_path, f"f{number}", size=number * 100_000)
    with opened(tmp_path, top_folders=2) as root:
        for folder in root.census.folders():
            root.census.measured(folder, measure(root.fd, folder.name))
        tally = root.tally()
        assert [share.name for share in tally.top] == ["f4", "f3"]
        sizes = [folder.disk_size() for folder in root.census.folders()]
        assert [share.disk_bytes for share in tally.top] == sorted(sizes, reverse=True)[:2]


# The root itself


def everything(path: Path) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for directory, _, files in sorted(os.walk(path)):
        for name in [".", *sorted(files)]:
            status = os.lstat(os.path.join(directory, name))
            found.append((directory, name, status.st_ino, status.st_mode, status.st_mtime_ns, status.st_ctime_ns))
    return found


def test_with_dry_run_nothing_on_disk_changes(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    for name in ("a", "b", "c"):
        make_folder(tmp_path, name, used_at=clock.now - 5000)
    (tmp_path / "a/.lease").touch()
    os.utime(tmp_path / "a/.lease", (1, 1))
    (tmp_path / "b.lease").touch()
    make_folder(tmp_path, ".gcsidecar/evicting/dead-1/gone")
    make_folder(tmp_path, ".gcsidecar/condemned/dead-2/gone")
    lease = LeaseSpec(ttl=Seconds(60), on_stale="expire")
    with opened(tmp_path, clock=clock, dry_run=True, lease=lease) as root:
        (tmp_path / "b.lease").unlink()
        before = everything(tmp_path)
        assert not root.custody.activate({})
        clock.advance(61)
        reconcile(root)
        assert folder_of(root, "c").candidate(clock.now).keep is None
        with pytest.raises(Exception, match="not ours"):
            folder_of(root, "c").dispose()
        assert root.custody.recover().deleted == []
    assert everything(tmp_path) == before


def test_a_root_that_was_replaced_or_removed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "root"
    path.mkdir()
    with opened(path) as root:
        root.check()
        path.rename(tmp_path / "old")
        with pytest.raises(RootUnavailableError, match="No such file"):
            root.check()
        path.mkdir()
        with pytest.raises(RootUnavailableError, match="another directory"):
            root.check()


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_root_that_is_not_there_is_an_error_that_leaves_nothing_open(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "root").touch()
    before = descriptors()
    with pytest.raises(RootUnavailableError), opened(tmp_path / "root"):
        pass
    assert descriptors() == before


def test_whatever_happens_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = descriptors()
    for name in ("a", "b", "c"):
        make_folder(tmp_path, name)
    (tmp_path / "b/.lease").touch()
    with opened(tmp_path, lease=LeaseSpec(files=("{folder}/.lease", "{folder}.lease.*", "{folder}/x/*"))) as root:
        folder_of(root, "a").dispose()  # the first decision opens the table of mounts, for good
        during = descriptors()
        for _ in range(3):
            reconcile(root)
            root.custody.recover()
            for folder in root.census.folders():
                if not folder.leases:
                    folder.dispose()
        with pytest.raises(Exception, match="leased"):
            folder_of(root, "b").dispose()
        assert descriptors() == during
    assert descriptors() == before


def test_a_folder_that_came_back_from_its_eviction_is_a_reason_to_plan_anew(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path) as root:
        folder = folder_of(root, "a")
        with contextlib.suppress(DisposableInUseError), root.finder.evicting(folder):
            planned_at = root.census.version
            assert keep_of(root, "a", time.time()) == "evicting"
            raise DisposableInUseError("a: stopped", reason="stopped")
        assert root.census.version > planned_at
        assert keep_of(root, "a", time.time()) is None

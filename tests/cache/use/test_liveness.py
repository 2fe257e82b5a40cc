"""Whether a lease's holder is alive, and what becomes of a lease whose holder is not."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.helpers import make_folder, opened, reconcile
from cache.leasing import OTHER_BOOT_ID, Process, locked, put
from fakes import FakeClock
from gcsidecar.cache.spec import LeaseSpec, Seconds
from gcsidecar.cache.use.lease import Lease, LeasePatterns
from gcsidecar.cache.use.liveness import SUSPECT_SECONDS, Liveness
from gcsidecar.cache.use.reaping import Fate, reap
from gcsidecar.cache.use.verdict import End, Ended, Reaped
from gcsidecar.contract import MAX_HOLDER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsidecar.cache.root import Root
    from gcsidecar.cache.use.verdict import Leases

EXPIRE = LeaseSpec(ttl=Seconds(60), on_stale="expire")
DAY = 24 * 3600.0


def keep_of(root: Root, name: str = "a") -> str | None:
    folder = root.census.get(name)
    assert folder is not None
    return folder.candidate(time.time() + 10 * DAY).keep


def backdate(path: Path, at: float) -> None:
    os.utime(path, (at, at))


def judged(
    folder: Path, *, clock: FakeClock | None = None, real: bool = True, lease: LeaseSpec | None = None
) -> Leases:
    """What one look at a folder comes to."""
    liveness = Liveness(lease or LeaseSpec(), locks_are_real=real, clock=clock or FakeClock(time.time()))
    fd = os.open(folder, os.O_RDONLY)
    try:
        return liveness.judge("a", fd, LeasePatterns(("{folder}/.lease",)).inside(fd))
    finally:
        os.close(fd)


def why(leases: Leases) -> list[str]:
    return [ended.why.value for ended in leases.ended]


# By its lock


def test_a_locked_lease_holds_until_its_lock_is_dropped_and_is_reaped_then(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    lease, reaped = put(folder), list[Reaped]()
    with opened(tmp_path, reaped=reaped.append) as root:
        assert reaped[0].ended.why is End.DEAD, "nobody held it when the sidecar started"
        lease = put(folder)
        with locked(lease):
            reconcile(root)
            assert (root.tally().leases, keep_of(root)) == (1, "leased")
            assert lease.exists()
        reconcile(root)
        assert (root.tally().leases, root.tally().dead_leases, keep_of(root)) == (0, 0, None)
        assert not lease.exists()
    last = reaped[-1]
    assert (len(reaped), last.root, last.folder, last.ended.lease.path) == (2, "jobs", "a", ".lease.x")
    assert last.ended.holder is not None
    assert (last.ended.holder.host, last.ended.holder.purpose) == ("builder-7", "pip")


def test_a_lease_ends_when_its_holder_is_killed_and_not_before_the_last_that_inherited_it(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    with Process(folder, "sleep", "100") as process, opened(tmp_path) as root:
        process.kill()
        reconcile(root)
        assert (root.tally().leases, process.lease.exists()) == (1, True)
        os.kill(process.child, signal.SIGKILL)
        gone = time.monotonic() + 5
        while process.lease.exists() and time.monotonic() < gone:
            reconcile(root)
        assert (root.tally().leases, process.lease.exists()) == (0, False)


def test_a_process_id_says_nothing(tmp_path: Path) -> None:
    """Neither that of a process that lives, which may have got a dead one's, nor one of another pid namespace."""
    dead, alive = make_folder(tmp_path, "dead"), make_folder(tmp_path, "alive")
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    put(dead, pid=os.getpid(), started=started)
    lease = put(alive, pid=1 << 22)
    with locked(lease), opened(tmp_path) as root:
        assert (keep_of(root, "dead"), keep_of(root, "alive")) == (None, "leased")
        assert (list(dead.glob(".lease*")), lease.exists()) == ([], True)


@pytest.mark.parametrize("other", [{"boot_id": OTHER_BOOT_ID}, {"device": 7}, {"locked": False}])
def test_a_lease_whose_lock_proves_nothing_here_is_not_judged_by_it(tmp_path: Path, other: dict[str, Any]) -> None:
    folder = make_folder(tmp_path, "a")
    lease = put(folder, **other)
    with opened(tmp_path) as root:
        assert (root.tally().leases, keep_of(root), lease.exists()) == (1, "leased", True)


def test_where_locks_are_not_real_no_lease_is_judged_by_its_own(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    put(folder)
    assert why(judged(folder, real=True)) == ["dead"]
    assert judged(folder, real=False).holding


def test_a_lock_that_is_held_is_a_sign_of_life_whoever_holds_it(tmp_path: Path) -> None:
    folder, clock = make_folder(tmp_path, "a"), FakeClock(time.time())
    lease = put(folder, boot_id=OTHER_BOOT_ID, ttl_seconds=30.0)
    with locked(lease), opened(tmp_path, clock=clock, lease=EXPIRE) as root:
        clock.advance(1000)
        reconcile(root)
        assert (root.tally().leases, root.tally().stale_leases) == (1, 0)
    clock.advance(1000)
    with opened(tmp_path, clock=clock, lease=EXPIRE) as root:
        clock.advance(31)
        reconcile(root)
        assert not lease.exists()


def test_two_who_ask_at_the_same_time_do_not_take_each_other_for_the_holder(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    lease = put(folder)
    fd = os.open(lease, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    assert why(judged(folder)) == ["dead"]
    os.close(fd)


# By its heartbeat


def test_a_lease_with_a_ttl_of_its_own_lives_by_that_and_not_by_the_roots(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    long, short = make_folder(tmp_path, "long"), make_folder(tmp_path, "short")
    kept = put(long, locked=False, ttl_seconds=3600.0)
    reaped: list[Reaped] = []
    ended = put(short, locked=False, ttl_seconds=20.0)
    with opened(tmp_path, clock=clock, lease=EXPIRE, reaped=reaped.append) as root:
        for _ in range(3):
            clock.advance(15)
            backdate(ended, clock.now)
            reconcile(root)
        assert root.tally().leases == 2
        clock.advance(21)
        reconcile(root)
        assert (kept.exists(), ended.exists()) == (True, False)
        clock.advance(100)
        reconcile(root)
        assert (root.tally().leases, root.tally().stale_leases) == (1, 0)
    assert [(one.folder, one.ended.why) for one in reaped] == [("short", End.EXPIRED)]


@pytest.mark.parametrize(("calendar", "monotonic"), [(7 * DAY, 1), (-DAY, 3600), (1, 3600)])
def test_a_jump_of_the_clock_ends_no_heartbeat(tmp_path: Path, calendar: float, monotonic: float) -> None:
    folder, clock = make_folder(tmp_path, "a"), FakeClock(time.time())
    lease = put(folder, locked=False, ttl_seconds=30.0)
    with opened(tmp_path, clock=clock) as root:
        clock.now += calendar
        clock.mono += monotonic
        reconcile(root)
        assert (lease.exists(), keep_of(root)) == (True, "leased")


def test_a_bare_lease_that_is_old_is_suspect_and_kept(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    for name, ago in (("old", SUSPECT_SECONDS + 60), ("new", SUSPECT_SECONDS - 600)):
        (make_folder(tmp_path, name) / ".lease").touch()
        backdate(tmp_path / name / ".lease", clock.now - ago)
    lease = put(make_folder(tmp_path, "locked"))
    backdate(lease, clock.now - 2 * SUSPECT_SECONDS)
    with locked(lease), opened(tmp_path, clock=clock) as root:
        assert (root.tally().leases, root.tally().stale_leases) == (3, 1)
        assert keep_of(root, "old") == "leased"
        clock.advance(700)
        reconcile(root)
        assert (root.tally().leases, root.tally().stale_leases) == (3, 2)


# What is no lease file of our client holds all the same


@pytest.mark.parametrize("kind", ["directory", "symlink", "fifo", "socket", "garbage", "too long", "newer"])
def test_what_only_has_the_name_of_a_lease_is_a_bare_one_and_nobody_waits_for_it(tmp_path: Path, kind: str) -> None:
    folder = make_folder(tmp_path, "a")
    dead = put(make_folder(tmp_path, "elsewhere"), name="dead").read_bytes()
    lease = folder / ".lease.x"
    if kind == "directory":
        lease.mkdir()
    elif kind == "symlink":
        lease.symlink_to("../elsewhere/dead")
    elif kind == "fifo":
        os.mkfifo(lease)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(lease))
    else:
        changed = {
            "garbage": b"pid 7",
            "too long": dead + b" " * MAX_HOLDER_BYTES,
            "newer": dead.replace(b": 1,", b": 2,"),
        }
        lease.write_bytes(changed[kind])
    with opened(tmp_path) as root:
        assert (root.tally().leases, keep_of(root)) == (1, "leased")
        assert os.path.lexists(lease)


@pytest.mark.parametrize("what", ["released", "another dead one", "a fifo", "a symlink"])
def test_what_changes_while_it_is_looked_at_is_in_use_and_only_what_was_released_is_not(
    tmp_path: Path, what: str
) -> None:
    folder = make_folder(tmp_path, "a")
    lease, other = put(folder), put(folder, name="other")
    liveness = Liveness(LeaseSpec(), locks_are_real=True, clock=FakeClock(time.time()))
    fd = os.open(folder, os.O_RDONLY)
    found = LeasePatterns(("{folder}/.lease",)).inside(fd)
    lease.unlink()
    if what == "another dead one":
        other.rename(lease)
    elif what == "a fifo":
        os.mkfifo(lease)
    elif what == "a symlink":
        lease.symlink_to("other")
        with pytest.raises(OSError, match="symbolic"):
            liveness.judge("a", fd, found)
    if what != "a symlink":
        leases = liveness.judge("a", fd, found)
        assert (len(leases.holding), leases.ended) == (0 if what == "released" else 1, ())
    os.close(fd)


def test_a_lease_that_cannot_be_read_holds_and_never_expires(
    tmp_path: Path, as_nobody: Callable[[Callable[[], object]], object]
) -> None:
    clock = FakeClock(time.time())
    lease = put(make_folder(tmp_path, "a"))
    lease.chmod(0o600)

    def look() -> object:
        liveness = Liveness(EXPIRE, locks_are_real=True, clock=clock)
        found = LeasePatterns(("{folder}/.lease",)).inside(fd)
        fresh = liveness.judge("a", fd, found)
        clock.advance(1000)
        old = liveness.judge("a", fd, found)
        return (len(fresh.holding), fresh.stale, len(fresh.ended)), (len(old.holding), old.stale, len(old.ended))

    fd = os.open(tmp_path / "a", os.O_RDONLY)
    assert as_nobody(look) == ((1, 0, 0), (1, 1, 0))
    lease.write_bytes(b"")  # as `mktemp` makes it: there is nothing to be read
    assert as_nobody(look) == ((1, 0, 0), (0, 0, 1))
    os.close(fd)


def test_a_lease_of_our_client_counts_whatever_the_patterns_are(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    with opened(tmp_path, lease=LeaseSpec(files=("{folder}/in-use",))) as root:
        assert keep_of(root) is None
        with locked(put(folder)):
            root.finder.refresh("a")
            assert keep_of(root) == "leased"


# All rules at once


@settings(max_examples=150)
@given(
    says_locked=st.booleans(),
    same_boot=st.booleans(),
    same_device=st.booleans(),
    real=st.booleans(),
    held=st.booleans(),
    ttl=st.none() | st.just(30.0),
    root=st.sampled_from([LeaseSpec(), LeaseSpec(ttl=Seconds(60)), EXPIRE]),
    calendar=st.sampled_from([-1000.0, 1.0, 45.0, 100.0, 2 * DAY]),
    monotonic=st.sampled_from([1.0, 45.0, 100.0, 2 * DAY]),
)
def test_a_lease_ends_only_by_a_lock_that_can_be_believed_or_by_both_clocks(
    *,
    says_locked: bool,
    same_boot: bool,
    same_device: bool,
    real: bool,
    held: bool,
    ttl: float | None,
    root: LeaseSpec,
    calendar: float,
    monotonic: float,
) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        changes: dict[str, Any] = {} if same_boot else {"boot_id": OTHER_BOOT_ID}
        changes |= {} if same_device else {"device": 7}
        lease = put(folder, ttl_seconds=ttl, locked=says_locked, **changes)
        clock = FakeClock(lease.stat().st_mtime)
        liveness = Liveness(root, locks_are_real=real, clock=clock)
        fd = os.open(folder, os.O_RDONLY)
        stack.callback(os.close, fd)
        if held:
            stack.enter_context(locked(lease))
        found = LeasePatterns(("{folder}/.lease",)).inside(fd)
        liveness.judge("a", fd, found)
        clock.now, clock.mono = clock.now + calendar, clock.mono + monotonic
        leases = liveness.judge("a", fd, found)
        quiet = min(calendar, monotonic)
        if says_locked and real and (held or (same_boot and same_device)):
            expected = [] if held else ["dead"]
        elif ttl is not None:
            expected = ["expired"] if quiet > ttl else []
        else:
            expected = ["expired"] if root is EXPIRE and quiet > 60 else []
        assert why(leases) == expected
        assert len(leases.holding) == 1 - len(expected)


# Reaping


def test_reaping_leaves_the_order_of_eviction_as_it_was(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    for name, ago in (("first", 3000), ("second", 2000), ("third", 1000)):
        make_folder(tmp_path, name, used_at=clock.now - ago)
    lease = put(tmp_path / "second")
    backdate(lease, clock.now - 2500)
    backdate(tmp_path / "second", clock.now - 2000)
    with opened(tmp_path, clock=clock) as root:
        assert not lease.exists()
        assert [f.name for f in sorted(root.census.folders(), key=lambda f: f.last_used())] == [
            "first",
            "second",
            "third",
        ]
        assert (tmp_path / "second").stat().st_mtime == pytest.approx(clock.now - 2000, abs=0.001)


def test_a_folder_was_last_used_when_the_lock_of_its_dead_holder_was_last_seen_held(tmp_path: Path) -> None:
    clock = FakeClock(time.time() - 10_000)
    folder = make_folder(tmp_path, "a", used_at=clock.now - 5000)
    lease = put(folder)
    for path in (lease, folder):
        backdate(path, clock.now - 3000)
    with opened(tmp_path, clock=clock, active=False) as root:
        root.custody.activate({})
        with locked(put(folder)):
            backdate(lease, clock.now - 3000)
            backdate(folder, clock.now - 3000)
            reconcile(root)
            clock.advance(100)
            reconcile(root)
        seen_at = clock.now
        clock.advance(1000)
        reconcile(root)
        assert not lease.exists()
        assert folder.stat().st_mtime == pytest.approx(seen_at, abs=0.001)
        known = root.census.get("a")
        assert known is not None
        assert known.last_used() == pytest.approx(seen_at, abs=0.001)


def ended_in(folder: Path) -> Ended:
    (ended,) = judged(folder).ended
    return ended


def fate_of(folder: Path, ended: Ended) -> Fate:
    fd = os.open(folder, os.O_RDONLY)
    try:
        (fate,) = reap(fd, fd, [ended], time.time())
        return fate
    finally:
        os.close(fd)


@pytest.mark.parametrize("what", ["locked again", "replaced", "touched", "gone", "a directory"])
def test_a_lease_that_has_changed_since_it_was_judged_is_not_reaped_and_holds(tmp_path: Path, what: str) -> None:
    folder = make_folder(tmp_path, "a")
    lease = put(folder)
    ended = ended_in(folder)
    with ExitStack() as stack:
        if what == "locked again":
            stack.enter_context(locked(lease))
        elif what == "replaced":
            new, status = put(folder, name="new"), lease.stat()
            os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
            new.rename(lease)
        elif what == "touched":
            os.utime(lease)
        else:
            lease.unlink()
            if what == "a directory":
                lease.mkdir()
        before = folder.stat()
        assert fate_of(folder, ended) is (Fate.VANISHED if what == "gone" else Fate.ALIVE)
        assert lease.exists() == (what != "gone")
        assert folder.stat().st_ctime_ns == before.st_ctime_ns


def test_a_bare_lease_that_was_touched_since_it_expired_is_not_reaped(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a")
    (folder / ".lease").touch()
    ended = Ended(Lease(".lease", (folder / ".lease").stat().st_mtime, inside=True), End.EXPIRED, None, 1.0)
    os.utime(folder / ".lease")
    assert fate_of(folder, ended) is Fate.ALIVE
    backdate(folder / ".lease", ended.lease.mtime)
    assert fate_of(folder, ended) is Fate.REAPED


class InterruptedClock(FakeClock):
    """Something happens just before it is looked at for the second time: when the leases have been judged."""

    def __init__(self, now: float, meanwhile: Callable[[], object]) -> None:
        super().__init__(now)
        self._looks, self._meanwhile = 0, meanwhile
        self.armed = False

    def time(self) -> float:
        self._looks += self.armed
        if self._looks == 2:
            self._meanwhile()
        return super().time()


def test_a_lease_that_shows_a_sign_of_life_when_it_is_to_be_reaped_keeps_the_folder(tmp_path: Path) -> None:
    folder, held = make_folder(tmp_path, "a"), ExitStack()
    clock = InterruptedClock(time.time(), lambda: held.enter_context(locked(lease)))
    with held, opened(tmp_path, clock=clock) as root:
        lease, fd = put(folder), os.open(folder, os.O_RDONLY)
        clock.armed = True
        leases = root.lookout.look_and_reap(fd, "a")
        os.close(fd)
        assert ([one.path for one in leases.holding], leases.ended) == ([".lease.x"], ())
        assert lease.exists()


def test_a_lease_with_the_name_of_a_dead_one_is_not_removed_for_it(tmp_path: Path) -> None:
    """What is asked and what is removed are one, even where the name is taken by another in between."""
    folder = make_folder(tmp_path, "a")
    put(folder)
    ended = ended_in(folder)
    alive = put(folder, name="alive")
    with locked(alive):
        os.rename(alive, folder / ".lease.x")
        swapped = replace(ended, lease=judged(folder).holding[0])
        assert fate_of(folder, swapped) is Fate.ALIVE
        assert (folder / ".lease.x").exists()


def test_without_the_right_to_reap_a_dead_lease_is_counted_and_holds_nothing(
    tmp_path: Path, as_nobody: Callable[[Callable[[], Any]], Any]
) -> None:
    """The folder is not its own, so that its time could not be set back: it would count as used just now."""
    folder = make_folder(tmp_path, "a", used_at=time.time() - 5000)
    lease = put(folder)
    backdate(lease, time.time() - 4000)
    backdate(folder, time.time() - 5000)
    tmp_path.chmod(0o777)
    folder.chmod(0o777)

    def look() -> object:
        with opened(Path(f"/proc/self/fd/{fd}")) as root:
            assert root.custody.active
            tally = root.tally()
            folder = root.census.folders()[0]
            return tally.leases, tally.dead_leases, folder.keep(time.time()), time.time() - folder.last_used()

    fd = os.open(tmp_path, os.O_RDONLY)
    leases, dead, keep, idle = as_nobody(look)
    os.close(fd)
    assert (leases, dead, keep, idle) == (0, 1, None, pytest.approx(4000, abs=5))
    assert lease.exists()


def test_a_reconcile_sees_that_a_heartbeat_stayed_away_though_nothing_has_changed_in_the_folder(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    lease = put(make_folder(tmp_path, "a"), locked=False, ttl_seconds=300.0)
    with opened(tmp_path, clock=clock) as root:
        clock.advance(1000)
        reconcile(root)
        assert not lease.exists()


def test_who_takes_over_a_root_reaps_what_is_dead_there_at_once(tmp_path: Path) -> None:
    lease = put(make_folder(tmp_path, "a"))
    with opened(tmp_path, active=False) as root:
        assert (root.tally().dead_leases, lease.exists()) == (1, True)
        root.custody.activate({})
        assert (root.tally().dead_leases, lease.exists()) == (0, False)


def test_a_dead_lease_that_could_not_be_removed_is_tried_again(
    tmp_path: Path, immutable: Callable[[Path, str], None]
) -> None:
    clock = FakeClock(time.time())
    lease = put(make_folder(tmp_path, "a"))
    immutable(lease, "i")
    with opened(tmp_path, clock=clock) as root:
        assert (root.tally().leases, root.tally().dead_leases, keep_of(root)) == (0, 1, None)
        subprocess.run(["chattr", "-i", str(lease)], check=True)
        clock.advance(1000)
        reconcile(root)
        assert (root.tally().dead_leases, lease.exists()) == (0, False)
        lease.touch()  # the fixture takes it off by this name


@pytest.mark.parametrize("how", [{"dry_run": True}, {"active": False}])
def test_who_does_not_act_on_a_root_reaps_nothing_there(tmp_path: Path, how: dict[str, Any]) -> None:
    folder = make_folder(tmp_path, "a")
    lease = put(folder)
    before, reaped = folder.stat(), list[Reaped]()
    with opened(tmp_path, reaped=reaped.append, **how) as root:
        assert (root.tally().leases, root.tally().dead_leases, reaped) == (0, 1, [])
    assert lease.exists()
    assert (folder.stat().st_mtime_ns, folder.stat().st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)


# The decision


def test_a_folder_goes_whose_holder_died_a_moment_ago_and_whose_lease_is_told_of(tmp_path: Path) -> None:
    folder, reaped = make_folder(tmp_path, "a"), list[Reaped]()
    with opened(tmp_path, reaped=reaped.append) as root:
        known = root.census.folders()[0]
        with locked(put(folder)):
            root.finder.refresh("a")
            with pytest.raises(Exception, match="leased"):
                known.dispose()
        known.dispose()
    assert not folder.exists()
    assert [one.ended.why for one in reaped] == [End.DEAD]


@pytest.mark.parametrize("step", ["open", "locked", "move out", "moved out"])
def test_a_lease_taken_amid_an_eviction_brings_the_folder_back(tmp_path: Path, step: str) -> None:
    folder = make_folder(tmp_path, "a")
    with ExitStack() as held:

        def take(name: str) -> None:
            if name == step:
                where = next(iter((tmp_path / ".gcsidecar/evicting").glob("*/a%-*")), folder)
                held.enter_context(locked(put(where)))

        with opened(tmp_path, step=take) as root:
            with pytest.raises(Exception, match="leased"):
                root.census.folders()[0].dispose()
            assert (folder / "data").exists()
            assert keep_of(root) == "leased"


def test_locks_that_were_dropped_are_found_without_a_look_at_all_folders(tmp_path: Path) -> None:
    clock, names = FakeClock(time.time()), ["a", "b", "x/c"]
    for name in names:
        make_folder(tmp_path, name)
    with ExitStack() as held, opened(tmp_path, clock=clock) as root:
        for name in names[:2]:
            held.enter_context(locked(put(tmp_path / name)))
        reconcile(root)
        lookout = root.lookout
        clock.advance(1)
        assert lookout.let_go(0.1) == []
        put(tmp_path / "a").rename(tmp_path / "a/.lease.y")  # another, with nobody's lock
        held.close()
        assert lookout.let_go(0.1) == [], "not again so soon"
        clock.advance(1)
        assert sorted(lookout.let_go(0.1)) == ["a", "b"]
        clock.advance(1)
        version = root.census.version
        root.finder.look_at_locks(0.1)
        assert root.tally().leases == 0
        assert root.census.version > version, "a reason for another plan"
        clock.advance(1)
        assert lookout.let_go(0.1) == []

"""What becomes of what lies in `.gcsidecar/`: parked folders, and deletions that failed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder, opened
from cache.leasing import locked, put
from fakes import FakeClock
from gcsidecar.cache.errors import RemovalError
from gcsidecar.cache.eviction.slots import decode, encode
from gcsidecar.cache.spec import LeaseSpec, Seconds
from gcsidecar.cache.use.verdict import End, Reaped
from gcsidecar.contract import MARK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcsidecar.cache.root import Root

DAY = 24 * 3600.0


def lying(path: Path, side: str) -> list[str]:
    return sorted(decode(entry.name) for entry in (path / ".gcsidecar" / side).glob("*/*"))


def park(path: Path, name: str = "a", *, lease: str | None = ".lease") -> Path:
    """What a crash leaves: a whole folder in a slot of the dead, whose name is taken again."""
    parked = make_folder(path, f".gcsidecar/evicting/dead-1/{encode(name)}", size=77)
    if lease is not None:
        (parked / lease).touch()
    make_folder(path, name, size=5)
    return parked


def size_of(path: Path) -> int:
    return (path / "data").stat().st_size


def test_a_parked_folder_without_leases_whose_name_is_taken_goes(tmp_path: Path) -> None:
    park(tmp_path, lease=None)
    with opened(tmp_path) as root:
        assert lying(tmp_path, "evicting") == lying(tmp_path, "condemned") == []
        assert root.custody.parked == frozenset()
    assert size_of(tmp_path / "a") == 5


def test_a_parked_folder_comes_back_when_its_name_is_free_leases_and_all(tmp_path: Path) -> None:
    park(tmp_path)
    with opened(tmp_path) as root:
        version = root.census.version
        assert root.custody.parked == {"a"}
        folder = root.census.get("a")
        assert folder is not None
        assert folder.candidate(time.time()).keep == "parked"
        shutil.rmtree(tmp_path / "a")
        assert root.custody.recover().restored == ["a"]
        assert root.custody.parked == frozenset()
        assert root.census.version > version, "what a plan depends on has changed"
    assert size_of(tmp_path / "a") == 77
    assert (tmp_path / "a/.lease").exists()


def test_a_parked_folder_two_levels_down_waits_for_its_parent(tmp_path: Path) -> None:
    parked = make_folder(tmp_path, f".gcsidecar/evicting/dead-1/{encode('x/50%')}")
    (parked / ".lease").touch()
    with opened(tmp_path, folders="*/*") as root:
        assert root.custody.parked == {"x/50%"}
        (tmp_path / "x").mkdir()
        assert root.custody.recover().restored == ["x/50%"]
    assert (tmp_path / "x/50%/.lease").exists()


def test_a_mark_is_taken_off_before_a_folder_comes_back(tmp_path: Path) -> None:
    parked = make_folder(tmp_path, ".gcsidecar/evicting/dead-1/a")
    parked.chmod(0o750 | MARK)
    with opened(tmp_path):
        assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o750


def advance_and_recover(root: Root, clock: FakeClock, seconds: float) -> None:
    clock.advance(seconds)
    root.custody.recover()


def test_a_lease_in_a_parked_folder_ends_a_day_after_its_last_touch(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    parked = park(tmp_path)
    with opened(tmp_path, clock=clock) as root:
        advance_and_recover(root, clock, 0.9 * DAY)
        os.utime(parked / ".lease", (clock.now, clock.now))
        advance_and_recover(root, clock, 0.9 * DAY)
        assert root.custody.parked == {"a"}
        advance_and_recover(root, clock, 0.2 * DAY)
        assert root.custody.parked == frozenset()
    assert lying(tmp_path, "condemned") == []


def test_a_lease_beside_the_name_of_a_parked_folder_never_ends_by_itself(tmp_path: Path) -> None:
    """Its holder can remove it, so nothing is known of it but that it is there."""
    clock = FakeClock(time.time())
    park(tmp_path, lease=None)
    (tmp_path / "a.lease").touch()
    with opened(tmp_path, clock=clock) as root:
        for _ in range(3):
            advance_and_recover(root, clock, 10 * DAY)
            assert root.custody.parked == {"a"}
        (tmp_path / "a.lease").unlink()
        root.custody.recover()
        assert root.custody.parked == frozenset()


def test_a_folder_parked_once_more_is_given_a_whole_day_again(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    parked = park(tmp_path)
    slot = parked.parent
    with opened(tmp_path, clock=clock) as root:
        (tmp_path / "a").rename(tmp_path / "b")
        assert root.custody.recover().restored == ["a"]
        clock.advance(2 * DAY)
        slot.mkdir(exist_ok=True)
        (tmp_path / "a").rename(slot / "a")
        make_folder(tmp_path, "a")
        clock.now += 30 * DAY  # the calendar jumps as well
        root.custody.recover()
        assert root.custody.parked == {"a"}


def test_a_lease_in_a_parked_folder_never_ends_while_a_process_has_anything_open_in_it(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    parked = park(tmp_path)
    program = "import sys; f = open(sys.argv[1]); print(flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", program, str(parked / "data")], stdin=-1, stdout=-1)
    assert holder.stdout is not None
    holder.stdout.readline()
    with opened(tmp_path, clock=clock) as root:
        advance_and_recover(root, clock, 2 * DAY)
        assert root.custody.parked == {"a"}
        holder.communicate()
        root.custody.recover()
        assert root.custody.parked == frozenset()


def test_a_lease_in_a_parked_folder_holds_as_long_as_its_lock_and_no_longer(tmp_path: Path) -> None:
    clock, reaped = FakeClock(time.time()), list[Reaped]()
    lease = put(park(tmp_path, lease=None))
    with opened(tmp_path, clock=clock, reaped=reaped.append) as root:
        assert root.custody.parked == frozenset(), "nobody held it: a crash of both"
        lease = put(park(tmp_path, "b", lease=None))
        with locked(lease):
            for _ in range(3):
                advance_and_recover(root, clock, 2 * DAY)
                assert root.custody.parked == {"b"}
                assert not root.custody.may_recover()
        assert root.custody.may_recover(), "at once, and not when it is time to look"
        root.custody.recover()
        assert root.custody.parked == frozenset()
        assert not root.custody.may_recover()
        assert not root.lookout.has_parked_let_go()
    assert [(one.folder, one.ended.why) for one in reaped] == [("a", End.DEAD), ("b", End.DEAD)]
    assert lying(tmp_path, "evicting") == lying(tmp_path, "condemned") == []


def test_a_heartbeat_in_a_parked_folder_counts_by_its_own_ttl(tmp_path: Path) -> None:
    """Its holder has the file open, and touches it wherever it is."""
    clock = FakeClock(time.time())
    lease = put(park(tmp_path, lease=None), locked=False, ttl_seconds=3600.0)
    with opened(tmp_path, clock=clock) as root:
        for _ in range(60):
            advance_and_recover(root, clock, 3000)
            os.utime(lease, (clock.now, clock.now))
            root.custody.recover()
        assert root.custody.parked == {"a"}
        advance_and_recover(root, clock, 3500)
        assert root.custody.parked == {"a"}
        advance_and_recover(root, clock, 200)
        assert root.custody.parked == frozenset()


def test_a_heartbeat_with_a_long_ttl_holds_a_parked_folder_longer_than_a_bare_lease(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    put(park(tmp_path, lease=None), locked=False, ttl_seconds=3 * DAY)
    with opened(tmp_path, clock=clock) as root:
        advance_and_recover(root, clock, 2 * DAY)
        assert root.custody.parked == {"a"}
        advance_and_recover(root, clock, 2 * DAY)
        assert root.custody.parked == frozenset()


def test_a_folder_that_came_back_is_no_reason_to_look_at_those_that_are_parked(tmp_path: Path) -> None:
    with locked(put(park(tmp_path, lease=None))), opened(tmp_path) as root:
        assert root.custody.parked == {"a"}
        (tmp_path / "a").rename(tmp_path / "b")
        assert root.custody.recover().restored == ["a"]
        assert not root.lookout.has_parked_let_go()


def test_the_ttl_of_the_root_ends_no_lease_that_its_holder_cannot_reach(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    park(tmp_path)
    with opened(tmp_path, clock=clock, lease=LeaseSpec(ttl=Seconds(60), on_stale="expire")) as root:
        advance_and_recover(root, clock, 3600)
        assert root.custody.parked == {"a"}


def test_where_other_hosts_see_the_filesystem_a_parked_folder_waits_until_they_know_that_it_was_moved(
    tmp_path: Path,
) -> None:
    clock = FakeClock(time.time())
    parked = park(tmp_path, lease=None)
    with opened(tmp_path, active=False, clock=clock) as root:
        root.filesystem = replace(root.filesystem, is_shared=True)
        root.custody.activate({})
        root.custody.recover()
        advance_and_recover(root, clock, 89)
        assert root.custody.parked == {"a"}
        (parked / ".lease").touch()  # by another host, which took it for what has the name
        advance_and_recover(root, clock, 2)
        assert root.custody.parked == {"a"}
        (parked / ".lease").unlink()
        root.custody.recover()
        assert root.custody.parked == frozenset()


@pytest.mark.parametrize("mode", [0o755, 0o755 | MARK])
def test_what_another_sidecar_has_put_back_or_condemned_meanwhile_is_left_as_it_is(tmp_path: Path, mode: int) -> None:
    parked, now = park(tmp_path, lease=None), tmp_path / "elsewhere"
    steps: list[str] = []

    def act(step: str) -> None:
        steps.append(step)
        if step == "locked in its slot":
            parked.chmod(mode)
            parked.rename(now)

    with opened(tmp_path, step=act) as root:
        assert root.custody.parked == frozenset()
    assert steps == ["locked in its slot"], "nothing more was done"
    assert (size_of(now), stat.S_IMODE(now.stat().st_mode)) == (77, mode)


def test_what_cannot_be_opened_stays_parked(tmp_path: Path) -> None:
    (tmp_path / ".gcsidecar/evicting/dead-1").mkdir(parents=True)
    (tmp_path / ".gcsidecar/evicting/dead-1/a").symlink_to(tmp_path)
    with opened(tmp_path) as root:
        assert root.custody.parked == {"a"}


def test_what_is_condemned_goes_whatever_lies_in_it_and_never_comes_back(tmp_path: Path) -> None:
    rest = make_folder(tmp_path, ".gcsidecar/condemned/dead-1/a")
    (rest / ".lease").touch()
    with opened(tmp_path):
        assert not (tmp_path / "a").exists()
        assert lying(tmp_path, "condemned") == []


def test_what_cannot_be_deleted_is_reported_counted_and_tried_again_later_each_time_later(
    tmp_path: Path, immutable: Callable[[Path, str], None]
) -> None:
    clock = FakeClock(time.time())
    folder = make_folder(tmp_path, "a")
    (folder / "sub").mkdir()
    (folder / "sub/file").touch()
    immutable(folder / "sub", "i")
    with opened(tmp_path, clock=clock) as root:
        known = root.census.get("a")
        assert known is not None
        with pytest.raises(RemovalError, match=r"jobs/a: .* entries can't be deleted, the first is sub"):
            known.dispose()
        assert (root.custody.condemned, root.census.folders()) == (1, [])
        found = root.custody.recover()
        assert (found.remaining, str(found.failures[0][1])[:8]) == (["a"], "sub/file")
        assert root.custody.recover().failures == [], "it is left alone for a minute"
        clock.advance(61)
        assert root.custody.recover().failures
        clock.advance(61)
        assert not root.custody.recover().failures, "then for two"
        subprocess.run(["chattr", "-i", str(next((tmp_path / ".gcsidecar/condemned").glob("*/a%-*/sub")))], check=True)
        clock.advance(120)
        assert root.custody.recover().deleted == ["a"]
        assert root.custody.condemned == 0
        # The fixture takes it off by this name.
        (folder / "sub").mkdir(parents=True)


def test_a_deletion_that_was_told_to_stop_is_gone_on_with(tmp_path: Path) -> None:
    stopping: list[bool] = []

    def stop_while_deleting(step: str) -> None:
        if step == "delete":
            stopping.append(True)

    make_folder(tmp_path, "a")
    with opened(tmp_path, step=stop_while_deleting, stop=lambda: bool(stopping)) as root:
        folder = root.census.get("a")
        assert folder is not None
        folder.dispose()
        assert (root.custody.condemned, root.census.folders()) == (1, [])
        assert root.custody.recover().deleted == []
        stopping.clear()
        assert root.custody.recover().deleted == ["a"]

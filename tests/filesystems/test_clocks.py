"""The calendar's clock jumps by an hour: by that no lease ends, nothing is idle or old, and nothing stays young."""

from __future__ import annotations

import os
import struct
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cache.helpers import make_folder
from e2e.harness import Sidecar, eventually
from filesystems.holders import held
from filesystems.roots import MEASURED_OFTEN, config, names, root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filesystems.conftest import MakeFilesystem, Serve

pytestmark = pytest.mark.e2e

HOUR = 3600.0
TTL = 1.5
BEATS = """
import gcsidecar, sys
with gcsidecar.lease(sys.argv[1], ttl=float(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


class Calendar:
    """The calendar's clock of the processes that are given its environment."""

    def __init__(self, directory: Path) -> None:
        self._file = (directory / "calendar").open("wb+", buffering=0)
        self.set(0.0)
        here = str(Path(__file__).parent / "calendar")
        self.environ = {"PYTHONPATH": here, "GCSIDECAR_TEST_CALENDAR": str(directory / "calendar")}

    def set(self, ahead_seconds: float) -> None:
        """Let it be ahead of the true time by so much; in one write, so that nobody sees half of it."""
        self.ahead_seconds = ahead_seconds
        os.pwrite(self._file.fileno(), struct.pack("d", ahead_seconds), 0)

    def time(self) -> float:
        """What it says."""
        return time.time() + self.ahead_seconds

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def calendar(tmp_path: Path) -> Iterator[Calendar]:
    made = Calendar(tmp_path)
    yield made
    made.close()


def test_no_lease_ends_by_a_jump_be_it_a_heartbeat_or_in_a_parked_folder(
    tmpfs: MakeFilesystem, fuse: Serve, calendar: Calendar, tmp_path: Path
) -> None:
    cache, other = fuse(tmp_path / "cache", "bindfs", "-f", str(tmpfs())).mount, tmpfs()
    for name in ("same clock", "other clock"):
        make_folder(cache, name)
    parked = make_folder(other, ".gcsidecar/evicting/dead-1/a")
    (parked / ".lease").touch()
    make_folder(other, "a")  # it can't go back: somebody has the name
    roots = (
        root(cache, "beating", max_folders=1, lease={"settle": "100ms"}),
        root(other, "parked", lease={"parked_ttl": "30m"}),
    )
    with ExitStack() as holders:
        same = holders.enter_context(held(cache / "same clock", ttl_seconds=TTL, environ=os.environ | calendar.environ))
        # Files may have been written by a host whose clock is another one.
        holders.enter_context(held(cache / "other clock", ttl_seconds=TTL))
        with Sidecar(tmp_path, config(*roots, **MEASURED_OFTEN), environ=calendar.environ) as sidecar:

            def live() -> float | None:
                return sidecar.metric("gcsidecar_leases", root="beating", state="live")

            eventually(lambda: sidecar.events("nothing-to-evict"), "one should go")
            for ahead_seconds in (HOUR, -HOUR):
                calendar.set(ahead_seconds)
                time.sleep(TTL * 1.4)
                assert live() == 2
                assert sidecar.metric("gcsidecar_root_parked_folders", root="parked") == 1
                assert (parked / "data").exists()
            assert names(cache) == {"same clock", "other clock"}
            assert not sidecar.events("lease-reaped")
            same.kill()

            def ends() -> bool:
                """Something happens in it now and then, so that it is looked at."""
                (cache / "same clock/.lease.more").touch()
                (cache / "same clock/.lease.more").unlink()
                time.sleep(0.2)
                return bool(sidecar.events("lease-reaped"))

            eventually(ends, "the lease of the dead ends")
            eventually(lambda: names(cache) == {"other clock"}, "its folder goes")
            assert [event["why"] for event in sidecar.events("lease-reaped")] == ["expired"]
            assert live() == 1


def expect_jump(sidecar: Sidecar, seconds: float) -> None:
    """It has noticed, in each root."""
    jumps = eventually(lambda: len(found := sidecar.events("clock-jumped")) == 3 and found, "it says so")
    assert [event["seconds"] for event in jumps] == pytest.approx([seconds] * 3, abs=2)


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
def test_a_jump_makes_nothing_old_or_idle_and_keeps_nothing_young(
    tmpfs: MakeFilesystem, calendar: Calendar, tmp_path: Path, jump: float
) -> None:
    """An age is what the clock that never jumps says, before the jump and after it."""
    young, idle, after = tmpfs(), tmpfs(), tmpfs()
    age_seconds, idle_seconds, after_seconds = 3.0, 4.0, 1.0
    roots = (
        root(young, "young", min_age=f"{age_seconds}s", max_folders=1),
        root(idle, "idle", max_idle=f"{idle_seconds}s"),
        root(after, "after", max_idle=f"{after_seconds}s"),
    )
    with Sidecar(tmp_path, config(*roots, **MEASURED_OFTEN), environ=calendar.environ) as sidecar:

        def evicted(root: str) -> list[dict[str, Any]]:
            return [event for event in sidecar.events("evicted") if event["root"] == root]

        began = time.monotonic()
        for above in (young, idle):
            for name in ("a", "b"):
                make_folder(above, name)
        eventually(lambda: sidecar.metric("gcsidecar_root_folders", root="young", state="young") == 2, "they are seen")
        calendar.set(jump)
        expect_jump(sidecar, jump)
        assert (names(young), names(idle)) == ({"a", "b"}, {"a", "b"})
        make_folder(after, ".new", used_at=calendar.time())
        (after / ".new").rename(after / "new")
        [event] = eventually(lambda: evicted("after"), "it goes once it is idle for too long, no hour later")
        assert after_seconds <= event["idle_seconds"] < 20
        expect_times_of_now(sidecar, calendar, jump)
        eventually(lambda: names(young) == {"b"}, "it is young no longer")
        assert time.monotonic() - began >= age_seconds
        if jump > 0:
            eventually(lambda: len(evicted("idle")) == 2, "they are idle for too long")
            assert time.monotonic() - began >= idle_seconds
        else:  # a last use in the future counts as now
            time.sleep(max(0.0, began + idle_seconds + 1 - time.monotonic()))
            assert names(idle) == {"a", "b"}
        assert all(event["idle_seconds"] < HOUR for event in sidecar.events("evicted"))


def expect_times_of_now(sidecar: Sidecar, calendar: Calendar, jump: float) -> None:
    """What it says of when it looked; the last reconcile may be of before the jump."""
    for what in ("filesystem_last_measurement", "root_last_reconcile"):
        before = calendar.time()
        at = sidecar.metric(f"gcsidecar_{what}_timestamp_seconds")
        assert at is not None
        assert before - 60 - max(0.0, jump) < at <= calendar.time() + max(0.0, -jump), what

"""What a jump of the calendar's clock makes of what a root knows of times."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.helpers import make_folder, opened, reconcile
from fakes import FakeClock
from gcsidecar.cache.jumps import JUMP_SECONDS
from gcsidecar.cache.spec import Seconds

HOUR = 3600.0
JUMPS = st.one_of(st.floats(JUMP_SECONDS + 0.1, 1e7), st.floats(-1e6, -JUMP_SECONDS - 0.1))


@settings(max_examples=50)
@given(moves=st.lists(st.tuples(st.floats(0, 1e4), JUMPS), min_size=1, max_size=5))
def test_an_age_is_what_the_clock_that_never_jumps_says_and_no_idle_time_is_longer(
    moves: list[tuple[float, float]],
) -> None:
    with tempfile.TemporaryDirectory() as made:
        path, clock = Path(made), FakeClock(time.time())
        with opened(path, clock=clock) as root:
            make_folder(path, "a", used_at=clock.now)
            reconcile(root)
            began = clock.mono
            folder = root.census.get("a")
            assert folder is not None
            for seconds, jump in moves:
                clock.advance(seconds)
                clock.now += jump
                assert root.look_at_clock() == pytest.approx(jump, abs=0.01)
                elapsed = clock.mono - began
                assert folder.arrived_at is not None
                assert clock.now - folder.arrived_at == pytest.approx(elapsed, abs=0.01)
                assert clock.now - folder.last_used() <= elapsed + 0.01
                assert root.jumps.trusted_now(clock.now) == pytest.approx(clock.now, abs=0.01)


def test_after_a_jump_forward_they_go_in_the_order_in_which_they_were_used(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    for number, name in enumerate("cab"):
        make_folder(tmp_path, name, used_at=clock.now - 100 + number)
    with opened(tmp_path, clock=clock) as root:
        clock.now += HOUR
        root.look_at_clock()
        assert [one.key for one in root.census.source.candidates(clock.now, ())] == ["c", "a", "b"]
        oldest = root.census.get("c")
        assert oldest is not None
        assert clock.now - oldest.last_used() == pytest.approx(100, abs=0.01)


def test_a_clock_that_is_slewed_does_not_jump(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a", used_at=clock.now)
    with opened(tmp_path, clock=clock) as root:
        version = root.census.version
        for _ in range(100):
            clock.advance(5.0)
            clock.now += 0.1
            assert root.look_at_clock() == 0
        assert root.census.version == version


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_what_was_young_is_young_for_as_long_as_it_would_have_been(tmp_path: Path, jump: float) -> None:
    clock = FakeClock(time.time())
    with opened(tmp_path, clock=clock, min_age=Seconds(120)) as root:
        make_folder(tmp_path, "a")
        reconcile(root)
        folder = root.census.get("a")
        assert folder is not None
        clock.advance(100)
        clock.now += jump
        root.look_at_clock()
        assert folder.candidate(clock.now).keep == "young"
        assert folder.candidate(clock.now).keep_until == pytest.approx(clock.now + 20, abs=0.01)
        root.census.grow_up()
        assert [state.value for state, one in root.tally().by_state.items() if one.folders] == ["young"]
        clock.advance(21)
        root.census.grow_up()
        assert folder.candidate(clock.now).keep is None
        assert [state.value for state, one in root.tally().by_state.items() if one.folders] == ["idle"]

"""Which returns are regrets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.helpers import make_folder, opened, reconcile
from fakes import NOW, FakeClock
from gcsidecar.cache import regrets
from gcsidecar.cache.regrets import Regret, Regrets
from gcsidecar.cache.spec import Seconds
from gcsidecar.gc.errors import DisposableInUseError

if TYPE_CHECKING:
    from pathlib import Path

    from gcsidecar.cache.root import Root

names = st.sampled_from("abc")
moments = st.integers(0, 100).map(float)
happenings = st.lists(st.tuples(st.sampled_from(["evicted", "returned", "put back"]), names, moments), max_size=30)


@given(happenings, st.sampled_from([0.0, 10.0, 50.0]))
def test_a_return_within_the_window_after_the_last_eviction_of_that_name_is_one_regret(
    happened: list[tuple[str, str, float]], window: float
) -> None:
    found = Regrets("jobs", window)
    last: dict[str, float] = {}
    for what, name, at in happened:
        if what == "evicted":
            found.evicted(name, at, 7)
            last[name] = at
        elif what == "put back":
            found.forget(name)
            last.pop(name, None)
        else:
            evicted_at = last.pop(name, None)
            expected = evicted_at is not None and window > 0 and at - evicted_at <= window
            regret = found.returned(name, at)
            assert (regret is not None) == expected
            if regret is not None and evicted_at is not None:
                assert regret == Regret("jobs", name, evicted_at, max(at, evicted_at), 7)


def test_the_names_that_are_remembered_are_bounded_and_the_oldest_go() -> None:
    found = Regrets("jobs", 1e9)
    for number in range(regrets.MOST_NAMES + 5):
        found.evicted(f"f{number}", NOW, 1)
    assert found.returned("f4", NOW) is None
    assert found.returned("f5", NOW) is not None
    found.remember((f"old{number}", NOW, 1) for number in range(100))
    assert found.returned("old0", NOW) is None
    assert found.returned("old99", NOW) is not None
    assert found.returned("f6", NOW) is not None


def test_what_was_evicted_since_the_start_counts_before_what_was_read_of_earlier() -> None:
    found = Regrets("jobs", 100)
    found.evicted("a", NOW, 2)
    found.remember([("a", NOW - 50, 1), ("b", NOW - 50, 1)])
    assert found.returned("a", NOW + 1) == Regret("jobs", "a", NOW, NOW + 1, 2)
    assert found.returned("b", NOW + 1) == Regret("jobs", "b", NOW - 50, NOW + 1, 1)


# On disk


def evict(root: Root, name: str) -> None:
    folder = root.census.get(name)
    assert folder is not None
    folder.dispose()


def test_a_folder_that_comes_back_is_a_regret_once_and_another_one_is_none(tmp_path: Path) -> None:
    told: list[Regret] = []
    clock = FakeClock(time.time())
    for name in "ab":
        make_folder(tmp_path, name)
    with opened(tmp_path, clock=clock, regretted=told.append) as root:
        evict(root, "a")
        clock.advance(5)
        for name in "ac":
            make_folder(tmp_path, name)
        reconcile(root)
        reconcile(root)
        assert told == [Regret("jobs", "a", clock.now - 5, clock.now, 0)]


@pytest.mark.parametrize("window", [Seconds(10), Seconds(0), None])
def test_after_the_window_or_without_one_a_return_is_none(tmp_path: Path, window: Seconds | None) -> None:
    told: list[Regret] = []
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a")
    with opened(tmp_path, clock=clock, regretted=told.append, regret_window=window) as root:
        evict(root, "a")
        clock.advance(11 if window else 0)
        make_folder(tmp_path, "a")
        reconcile(root)
        assert told == []


def test_a_name_that_is_taken_anew_while_its_folder_is_being_deleted_is_a_regret(tmp_path: Path) -> None:
    told: list[Regret] = []
    make_folder(tmp_path, "a")

    def make_anew(step: str) -> None:
        if step == "condemn":
            make_folder(tmp_path, "a")

    with opened(tmp_path, step=make_anew, regretted=told.append) as root:
        evict(root, "a")
        assert [regret.folder for regret in told] == ["a"]


def test_a_folder_that_was_put_back_is_none(tmp_path: Path) -> None:
    told: list[Regret] = []
    make_folder(tmp_path, "a")

    def take_a_lease(step: str) -> None:
        if step == "moved out":
            (tmp_path / "a.lease").touch()

    with opened(tmp_path, step=take_a_lease, regretted=told.append) as root:
        with pytest.raises(DisposableInUseError):
            evict(root, "a")
        reconcile(root)
        assert (tmp_path / "a/data").exists()
        assert told == []


def test_a_parked_folder_that_comes_back_under_a_name_evicted_meanwhile_is_none(tmp_path: Path) -> None:
    """The name of a parked folder was taken by another, which was evicted; then the first one is put back."""
    told: list[Regret] = []
    make_folder(tmp_path, "a")

    told_of = []

    def take_name_and_lease(step: str) -> None:
        told_of.append(step)
        if step == "moved out" and told_of.count(step) == 1:
            next((tmp_path / ".gcsidecar/evicting").glob("*/a%-*")).joinpath(".lease.job").touch()
            make_folder(tmp_path, "a")

    with opened(tmp_path, step=take_name_and_lease, regretted=told.append) as root:
        with pytest.raises(DisposableInUseError):
            evict(root, "a")
        (parked,) = (tmp_path / ".gcsidecar/evicting").glob("*/a%-*")
        reconcile(root)
        # The one that took its name goes, as it may where the slot could not be listed for a moment.
        parked.rename(tmp_path / "b")
        evict(root, "a")
        (tmp_path / "b").rename(parked)
        root.custody.recover()
        reconcile(root)
        assert (tmp_path / "a/.lease.job").exists()
        assert told == []

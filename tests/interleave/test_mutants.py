"""That the scheduler finds what it is for: with each check of the protocol left out, something leased is lost."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from gcsidecar.cache.eviction import protocol, recovery
from gcsidecar.cache.eviction.slots import Side
from gcsidecar.cache.use import liveness, reaping
from gcsidecar.client import folder as client_folder
from interleave.roles import (
    bound,
    careful,
    evictor,
    inside,
    persistent_evictor,
    replacer,
    simple,
    taker,
    trusting,
    watchful_evictor,
)
from interleave.stories import Story, explore

if TYPE_CHECKING:
    import pytest

    from gcsidecar.cache.eviction.protocol import Ground
    from gcsidecar.cache.root import Root
    from interleave.actor import Actor

MOST_SECONDS = 120.0


def found(story: Story) -> str:
    """What is wrong, first of all; the test fails where that is not found."""
    explored = explore(story, MOST_SECONDS)
    print(f"{explored}: {explored.violation and explored.violation.partition(chr(10))[0]}")
    assert explored.violation is not None
    return explored.violation.partition("\n")[0]


def test_without_the_second_look_a_lease_taken_meanwhile_is_lost() -> None:
    def ground_that_looks_once(root: Root) -> Ground:
        ground, looks = root.custody.ground(), []

        def reason(fd: int, name: str) -> str | None:
            looks.append(name)
            return ground.reason(fd, name) if len(looks) == 1 else None

        return dataclasses.replace(ground, reason=reason)

    def hasty(actor: Actor) -> None:
        evictor(actor, ground=ground_that_looks_once)

    assert "condemned" in found(Story((simple,), hasty))


def _nothing_is_checked(*_arguments: Any) -> None:
    """In place of a check that raises."""


def _all_is_well(*_arguments: Any) -> bool:
    return True


def test_without_the_look_at_what_was_moved_another_folder_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "is_named", _all_is_well)
    assert "condemned" in found(Story((careful, replacer)))


def test_without_the_lock_the_folder_of_our_client_is_away_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "lock_or_keep", _nothing_is_checked)
    assert "moved away" in found(Story((careful,)))


def test_without_the_lock_of_our_client_its_folder_is_away_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_folder.Folder, "lock", _all_is_well)
    assert "moved away" in found(Story((careful,)))


def test_without_its_looks_at_the_path_our_client_leases_what_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_folder.Folder, "is_in_place", lambda self: os.fstat(self.fd).st_nlink > 0)
    assert "condemned" in found(Story((careful,), evictor_kills=1))


def test_without_a_look_at_the_mark_our_client_leases_what_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_folder, "MARK", 0)
    assert "condemned" in found(Story((bound,), evictor_kills=1))


def test_without_the_lock_in_recovery_a_condemned_folder_is_deleted_under_its_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "lock_or_keep", _nothing_is_checked)
    assert "condemned" in found(Story((inside, taker), evictor_kills=1))


def test_without_a_look_whether_its_lease_is_there_a_simple_client_loses_it() -> None:
    assert "condemned" in found(Story((trusting,)))


def test_without_the_look_at_parked_names_the_new_folder_of_such_a_name_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overview = Side._overview
    monkeypatch.setattr(Side, "_overview", lambda side: (set(), overview(side)[1]))
    assert "out.simple" in found(Story((simple, taker), persistent_evictor))


def test_without_asking_for_its_lock_a_lease_is_reaped_under_its_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (liveness, reaping):
        monkeypatch.setattr(module, "is_held", lambda _fd: False)
    assert "are missing" in found(Story((careful,), watchful_evictor))

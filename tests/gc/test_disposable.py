"""References are counted right, whoever counts, and what is in use says so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from gcsidecar import DisposableInUseError, DisposableResource, DisposableSizeNotSupportedError, NotAcquiredError

if TYPE_CHECKING:
    from fakes import FakeClock


@pytest.fixture
def resource(clock: FakeClock) -> DisposableResource:
    return DisposableResource(clock=clock)


def test_it_can_be_disposed_of_once_each_user_has_released_it(resource: DisposableResource) -> None:
    resource.can_dispose()
    resource.acquire()
    resource.acquire()
    resource.release()
    with pytest.raises(DisposableInUseError, match="1 users have not released it") as caught:
        resource.can_dispose()
    assert caught.value.reason == "in-use"
    resource.release()
    resource.can_dispose()


def test_releasing_what_nobody_acquired_is_an_error_and_no_underflow(resource: DisposableResource) -> None:
    with pytest.raises(NotAcquiredError):
        resource.release()
    resource.acquire()
    with pytest.raises(DisposableInUseError):
        resource.can_dispose()
    resource.release()
    with pytest.raises(NotAcquiredError):
        resource.release()


def test_last_used_is_when_it_was_made_and_then_when_it_was_last_released(
    resource: DisposableResource, clock: FakeClock
) -> None:
    made = clock.time()
    clock.advance(5)
    resource.acquire()
    assert resource.last_used() == made
    clock.advance(5)
    resource.release()
    assert resource.last_used() == made + 10


def test_a_release_too_many_is_no_use(resource: DisposableResource, clock: FakeClock) -> None:
    made = clock.time()
    clock.advance(5)
    with pytest.raises(NotAcquiredError):
        resource.release()
    assert resource.last_used() == made


def _fail_within(resource: DisposableResource) -> None:
    with resource.acquired() as same:
        assert same is resource
        same.can_dispose()


def test_it_is_in_use_for_the_length_of_a_with_block_however_that_ends(resource: DisposableResource) -> None:
    with pytest.raises(DisposableInUseError):
        _fail_within(resource)
    resource.can_dispose()


def test_its_sizes_are_unknown_unless_a_subclass_knows_better(resource: DisposableResource) -> None:
    for size in (resource.disk_size, resource.memory_size):
        with pytest.raises(DisposableSizeNotSupportedError):
            size()


def test_no_reference_is_lost_among_threads(resource: DisposableResource) -> None:
    def use(_: int) -> None:
        for _ in range(500):
            resource.acquire()
        for _ in range(499):
            resource.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    for _ in range(8):
        with pytest.raises(DisposableInUseError):
            resource.can_dispose()
        resource.release()
    resource.can_dispose()


def test_the_clock_of_the_machine_is_used_unless_another_is_given() -> None:
    first, second = DisposableResource(), DisposableResource()
    assert 0 <= second.last_used() - first.last_used() < 60

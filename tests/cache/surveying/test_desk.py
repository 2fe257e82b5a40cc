"""Names and sizes on their way to and from who measures: in order, and each once."""

from __future__ import annotations

import select
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gcsidecar.cache.surveying.desk import Desk, Measured

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def desk() -> Iterator[Desk]:
    made = Desk(lambda: None)
    try:
        yield made
    finally:
        made.release()


def test_what_is_put_back_comes_first_again() -> None:
    with desk() as made:
        made.add("abcd")
        assert made.next(2) == ["a", "b"]
        made.put_back(["a", "b"])
        assert made.next(9) == ["a", "b", "c", "d"]
        assert made.next(1) == []


def test_a_name_waits_until_its_size_is_taken() -> None:
    with desk() as made:
        made.add("abc")
        made.find([Measured(name, None, 0.0) for name in made.next(1)])
        assert (made.waiting, len(made)) == (3, 2)
        assert made.forget() == ["b", "c"]
        assert made.waiting == 1
        assert [measured.name for measured in made.take()] == ["a"]
        assert (made.waiting, made.take()) == (0, [])


def test_the_bell_rings_until_it_is_heard() -> None:
    with desk() as made:
        ready = select.poll()
        ready.register(made.bell, select.POLLIN)
        made.hear()
        assert not ready.poll(0)
        made.add("a")
        made.add("b")
        assert ready.poll(0)
        made.hear()
        assert not ready.poll(0)

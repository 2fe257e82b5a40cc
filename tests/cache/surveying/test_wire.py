"""What goes to a process that measures, and back, arrives as it was sent, in whatever pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cache.trees import NOT_UTF8
from gcsidecar.cache.surveying.wire import ALIVE, Answers, decode_names, encode_answer, encode_names

if TYPE_CHECKING:
    from collections.abc import Iterator

_sizes = st.integers(0, 2**62)
_times = st.floats(-1e10, 1e10)
_obstacles = st.one_of(st.none(), st.just(""), st.just(NOT_UTF8), st.just("p" * 1010), st.just("p" * 70_000))
_totals = st.tuples(_sizes, _sizes, _sizes, _times, _times, _sizes, _obstacles, _sizes)
_answers = st.lists(st.tuples(st.floats(0, 1e10), st.one_of(st.none(), _totals)), max_size=6)
_names = st.lists(st.sampled_from(["a", NOT_UTF8, "two\nlines", "deep/er", "n" * 255]), max_size=20)


def pieces(data: bytes, length: int) -> Iterator[bytes]:
    for start in range(0, len(data), length):
        yield data[start : start + length]


@given(_answers, st.integers(1, 100))
def test_answers_arrive_in_whatever_pieces(answers: list[tuple[float, tuple[int, ...] | None]], length: int) -> None:
    sent = b"".join(ALIVE + encode_answer(at, totals) for at, totals in answers)  # type: ignore[arg-type]
    received, end = [], Answers()
    for piece in pieces(sent, length):
        received += list(end.decode(piece))
    assert received == [(at, totals and shortened(totals)) for at, totals in answers]


def shortened(totals: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(value[:65_535] if isinstance(value, str) else value for value in totals)


@given(_names, st.integers(1, 100))
def test_names_arrive_in_whatever_pieces(names: list[str], length: int) -> None:
    received, rest = [], b""
    for piece in pieces(encode_names(names), length):
        whole, rest = decode_names(rest + piece)
        received += whole
    assert (received, rest) == (names, b"")

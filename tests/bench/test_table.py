"""The arithmetic of the benchmarks and their table; what they measure is not timed here."""

from __future__ import annotations

import pytest

from bench.row import LeftOut, Peer, Row
from bench.samples import Samples, seconds, written
from bench.table import as_markdown, as_text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.5, "s", "1.5 s"),
        (0.0201, "s", "20.1 ms"),
        (3e-7, "s", "0.3 us"),
        (45 * 2**20, "B", "45 MiB"),
        (512, "B", "0.5 KiB"),
        (0.119, "%", "0.119 %"),
    ],
)
def test_a_value_is_written_in_the_unit_that_people_read(value: float, unit: str, text: str) -> None:
    assert written(value, unit) == text


@pytest.mark.parametrize(("share", "value"), [(0.99, 99.0), (1.0, 100.0), (0.5, 50.0), (0.001, 1.0)])
def test_a_quantile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert Samples(tuple(float(number) for number in range(100, 0, -1)), "s").quantile(share) == value


@pytest.mark.parametrize(("value", "goal", "met"), [(0.4, 0.4, True), (0.41, 0.4, False), (9.0, None, None)])
def test_a_goal_is_met_up_to_its_very_value(value: float, goal: float | None, met: object) -> None:
    assert Row("start", value, "s", "median", goal, "").met is met


def test_what_is_left_out_or_missed_stands_in_the_table() -> None:
    samples = seconds([0.5, 0.6, 0.7])
    missed = Row("start", samples.median, "s", "median", 0.4, samples.spread(), (Peer("bare", 0.3),), "as it is")
    page = as_markdown(["2 cores"], [missed, LeftOut("reaction", "no root")])
    assert "| start | 600 ms (median) | 500 ms to 700 ms, n=3 | bare: 300 ms, ratio 2 | <= 400 ms | NO |" in page
    assert "| reaction | left out | no root | - | - | - |" in page
    assert "- start: as it is." in page
    assert "no root" in as_text(LeftOut("reaction", "no root"))

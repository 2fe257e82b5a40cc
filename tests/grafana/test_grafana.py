"""What stands in for Grafana does as Grafana does, where that matters."""

from __future__ import annotations

import pytest

from grafana.asking import Line
from grafana.board import Panel, Place
from grafana.choice import Choice, Span
from grafana.tables import rows
from grafana.units import written

SPAN = Span(1000, 1300, step=15, scrape=15)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "bytes", "0 B"),
        (1536, "bytes", "1.5 KiB"),
        (24 << 20, "binBps", "24 MiB/s"),
        (0.834, "percentunit", "83.4%"),
        (0.0042, "s", "4.2 ms"),
        (59, "s", "59 s"),
        (90, "s", "1.5 min"),
        (86400 * 30, "s", "30 d"),
        (12.345, "suffix:/min", "12.3/min"),
        (12000, "short", "12 K"),
        (7, "none", "7"),
        (float("nan"), "short", "-"),
    ],
)
def test_a_value_is_written_in_its_unit(value: float, unit: str, text: str) -> None:
    assert written(value, unit) == text


def test_variables_are_filled_in_in_both_ways_of_writing_them() -> None:
    choice = Choice({"root": "(a|b)", "datasource": "prometheus"})
    assert choice.fill('x{root=~"$root"}[$__range] ${datasource}', SPAN) == 'x{root=~"(a|b)"}[300s] prometheus'


def test_a_variable_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        Choice({}).fill("$nothing", SPAN)


def test_a_rate_spans_four_scrapes_at_least() -> None:
    assert SPAN.values["__rate_interval"] == "60000ms"
    assert Span(0, 1, step=60, scrape=15).values["__rate_interval"] == "75000ms"


def test_a_table_merges_queries_by_their_labels_and_is_sorted() -> None:
    names = {"Value #A": "Size", "Value #B": "Idle"}
    order = {"folder": 0, "Value #A": 1, "Value #B": 2}
    panel = Panel(
        {
            "transformations": [
                {"id": "merge", "options": {}},
                {"id": "organize", "options": {"renameByName": names, "indexByName": order}},
            ],
            "options": {"sortBy": [{"displayName": "Size", "desc": True}]},
        }
    )
    found = [("A", "small", 1.0), ("A", "large", 9.0), ("B", "large", 5.0)]
    columns, table = rows(panel, [Line(ref, name, {"folder": name}, [0], [value]) for ref, name, value in found])
    assert columns == ["folder", "Size", "Idle"]
    assert table == [{"folder": "large", "Size": 9.0, "Idle": 5.0}, {"folder": "small", "Size": 1.0}]


def test_places_overlap_where_they_share_a_cell() -> None:
    assert Place(0, 0, 8, 8).overlaps(Place(7, 7, 8, 8))
    assert not Place(0, 0, 8, 8).overlaps(Place(8, 0, 8, 8))
    assert not Place(0, 0, 8, 8).overlaps(Place(0, 8, 8, 8))

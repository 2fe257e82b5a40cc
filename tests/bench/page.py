"""`docs/benchmarks.md`, made from what was measured; nothing in it is written by hand but what binds (`findings`)."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from bench import growth
from bench.findings import FINDINGS
from bench.row import LeftOut, Row
from bench.samples import written
from bench.table import as_markdown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.record import Record

_WIDTH = 120
_HEAD = """\
# Benchmarks

Made by `make bench`, which measures the real process, started as an operator starts it, from outside; what it measures
beside it is put to the same work in the same run, alternately, unless it is called known. A ratio is ours over theirs,
and a goal such as 0.9x is held against the first of them. `make bench FIGURES="scan rest"` measures some figures, and
leaves what is known of the others ([`benchmarks.json`](benchmarks.json)).
"""
# The chapters, and the figures of each.
CHAPTERS = {
    "As a cache grows": ("start", "scan", "restart", "memory", "plan", "leases"),
    "While it works": ("rest", "storm", "scrape"),
    "When something has to go": ("reaction", "flood", "cap", "decision", "eviction", "eviction-disk"),
    "Deletion alone": ("deletion", "deletion-disk"),
    "What a client pays": ("shell", "client"),
}


def page(records: Mapping[str, Record], pictures: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        records: All figures.
        pictures: Files beside the page, and what each shows.
    """
    chapters = _chapters(records)
    every = [row for rows in chapters.values() for row, _ in rows]
    lines = [_HEAD, *_machine(records)]
    for title, rows in chapters.items():
        lines += ["", f"## {title}", "", *as_markdown(rows)]
    for file, shows in pictures.items():
        lines += ["", f"![{shows}]({file})"]
    return "\n".join([*lines, *_missed(every), *_remarks(every)]).rstrip("\n") + "\n"


def _chapters(records: Mapping[str, Record]) -> dict[str, list[tuple[Row | LeftOut, str]]]:
    """The rows of each chapter, with what is to be said of their age."""
    newest = max(records.values(), key=lambda one: one.at, default=None)
    chapters: dict[str, list[tuple[Row | LeftOut, str]]] = {
        title: [(row, _age(records[name], newest)) for name in names if name in records for row in records[name].rows]
        for title, names in CHAPTERS.items()
    }
    points = (point for one in records.values() for point in one.points)
    chapters["Growth"] = [(row, "") for row in growth.rows(points)]
    return {title: rows for title, rows in chapters.items() if rows}


def _machine(records: Mapping[str, Record]) -> Iterator[str]:
    """What it was measured on: what several figures have in common is said once."""
    for about in dict.fromkeys(one.machine for one in records.values()):
        names = [name for name, one in records.items() if one.machine == about]
        if len(names) < len(records):
            yield from ("", f"{', '.join(names)}:", "")
        yield from (f"- {line}" for line in about)
    busiest = max((one.busy for one in records.values()), default=0.0)
    minutes = sum(one.minutes for one in records.values())
    yield f"- {minutes:.0f} minutes in all; before a figure was begun, at most {busiest:.2g} other tasks wanted to run"


def _age(one: Record, newest: Record | None) -> str:
    """Of which commit it is, where that isn't the one of the newest."""
    return "" if newest is None or one.commit == newest.commit else f"as of {one.at[:10]}, {one.commit}"


def _missed(rows: Sequence[Row | LeftOut]) -> Iterator[str]:
    missed = [row for row in rows if isinstance(row, Row) and row.met is False]
    yield from ("", "## Where a goal is missed", "")
    if not missed:
        yield "Nowhere."
    for row in missed:
        binds = FINDINGS.get(row.key, "What binds has not been looked at yet.")
        yield _wrapped(f"- {row.what}: {_by_how_much(row)}. {binds}")


def _by_how_much(row: Row) -> str:
    return f"{row.value / row.limit:.3g} times the goal" if row.limit else f"{written(row.value, row.unit)} and not 0"


def _remarks(rows: Sequence[Row | LeftOut]) -> Iterator[str]:
    """What is to be known of each; once, where it holds for several."""
    whats: dict[str, list[str]] = {}
    for row in rows:
        if isinstance(row, Row) and row.remark:
            whats.setdefault(row.remark, []).append(row.what)
    yield from ("", "## How it was measured", "")
    yield from (_wrapped(f"- {'; '.join(names)}: {remark}.") for remark, names in whats.items())


def _wrapped(item: str) -> str:
    return textwrap.fill(item, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)

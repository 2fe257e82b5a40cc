"""The rows as people read them: in a terminal, and as a page of the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.row import COLUMNS, LeftOut, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HEAD = """\
# Benchmarks

Made by `make bench`, which measures the real process, started as an operator starts it, and writes this page anew.
Figures in *beside it* come from the same run, taken alternately, unless they are called known; a ratio is ours over
theirs.
"""


def as_text(row: Row | LeftOut) -> str:
    """One row for a terminal, a line for each cell that has something to say."""
    if isinstance(row, LeftOut):
        return f"{row.what}\n  left out: {row.why}"
    what, *cells = row.cells()
    lines = [f"  {name + ':':<10} {cell}" for name, cell in zip(COLUMNS[1:], cells, strict=True) if cell != "-"]
    return "\n".join([what, *lines, *([f"  {'remark:':<10} {row.remark}"] if row.remark else [])])


def as_markdown(about: Sequence[str], rows: Sequence[Row | LeftOut]) -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(f"- {line}" for line in about), "", *_table(rows), *_notes(rows)]).rstrip("\n") + "\n"


def _table(rows: Sequence[Row | LeftOut]) -> Iterator[str]:
    yield _line(COLUMNS)
    yield _line(["---"] * len(COLUMNS))
    for row in rows:
        yield _line(row.cells() if isinstance(row, Row) else (row.what, "left out", row.why, "-", "-", "-"))


def _notes(rows: Sequence[Row | LeftOut]) -> Iterator[str]:
    remarks = [f"- {row.what}: {row.remark}." for row in rows if isinstance(row, Row) and row.remark]
    if remarks:
        yield from ("", "How it was measured:", "", *remarks)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

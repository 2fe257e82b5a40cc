"""The rows as people read them: in a terminal, and as a table in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.row import COLUMNS, LeftOut, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def as_text(row: Row | LeftOut) -> str:
    """One row for a terminal, a line for each cell that has something to say."""
    if isinstance(row, LeftOut):
        return f"{row.what}\n  left out: {row.why}"
    what, *cells = row.cells()
    lines = [f"  {name + ':':<10} {cell}" for name, cell in zip(COLUMNS[1:], cells, strict=True) if cell != "-"]
    return "\n".join([what, *lines, *([f"  {'remark:':<10} {row.remark}"] if row.remark else [])])


def as_markdown(rows: Sequence[tuple[Row | LeftOut, str]]) -> Iterator[str]:
    """The lines of a table; beside each row what is to be said of its age, or nothing."""
    yield _line(COLUMNS)
    yield _line(["---"] * len(COLUMNS))
    for row, age in rows:
        what, *cells = row.cells() if isinstance(row, Row) else (row.what, "left out", row.why, "-", "-", "-")
        yield _line((f"{what} ({age})" if age else what, *cells))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

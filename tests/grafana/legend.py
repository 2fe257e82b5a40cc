"""The legend of a panel: names with their colours, in as few rows as they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana import look
from grafana.canvas import Box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana.canvas import Canvas
    from grafana.look import Style

LEGEND_ROW, LEGEND_ROWS = 15, 2


def legend(canvas: Canvas, box: Box, entries: Sequence[tuple[str, Style]]) -> float:
    """Names with their colours at the bottom of a box, in few rows; how high it is."""
    rows: list[list[tuple[str, Style | None, float]]] = [[]]
    used = 0.0
    for place, (name, kind) in enumerate(entries):
        wide = canvas.width_of(name, 7) + 28
        if used + wide > box.w and rows[-1]:
            if len(rows) == LEGEND_ROWS:
                rows[-1][-1] = (f"and {len(entries) - place + 1} more", None, 0)
                break
            rows.append([])
            used = 0.0
        rows[-1].append((name, kind, wide))
        used += wide
    height = LEGEND_ROW * len(rows)
    for number, row in enumerate(rows):
        _legend_row(canvas, box, row, box.y + box.h - height + LEGEND_ROW * (number + 0.5))
    return height + 4


def _legend_row(canvas: Canvas, box: Box, row: Sequence[tuple[str, Style | None, float]], y: float) -> None:
    x = box.x
    for name, kind, wide in row:
        for begin, length in ((0, 5), (8, 5)) if kind and kind.dashed else ((0, 13),):
            canvas.bar(Box(x + begin, y - 1.5, length, 3), kind.colour if kind else look.FRAME)
        canvas.text(x + 17, y, name, fontsize=7, color=look.FAINT, room=box.x + box.w - x - 17)
        x += wide

"""What is drawn of now: numbers, dials, and bars below each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.patches import Wedge

from grafana import look
from grafana.canvas import Box
from grafana.units import written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana.asking import Line
    from grafana.board import Panel
    from grafana.canvas import Canvas

BAR = 24
DIAL_DEGREES = 240.0


def stat(canvas: Canvas, box: Box, panel: Panel, lines: Sequence[Line]) -> None:
    """A number for each series, beside each other."""
    if not lines:
        canvas.text(box.x + box.w / 2, box.y + box.h / 2, nothing(panel), fontsize=13, color=look.FAINT, ha="center")
        return
    wide = box.w / len(lines)
    for number, line in enumerate(lines):
        text, hue = said(panel, line.last)
        middle = box.x + wide * (number + 0.5)
        size = min(24.0, 24.0 * (wide - 12) / max(1.0, canvas.width_of(text, 24)), box.h / 2.4)
        canvas.text(middle, box.y + box.h / 2, text, fontsize=size, color=hue, ha="center")
        if len(lines) > 1:
            canvas.text(middle, box.y + box.h - 8, line.name, color=look.FAINT, ha="center")


def dials(canvas: Canvas, box: Box, panel: Panel, lines: Sequence[Line]) -> None:
    """A dial for each series, in as many rows as it takes."""
    per_row = max(1, min(len(lines), round(box.w / 110)))
    rows = -(-len(lines) // per_row)
    wide, high = box.w / per_row, box.h / rows
    for number, line in enumerate(lines):
        row, column = divmod(number, per_row)
        _dial(canvas, Box(box.x + column * wide, box.y + row * high, wide, high), panel, line)


def _dial(canvas: Canvas, box: Box, panel: Panel, line: Line) -> None:
    low, high = panel.defaults["min"], panel.defaults["max"]
    text, hue = said(panel, line.last)
    axes = canvas.axes(box.inner(bottom=14))
    axes.set_aspect("equal")
    axes.set(xlim=(-1.1, 1.1), ylim=(-0.75, 1.1), xticks=[], yticks=[])
    start = 90 + DIAL_DEGREES / 2

    def angle(value: float) -> float:
        return start - DIAL_DEGREES * _share(value, low, high)

    axes.add_patch(Wedge((0, 0), 0.9, angle(high), start, width=0.25, fc=look.GRID))
    axes.add_patch(Wedge((0, 0), 0.9, angle(line.last), start, width=0.25, fc=hue))
    steps = panel.defaults["thresholds"]["steps"]
    bounds = [low, *(step["value"] for step in steps[1:]), high]
    for step, begin, end in zip(steps, bounds, bounds[1:], strict=False):
        axes.add_patch(Wedge((0, 0), 1.0, angle(end), angle(begin), width=0.06, fc=look.colour(step["color"])))
    axes.text(0, -0.05, text, color=hue, fontsize=min(18, box.h / 8), ha="center", va="center")
    canvas.text(
        box.x + box.w / 2, box.y + box.h - 8, line.name, color=look.FAINT, ha="center", fontsize=7, room=box.w - 4
    )


def ranks(canvas: Canvas, box: Box, panel: Panel, lines: Sequence[Line]) -> None:
    """A bar for each series."""
    low, high = panel.defaults["min"], panel.defaults["max"]
    name_wide = max((canvas.width_of(line.name, 8) for line in lines), default=0) + 10
    value_wide = 52.0
    room = box.w - name_wide - value_wide
    gap = min(44.0, box.h / max(1, len(lines)))
    for number, line in enumerate(lines):
        text, hue = said(panel, line.last)
        y = box.y + gap * (number + 0.5)
        thick = min(BAR, gap * 0.7)
        share = _share(line.last, low, high)
        canvas.text(box.x + name_wide - 8, y, line.name, ha="right")
        canvas.bar(Box(box.x + name_wide, y - thick / 2, room, thick), look.GRID)
        canvas.bar(Box(box.x + name_wide, y - thick / 2, room * share, thick), hue)
        canvas.text(box.x + box.w - 4, y, text, color=hue, ha="right", fontsize=10)


def said(panel: Panel, value: float) -> tuple[str, str]:
    """The text and colour of a value."""
    defaults = panel.defaults
    word = look.mapped(value, defaults.get("mappings", []))
    if word is not None:
        return word
    text = written(value, defaults["unit"], defaults.get("decimals"))
    return text, look.by_threshold(value, defaults.get("thresholds"))


def _share(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def nothing(panel: Panel) -> str:
    """What stands in place of values where there are none."""
    return str(panel.defaults.get("noValue", "No data"))

"""A picture of a dashboard, as one sees it when one opens it: its grid, its panels, and what its queries gave."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from matplotlib.colors import to_rgb
from PIL import Image

from grafana import charts, figures, look, strips, tables
from grafana.asking import ask
from grafana.canvas import Box, Canvas

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.prometheus import Prometheus
    from grafana.asking import Line
    from grafana.board import Board, Panel
    from grafana.choice import Choice, Span

WIDTH, ROW, MARGIN, HEAD, TITLE = 1480, 31, 8, 46, 26
COLUMNS = 24
MOST_BYTES = 200 * 1024


def draw(board: Board, choice: Choice, span: Span, prometheus: Prometheus) -> Canvas:
    """The whole dashboard; headings whose panels are folded away stay folded."""
    tops = [Box(0, raw["gridPos"]["y"], 0, raw["gridPos"]["h"]) for raw in board.raw["panels"]]
    folded = _rises(board)
    rows = max(box.y + box.h - rise for box, rise in zip(tops, folded, strict=True))
    canvas = Canvas(WIDTH, int(HEAD + rows * ROW + MARGIN))
    _head(canvas, board, choice)
    for panel, rise in zip(board.shown(), folded, strict=True):
        its = span.coarser() if "interval" in panel.raw else span
        _panel(canvas, panel, rise, [] if panel.kind == "row" else ask(panel, choice, its, prometheus), its)
    return canvas


def save(canvas: Canvas, path: Path) -> int:
    """Write it with no more colours than it takes; its size in bytes."""
    file = io.BytesIO()
    canvas.figure.savefig(file, format="png", facecolor=look.PAGE)
    image = Image.open(file).convert("RGB")
    theme = [round(255 * part) for name in look.THEME for part in to_rgb(name)]
    found = image.quantize(256 - len(look.THEME), Image.Quantize.MAXCOVERAGE).getpalette() or []
    # The theme's own colours stay as they are; what is between them is made of the rest.
    palette = Image.new("P", (1, 1))
    palette.putpalette((theme + found)[: 3 * 256])
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
    return path.stat().st_size


def _rises(board: Board) -> list[int]:
    """By how many rows each panel goes up, since panels above it are folded away."""
    found, rise = [], 0
    for raw in board.raw["panels"]:
        found.append(rise)
        inner = [one["gridPos"] for one in raw.get("panels", [])]
        rise += max((at["y"] + at["h"] for at in inner), default=raw["gridPos"]["y"] + 1) - raw["gridPos"]["y"] - 1
    return found


def _head(canvas: Canvas, board: Board, choice: Choice) -> None:
    """Title and what is chosen."""
    canvas.text(MARGIN + 4, HEAD / 2, board.raw["title"], fontsize=12, weight="bold")
    x = MARGIN + 30 + canvas.width_of(board.raw["title"], 12, "bold")
    for variable in board.variables:
        if variable["type"] == "datasource" or variable.get("hide") == 2:
            continue
        chosen = "All" if variable.get("multi") else choice.values[variable["name"]]
        canvas.text(x, HEAD / 2, variable["label"], color=look.FAINT)
        x += canvas.width_of(variable["label"], 8) + 8
        wide = canvas.width_of(chosen, 8) + 20
        canvas.frame(Box(x, HEAD / 2 - 12, wide, 24))
        canvas.text(x + 10, HEAD / 2, chosen)
        x += wide + 16


def _panel(canvas: Canvas, panel: Panel, rise: int, lines: list[Line], span: Span) -> None:
    at, column = panel.place, (WIDTH - MARGIN) / COLUMNS
    box = Box(MARGIN + at.x * column, HEAD + (at.y - rise) * ROW, at.w * column - MARGIN, at.h * ROW - MARGIN)
    if panel.kind == "row":
        arrow = "▸" if panel.raw["collapsed"] else "▾"
        canvas.text(box.x + 4, box.y + box.h / 2 + 4, f"{arrow}  {panel.title}", fontsize=10, weight="bold")
        return
    canvas.frame(box)
    canvas.text(box.x + 9, box.y + TITLE / 2 + 1, panel.title, fontsize=9, weight="bold", room=box.w - 18)
    inside = box.inner(left=9, right=9, top=TITLE, bottom=6)
    if not lines and panel.kind != "stat":
        canvas.text(box.x + box.w / 2, box.y + box.h / 2, figures.nothing(panel), color=look.FAINT, ha="center")
        return
    _inside(canvas, inside, panel, lines, span)


def _inside(canvas: Canvas, box: Box, panel: Panel, lines: list[Line], span: Span) -> None:
    match panel.kind:
        case "timeseries":
            charts.series(canvas, box, panel, lines, span)
        case "heatmap":
            strips.heat_map(canvas, box, panel, lines, span)
        case "state-timeline":
            strips.states(canvas, box, panel, lines, span)
        case "stat":
            figures.stat(canvas, box, panel, lines)
        case "gauge":
            figures.dials(canvas, box, panel, lines)
        case "bargauge":
            figures.ranks(canvas, box, panel, lines)
        case "table":
            tables.draw(canvas, box, panel, lines)
        case other:
            raise AssertionError(f"nobody knows how to draw a {other}")

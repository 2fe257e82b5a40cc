"""A table: the answers of several queries side by side, a row for each combination of labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from grafana import look
from grafana.canvas import Box
from grafana.units import written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana.asking import Line
    from grafana.board import Panel
    from grafana.canvas import Canvas

ROW = 22.0
Row = dict[str, Any]


def rows(panel: Panel, lines: Sequence[Line]) -> tuple[list[str], list[Row]]:
    """The columns' names and the rows, as the panel's transformations make them: merged, named, and in order."""
    assert [one["id"] for one in panel.raw["transformations"]] == ["merge", "organize"]
    organize = panel.raw["transformations"][1]["options"]
    found: dict[tuple[tuple[str, str], ...], Row] = {}
    for line in lines:
        row = found.setdefault(tuple(sorted(line.labels.items())), dict(line.labels))
        row[f"Value #{line.ref}"] = line.last
    order = sorted(organize["indexByName"], key=organize["indexByName"].__getitem__)
    names = organize["renameByName"]
    merged = [{names.get(key, key): row[key] for key in order if key in row} for row in found.values()]
    return [names.get(key, key) for key in order], _sorted(panel, merged)


def _sorted(panel: Panel, merged: list[Row]) -> list[Row]:
    for by in reversed(panel.options["sortBy"]):
        name, down = by["displayName"], bool(by.get("desc"))
        merged.sort(key=lambda row: row.get(name, -math.inf if down else math.inf), reverse=down)
    return merged


def draw(canvas: Canvas, box: Box, panel: Panel, lines: Sequence[Line]) -> None:
    """As many rows as there is room for."""
    columns, found = rows(panel, lines)
    shares = [_share(column, found) for column in columns]
    edges, x = [], box.x
    for share in shares:
        edges.append((x, box.w * share / sum(shares)))
        x += box.w * share / sum(shares)
    for column, (left, wide) in zip(columns, edges, strict=True):
        canvas.text(left + 6, box.y + ROW / 2, column, color=look.LINK, weight="bold", room=wide - 10)
    shown = found[: int((box.h - ROW) / ROW)]
    for number, row in enumerate(shown):
        y = box.y + ROW * (number + 1)
        canvas.bar(Box(box.x, y, box.w, 0.8), look.GRID)
        for column, (left, wide) in zip(columns, edges, strict=True):
            if column in row:
                _cell(canvas, Box(left, y + 1, wide, ROW - 1), panel, column, row, found)


def _share(column: str, found: list[Row]) -> float:
    """How much of the width a column wants: words more than numbers."""
    words = [str(row[column]) for row in found if isinstance(row.get(column), str)]
    return max(9.0, len(column) * 0.8, *(0.9 * len(word) for word in words)) if words else max(8.0, len(column) * 0.8)


def _cell(canvas: Canvas, box: Box, panel: Panel, column: str, row: Row, found: list[Row]) -> None:
    value, props = row[column], look.overridden(panel, column)
    middle = box.y + box.h / 2
    if isinstance(value, str):
        hue = look.LINK if "links" in props else look.TEXT
        canvas.text(box.x + 6, middle, value, room=box.w - 10, color=hue)
        return
    text, hue = _said(value, props)
    kind = props.get("custom.cellOptions", {}).get("type")
    if kind == "gauge":
        most = max(other.get(column, 0.0) for other in found) or 1.0
        canvas.bar(Box(box.x + 4, box.y + 4, (box.w - 74) * value / most, box.h - 8), look.NAMED["green"])
        canvas.text(box.x + box.w - 6, middle, text, ha="right")
        return
    if kind == "color-background" and hue != look.FRAME:
        canvas.bar(box.inner(left=1, right=1), hue)
        canvas.text(box.x + 6, middle, text, color=look.PAGE)
        return
    canvas.text(box.x + 6, middle, text)


def _said(value: float, props: dict[str, Any]) -> tuple[str, str]:
    thresholds = props.get("thresholds")
    hue = look.by_threshold(value, thresholds) if thresholds else look.FRAME
    word = look.mapped(value, props.get("mappings", []))
    return (word[0] if word else written(value, props["unit"], props.get("decimals"))), hue

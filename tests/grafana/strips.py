"""What is drawn over time in rows: heatmaps and states."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm

from grafana import look
from grafana.axis import LEFT, above, on, time_axis
from grafana.legend import legend
from grafana.look import Style
from grafana.units import written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana.asking import Line
    from grafana.board import Panel
    from grafana.canvas import Box, Canvas
    from grafana.choice import Span

ORANGES = LinearSegmentedColormap.from_list("oranges", [look.FRAME, "#5a2b0c", "#c4570c", "#ffb357", "#fff1d6"])


def heat_map(canvas: Canvas, box: Box, panel: Panel, lines: Sequence[Line], span: Span) -> None:
    """How many in each bucket; the buckets count all below them, so each is less what is in the one before."""
    buckets = sorted(lines, key=lambda line: float(line.labels["le"]))
    times = np.array(span.times)
    counts = np.diff(np.array([np.nan_to_num(on(times, line, span)) for line in buckets]), axis=0, prepend=0)
    axes = canvas.axes(above(box, 0, LEFT))
    edges = np.append(times, times[-1] + span.step)
    norm = PowerNorm(0.5, vmin=0, vmax=max(1e-9, float(counts.max())))
    axes.pcolormesh(edges, np.arange(len(buckets) + 1), np.clip(counts, 0, None), cmap=ORANGES, norm=norm)
    unit = panel.options["yAxis"]["unit"]
    names = [_bucket(float(line.labels["le"]), unit) for line in buckets]
    axes.set_yticks(np.arange(len(buckets)) + 0.5, names)
    time_axis(axes, span)


def states(canvas: Canvas, box: Box, panel: Panel, lines: Sequence[Line], span: Span) -> None:
    """A strip for each series, with a word and a colour for each state."""
    rows = sorted(lines, key=lambda line: line.name)
    names = [canvas.cut(line.name, box.w / 2.5, 7) for line in rows]
    wide = max(canvas.width_of(name, 7) for name in names) + 16
    entries = {
        word: Style(hue, dashed=False, stacked=False)
        for line in rows
        for value in line.values
        for word, hue in [_word(value, panel)]
    }
    axes = canvas.axes(above(box, legend(canvas, box, list(entries.items())), wide))
    times = np.array(span.times)
    for number, line in enumerate(rows):
        for begin, end, value in _runs(times, on(times, line, span)):
            _, hue = _word(value, panel)
            axes.barh(number, end - begin + span.step, left=begin, height=0.8, color=hue, alpha=0.75, lw=0)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    time_axis(axes, span)


def _word(value: float, panel: Panel) -> tuple[str, str]:
    return look.mapped(value, panel.defaults.get("mappings", [])) or (f"{value:g}", look.FAINT)


def _bucket(bound: float, unit: str) -> str:
    return "more" if math.isinf(bound) else written(bound, unit)


def _runs(times: Any, values: Any) -> list[tuple[float, float, float]]:
    """Stretches in which a value stays the same."""
    found: list[tuple[float, float, float]] = []
    for time, value in zip(times, values, strict=True):
        if math.isnan(value):
            continue
        if found and found[-1][2] == value and time - found[-1][1] < 2 * (times[1] - times[0]):
            found[-1] = (found[-1][0], time, value)
        else:
            found.append((time, time, value))
    return found

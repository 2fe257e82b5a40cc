"""The axes of a panel: time below, values at the left, and series laid on the times that are shown."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from grafana import look
from grafana.units import TIMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from grafana.asking import Line
    from grafana.canvas import Box
    from grafana.choice import Span

HEIGHT, LABEL, LEFT = 18, 70, 62


class Round(MaxNLocator):
    """Places few marks at round values: round in the unit that they are written in."""

    def __init__(self, unit: str) -> None:
        super().__init__(4)
        self._unit = unit

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """The marks between two values."""
        scale = 1.0
        if self._unit in {"bytes", "binBps"}:
            scale = 1024.0 ** int(math.log(max(vmax, 1), 1024))
        if self._unit == "s":
            scale = next((size for size, _ in reversed(TIMES) if vmax >= size), 1)
        marks: Any = super().tick_values(vmin / scale, vmax / scale)
        return scale * marks


def above(box: Box, legend_height: float, left: float) -> Box:
    return box.inner(left=left, right=6, top=4, bottom=HEIGHT + legend_height)


def on(times: Any, line: Line, span: Span) -> Any:
    """The values of a series at each time, none where it has none."""
    values = np.full(len(times), np.nan)
    for time, value in zip(line.times, line.values, strict=True):
        values[round((time - span.start) / span.step)] = value if math.isfinite(value) else np.nan
    return values


def time_axis(axes: Axes, span: Span) -> None:
    axes.set_axisbelow(True)
    axes.set_xlim(span.start, span.end)
    room = axes.bbox.width / LABEL
    step = next(step for step in (5, 10, 15, 30, 60, 120, 300, 600, 3600) if (span.end - span.start) / step <= room)
    first = math.ceil(span.start / step) * step
    ticks = np.arange(first, span.end - (span.end - span.start) / 20, step)
    pattern = "%H:%M" if step >= 60 else "%H:%M:%S"
    axes.set_xticks(ticks, [datetime.fromtimestamp(tick, UTC).strftime(pattern) for tick in ticks])
    axes.grid(axis="x", color=look.GRID, lw=0.6)

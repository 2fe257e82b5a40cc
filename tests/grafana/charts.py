"""What is drawn over time as lines, areas, or bars on top of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter

from grafana import look
from grafana.axis import LEFT, Round, above, on, time_axis
from grafana.legend import legend
from grafana.units import written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from grafana.asking import Line
    from grafana.board import Panel
    from grafana.canvas import Box, Canvas
    from grafana.choice import Span
    from grafana.look import Style


def series(canvas: Canvas, box: Box, panel: Panel, lines: Sequence[Line], span: Span) -> None:
    """Lines, areas or bars, with a legend below."""
    kinds = look.styles(panel, lines)
    entries = [(line.name, kind) for line, kind in zip(lines, kinds, strict=True)]
    axes = canvas.axes(above(box, legend(canvas, box, entries), LEFT))
    times = np.array(span.times)
    below = np.zeros(len(times))
    for line, kind in zip(lines, kinds, strict=True):
        values = on(times, line, span)
        if kind.stacked:
            below = _stack(axes, times, below, np.nan_to_num(values), kind, panel, span)
        else:
            _line(axes, times, values, kind, panel)
    _dress(axes, panel, span)


def _stack(axes: Axes, times: Any, below: Any, values: Any, kind: Style, panel: Panel, span: Span) -> Any:
    """Draw on top of what is there; the new top."""
    top = below + values
    if panel.custom.get("drawStyle") == "bars":
        axes.bar(times, values, bottom=below, width=span.step * 0.85, color=kind.colour, alpha=0.85, lw=0)
    else:
        opacity = panel.custom.get("fillOpacity", 0) / 100
        axes.fill_between(times, below, top, color=kind.colour, alpha=opacity, lw=0, step=None)
        axes.plot(times, np.where(values > 0, top, np.nan), color=kind.colour, lw=0.8)
    return top


def _line(axes: Axes, times: Any, values: Any, kind: Style, panel: Panel) -> None:
    if kind.dashed:
        axes.plot(times, values, color=kind.colour, lw=1, dashes=(6, 4))
        return
    axes.plot(times, values, color=kind.colour, lw=1.4)
    axes.fill_between(times, 0, values, color=kind.colour, alpha=panel.custom.get("fillOpacity", 0) / 100, lw=0)


def _dress(axes: Axes, panel: Panel, span: Span) -> None:
    """The axes' scale, marks and grid."""
    defaults, unit = panel.defaults, panel.defaults["unit"]
    scale = panel.custom.get("scaleDistribution", {})
    if scale.get("type") == "symlog":
        axes.set_yscale("symlog", linthresh=scale["linearThreshold"])
        axes.set_yticks([0, 1, 60, 3600, 86400])
    else:
        axes.yaxis.set_major_locator(Round(unit))
    bottom, top = axes.get_ylim()
    if panel.custom.get("thresholdsStyle", {}).get("mode", "off") != "off":
        for step in defaults["thresholds"]["steps"]:
            if step["value"] is not None:
                hue = "red" if step["color"] == "transparent" else step["color"]
                axes.axhline(step["value"], color=look.colour(hue), lw=1, dashes=(6, 4))
                top = max(top, step["value"] * 1.08)
    # Where all is 0, a scale up to something.
    least = 1e-3 if unit in {"percentunit", "s"} else 1
    axes.set_ylim(defaults.get("min", bottom), defaults.get("max", max(top, least)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, unit)))
    axes.minorticks_off()
    axes.grid(axis="y", color=look.GRID, lw=0.6)
    time_axis(axes, span)

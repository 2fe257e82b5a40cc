"""The plots of cost against size, drawn from points that were measured; goals are marked where they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from bench import leases, memory, plan, rest, restart, scan, scrape
from bench.samples import written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.row import Point

# Told apart by those, too, who don't see all colours; ours are blue and green, what stands beside them isn't.
_OURS = ("#0072b2", "#009e73", "#56b4e9")
_THEIRS = ("#d55e00", "#8a8a8a", "#cc79a7")
_GOALS = {"goal": "#000000", "goal, one core": "#b08800"}
_TEXT = "#24292f"
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": "#8c959f",
    "axes.labelcolor": _TEXT,
    "axes.titlecolor": _TEXT,
    "axes.titlesize": 11,
    "font.size": 9,
    "svg.hashsalt": "gcsidecar",  # the same points give the same file
    "text.color": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
}


@dataclass(frozen=True, slots=True)
class _Panel:
    """One plot: what its axes are, and the goals in it, by size."""

    name: str
    title: str
    across: str
    unit: str
    goals: Mapping[int, float | None]


_BY_FILES = (_Panel(scan.PLOT, "First scan, warm: to all sizes, less a start on nothing", "files", "s", {}),)
_BY_FOLDERS = (
    _Panel(restart.PLOT, "Restart with the index", "folders", "s", restart.GOALS_SECONDS),
    _Panel(memory.PLOT, "Memory (RSS, children included)", "folders", "B", memory.GOALS_BYTES),
    _Panel(rest.PLOT, "Processor time at rest, of one core", "folders", "%", rest.GOALS_PERCENT),
    _Panel(plan.PLOT, "A plan", "folders", "s", {plan.GOAL_FOLDERS: plan.GOAL_SECONDS}),
    _Panel(scrape.PLOT, "A scrape of the default series", "folders", "s", {memory.SMALLEST: scrape.GOAL_SECONDS}),
    _Panel(leases.PLOT, "Lease file made to gauge changed", "folders", "s", {leases.GOAL_FOLDERS: leases.GOAL_SECONDS}),
)
_PICTURES = {
    "benchmarks-files.svg": ("The first scan by number of files, beside `du -s`", _BY_FILES, (1, 1)),
    "benchmarks-folders.svg": ("Cost by number of folders, with goals", _BY_FOLDERS, (3, 2)),
}


def draw(points: Sequence[Point], directory: Path) -> dict[str, str]:
    """Draw all pictures for which there are points; gives their files' names, and what each shows."""
    drawn = {}
    for file, (shows, panels, (high, wide)) in _PICTURES.items():
        if any(point.plot == panel.name for point in points for panel in panels):
            with mpl.rc_context(_STYLE):
                _save(_picture(points, panels, high, wide), directory / file)
            drawn[file] = shows
    return drawn


def _picture(points: Sequence[Point], panels: Sequence[_Panel], high: int, wide: int) -> Figure:
    figure = Figure(figsize=(5.4 * wide if wide > 1 else 8.0, 3.7 * high if high > 1 else 4.6), layout="constrained")
    for number, panel in enumerate(panels, start=1):
        _draw(figure.add_subplot(high, wide, number), panel, [point for point in points if point.plot == panel.name])
    return figure


def _draw(axes: Axes, panel: _Panel, points: Sequence[Point]) -> None:
    for line, colour, marker in _lines(points):
        known = sorted((point.size, point.value) for point in points if point.line == line)
        sizes, values = zip(*known, strict=True)
        axes.plot(sizes, values, color=colour, marker=marker, markersize=5, linewidth=1.8, label=line.replace("`", ""))
    for name, goals in (_scan_goals(points) if panel.name == scan.PLOT else {"goal": panel.goals}).items():
        marked = [(size, goal) for size, goal in goals.items() if goal is not None]
        if marked:
            sizes, values = zip(*marked, strict=True)
            axes.plot(sizes, values, "_", color=_GOALS[name], markersize=18, markeredgewidth=2, label=name)
    axes.set_title(panel.title, loc="left")
    axes.set_xlabel(panel.across)
    _scale(axes, panel.unit)


def _scan_goals(points: Sequence[Point]) -> dict[str, dict[int, float]]:
    """What the first scan may take: a share of what `du` takes on as many cores."""
    goals: dict[str, dict[int, float]] = {"goal": {}, "goal, one core": {}}
    for point in points:
        if point.line.startswith("`du") and point.size == scan.FILES:
            one_core = "one core" in point.line
            ratio = scan.GOAL_RATIO_PINNED if one_core else scan.GOAL_RATIO
            goals["goal, one core" if one_core else "goal"][point.size] = ratio * point.value
    return goals


def _lines(points: Sequence[Point]) -> Iterator[tuple[str, str, str]]:
    """Each line, with its colour and marker."""
    names = list(dict.fromkeys(point.line for point in points))
    ours = [name for name in names if name.startswith("gcsidecar")]
    theirs = [name for name in names if name not in ours]
    yield from ((name, _OURS[number % len(_OURS)], "o") for number, name in enumerate(ours))
    yield from ((name, _THEIRS[number % len(_THEIRS)], "s") for number, name in enumerate(theirs))


def _scale(axes: Axes, unit: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(y=0.15)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    axes.yaxis.set_major_locator(LogLocator(base=2) if unit == "B" else LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, unit)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(visible=True, which="major", color="#d0d7de", linewidth=0.8)
    # Below: among the lines it would hide a goal.
    axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def _save(figure: Figure, file: Path) -> None:
    figure.savefig(file, format="svg", metadata={"Date": None})

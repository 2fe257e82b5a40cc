"""The sheet that a dashboard is drawn on: pixels from the top left, frames, texts, and axes where they are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from grafana import look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 100


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in pixels from the top left."""

    x: float
    y: float
    w: float
    h: float

    def inner(self, *, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> Box:
        """What is left of it within margins."""
        return Box(self.x + left, self.y + top, self.w - left - right, self.h - top - bottom)


class Canvas:
    """One sheet.

    Args:
        width: In pixels.
        height: In pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=look.PAGE)
        self._agg = FigureCanvasAgg(self.figure)

    def frame(self, box: Box, fill: str = look.FRAME, edge: str = look.EDGE) -> None:
        """A panel's background."""
        at = (self._x(box.x), self._y(box.y + box.h))
        size = (box.w / self.width, box.h / self.height)
        style = f"round,pad=0,rounding_size={2 / self.width}"
        self.figure.add_artist(FancyBboxPatch(at, *size, boxstyle=style, fc=fill, ec=edge, lw=0.7, zorder=-2))

    def bar(self, box: Box, fill: str) -> None:
        """A plain rectangle."""
        at = (self._x(box.x), self._y(box.y + box.h))
        size = (box.w / self.width, box.h / self.height)
        self.figure.add_artist(FancyBboxPatch(at, *size, boxstyle="square,pad=0", fc=fill, ec="none", zorder=-1))

    def text(self, x: float, y: float, text: str, **special: Any) -> None:
        """Words, their anchor in pixels; longer ones than `room` pixels are cut."""
        room: float | None = special.pop("room", None)
        how: dict[str, Any] = {
            "color": look.TEXT,
            "fontsize": 8,
            "va": "center",
            "ha": "left",
            "weight": "normal",
        } | special
        if room is not None:
            text = self.cut(text, room, how["fontsize"], how["weight"])
        words = self.figure.text(self._x(x), self._y(y), text, parse_math=False)
        words.update(how)

    def width_of(self, text: str, fontsize: float, weight: str = "normal") -> float:
        """How many pixels wide words are."""
        probe = self.figure.text(0, 0, text, fontsize=fontsize, weight=weight, parse_math=False)
        # Matplotlib's types say nothing of a canvas' renderer.
        renderer: Any = self._agg.get_renderer()  # type: ignore[no-untyped-call]
        width = float(probe.get_window_extent(renderer).width)
        probe.remove()
        return width

    def axes(self, box: Box) -> Axes:
        """Axes that fill a box."""
        axes = self.figure.add_axes(
            (self._x(box.x), self._y(box.y + box.h), box.w / self.width, box.h / self.height), facecolor="none"
        )
        axes.tick_params(colors=look.FAINT, labelsize=7, length=0, pad=3)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes

    def cut(self, text: str, room: float, fontsize: float, weight: str = "normal") -> str:
        """As much of some words as fits."""
        fits = text
        while len(fits) > 1 and self.width_of(fits, fontsize, weight) > room:
            fits = f"{fits.removesuffix('…')[:-1].rstrip()}…"
        return fits

    def _x(self, x: float) -> float:
        return x / self.width

    def _y(self, y: float) -> float:
        return 1 - y / self.height

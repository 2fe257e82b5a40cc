"""The colours of Grafana's dark theme, and which of them a value or a series has."""

from __future__ import annotations

import colorsys
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.colors import to_rgb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana.asking import Line
    from grafana.board import Panel

PAGE, FRAME, EDGE, GRID = "#111217", "#181b1f", "#2a2d33", "#2b2f36"
TEXT, FAINT, LINK = "#d2d5da", "#8e9199", "#6e9fff"
NAMED = {
    "green": "#73bf69",
    "yellow": "#fade2a",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
    "light-blue": "#8ab8ff",
    "purple": "#b877d9",
    "transparent": FRAME,
}
PALETTE = (
    *("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#ca95e5"),
    *("#37872d", "#fade2a", "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62", "#584477"),
)
THEME = (PAGE, FRAME, EDGE, GRID, TEXT, FAINT, LINK, *NAMED.values(), *PALETTE)


@dataclass(frozen=True, slots=True)
class Style:
    """How one series is drawn.

    Attributes:
        colour: As matplotlib takes it.
        dashed: Whether it is a mark to compare with.
        stacked: Whether it lies on top of the ones before.
    """

    colour: str
    dashed: bool
    stacked: bool


def colour(name: str) -> str:
    """A colour that Grafana has a name for, or one that is a number already."""
    return NAMED.get(name, name)


def by_threshold(value: float, thresholds: dict[str, Any] | None) -> str:
    """The colour of the highest threshold that a value reaches."""
    found = NAMED["green"]
    for step in (thresholds or {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            found = colour(step["color"])
    return found


def mapped(value: float, mappings: Sequence[dict[str, Any]]) -> tuple[str, str] | None:
    """The word and colour that stand for a value, where there are such."""
    for mapping in mappings:
        options = mapping["options"]
        if mapping["type"] == "value" and f"{value:g}" in options:
            result = options[f"{value:g}"]
        elif mapping["type"] == "range" and value >= options["from"]:
            result = options["result"]
        else:
            continue
        return result["text"], colour(result["color"])
    return None


def styles(panel: Panel, lines: Sequence[Line]) -> list[Style]:
    """How each series of a panel is drawn."""
    stacks = panel.custom.get("stacking", {}).get("mode") == "normal"
    found, shades = [], 0
    for index, line in enumerate(lines):
        props = overridden(panel, line.name)
        own = props.get("color", {})
        if own.get("mode") == "shades":
            fixed: str = _shade(colour(own["fixedColor"]), shades)
            shades += 1
        else:
            fixed = colour(own["fixedColor"]) if own else PALETTE[index % len(PALETTE)]
        stacked = props.get("custom.stacking", {}).get("mode", "normal") == "normal" and stacks
        found.append(Style(fixed, "custom.lineStyle" in props, stacked))
    return found


def overridden(panel: Panel, name: str) -> dict[str, Any]:
    """What is special about one field; what is said later counts."""
    props: dict[str, Any] = {}
    for matcher, special in panel.overrides:
        wanted = matcher["options"]
        if (matcher["id"] == "byName" and wanted == name) or (matcher["id"] == "byRegexp" and re.match(wanted, name)):
            props |= special
    return props


def _shade(base: str, number: int) -> str:
    """The same colour, brighter or darker."""
    hue, light, full = colorsys.rgb_to_hls(*to_rgb(base))
    changed = min(0.85, max(0.25, light + (0, -0.15, 0.12, -0.25, 0.2)[number % 5]))
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, changed, full))
    return f"#{red:02x}{green:02x}{blue:02x}"

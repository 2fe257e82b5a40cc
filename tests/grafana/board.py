"""A dashboard as its JSON has it: its panels, their queries, its variables. It reads and changes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parent.parent.parent
NAMES = ("gcsidecar-overview", "gcsidecar-cache", "gcsidecar-health")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a panel is in the grid, in columns and rows."""

    x: int
    y: int
    w: int
    h: int

    def overlaps(self, other: Place) -> bool:
        """Whether both cover some cell."""
        return (
            self.x < other.x + other.w
            and other.x < self.x + self.w
            and self.y < other.y + other.h
            and other.y < self.y + self.h
        )


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel.

    Attributes:
        ref: Its letter.
        expr: In PromQL, with variables.
        legend: The template of its series' names.
        instant: Whether it asks for now only.
        shape: time_series, table or heatmap.
    """

    ref: str
    expr: str
    legend: str
    instant: bool
    shape: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel, headings included.

    Attributes:
        raw: Its JSON.
    """

    raw: dict[str, Any]

    @property
    def title(self) -> str:
        """Its title."""
        return str(self.raw["title"])

    @property
    def kind(self) -> str:
        """Its type, as Grafana calls it."""
        return str(self.raw["type"])

    @property
    def place(self) -> Place:
        """Where it is."""
        at = self.raw["gridPos"]
        return Place(at["x"], at["y"], at["w"], at["h"])

    @property
    def targets(self) -> list[Target]:
        """Its queries."""
        return [
            Target(one["refId"], one["expr"], one["legendFormat"], bool(one.get("instant")), one["format"])
            for one in self.raw.get("targets", [])
        ]

    @property
    def options(self) -> dict[str, Any]:
        """How its kind of panel is set up."""
        return dict(self.raw.get("options", {}))

    @property
    def defaults(self) -> dict[str, Any]:
        """How its values look."""
        return dict(self.raw["fieldConfig"]["defaults"])

    @property
    def custom(self) -> dict[str, Any]:
        """How its kind of panel draws them."""
        return dict(self.defaults.get("custom", {}))

    @property
    def overrides(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Which fields look otherwise, and how: matchers with properties."""
        return [
            (one["matcher"], {prop["id"]: prop.get("value") for prop in one["properties"]})
            for one in self.raw["fieldConfig"]["overrides"]
        ]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard.

    Attributes:
        raw: Its JSON.
    """

    raw: dict[str, Any]

    @classmethod
    def read(cls, name: str) -> Board:
        """The dashboard as it is committed."""
        return cls(json.loads((PROJECT / "dashboards" / f"{name}.json").read_text()))

    @property
    def variables(self) -> list[dict[str, Any]]:
        """Its variables, in their order."""
        return list(self.raw["templating"]["list"])

    @property
    def notes(self) -> list[dict[str, Any]]:
        """The queries whose results are noted on the time axis."""
        return list(self.raw["annotations"]["list"])

    def all(self) -> Iterator[Panel]:
        """All panels and headings, folded ones too."""
        for raw in self.raw["panels"]:
            yield Panel(raw)
            yield from (Panel(inner) for inner in raw.get("panels", []))

    def shown(self) -> list[Panel]:
        """What one sees at first: headings, and panels that aren't folded away."""
        return [Panel(raw) for raw in self.raw["panels"]]

    def panels(self) -> list[Panel]:
        """All that isn't a heading."""
        return [panel for panel in self.all() if panel.kind != "row"]

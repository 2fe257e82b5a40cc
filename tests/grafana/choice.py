"""What is chosen at the top of a dashboard, and how it is filled into queries, by Grafana's rules."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2e.prometheus import Prometheus
    from grafana.board import Board

LABEL_VALUES = re.compile(r"label_values\((?P<selector>.*), *(?P<label>\w+)\)")
VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
SPECIAL = re.compile(r"[\\^$*+?.()|\[\]{}]")


@dataclass(frozen=True, slots=True)
class Span:
    """The time range that is shown.

    Attributes:
        start: POSIX seconds.
        end: POSIX seconds.
        step: Between two values of a line, in seconds.
        scrape: Between two scrapes, in seconds.
    """

    start: float
    end: float
    step: float
    scrape: float = 1.0

    def coarser(self) -> Span:
        """With longer steps, for panels that show what happened in each."""
        return replace(self, step=3 * self.step)

    @property
    def times(self) -> list[float]:
        """Of the values of a line."""
        return [self.start + number * self.step for number in range(int((self.end - self.start) / self.step) + 1)]

    @property
    def values(self) -> dict[str, str]:
        """The variables that Grafana makes of it."""
        rate = max(self.step + self.scrape, 4 * self.scrape)
        return {
            "__interval": f"{self.step * 1000:.0f}ms",
            "__rate_interval": f"{rate * 1000:.0f}ms",
            "__range": f"{self.end - self.start:.0f}s",
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """The value of each variable, ready to be filled in."""

    values: Mapping[str, str]

    def fill(self, text: str, span: Span) -> str:
        """A query without variables; it is an error where one has no value."""
        known = {**self.values, **span.values}
        return VARIABLE.sub(lambda found: known[found[1] or found[2]], text)


def choose(board: Board, prometheus: Prometheus, span: Span, wanted: Mapping[str, str] | None = None) -> Choice:
    """The first value of each variable, or all where it may be; or the one that is wanted.

    Each variable is asked for with those before it filled in, as Grafana does.
    """
    values: dict[str, str] = {}
    for variable in board.variables:
        name = variable["name"]
        if variable["type"] == "datasource":
            values[name] = "prometheus"
            continue
        found = options(variable, prometheus, Choice(values), span)
        assert found, f"the variable {name} has nothing to choose from"
        values[name] = _chosen(variable, found, (wanted or {}).get(name))
    return Choice(values)


def options(variable: dict[str, Any], prometheus: Prometheus, so_far: Choice, span: Span) -> list[str]:
    """What a variable has to choose from."""
    parts = LABEL_VALUES.fullmatch(so_far.fill(variable["query"], span))
    assert parts is not None, variable["query"]
    series = {"match[]": parts["selector"], "start": f"{span.start:.0f}", "end": f"{span.end + 1:.0f}"}
    found: list[str] = prometheus.ask(f"/api/v1/label/{parts['label']}/values", series)
    return found


def _chosen(variable: dict[str, Any], found: list[str], wanted: str | None) -> str:
    if not variable.get("multi"):
        assert wanted is None or wanted in found, f"{wanted} is none of {found}"
        return wanted or found[0]
    # In a regular expression within a string, a backslash is itself one that has to be escaped.
    escaped = [SPECIAL.sub(lambda special: f"\\\\{special[0]}", value) for value in found]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"

"""What a panel's queries give: series with the names that the legend shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2e.prometheus import Prometheus
    from grafana.board import Panel, Target
    from grafana.choice import Choice, Span

PLACEHOLDER = re.compile(r"\{\{ *(\w+) *\}\}")


@dataclass(frozen=True, slots=True)
class Line:
    """One series.

    Attributes:
        ref: The letter of its query.
        name: As in the legend.
        labels: All it has.
        times: POSIX seconds.
        values: As many.
    """

    ref: str
    name: str
    labels: dict[str, str]
    times: Sequence[float]
    values: Sequence[float]

    @property
    def last(self) -> float:
        """Its newest value."""
        return self.values[-1]


def ask(panel: Panel, choice: Choice, span: Span, prometheus: Prometheus) -> list[Line]:
    """All series of a panel, in the order of its queries."""
    return [line for target in panel.targets for line in answer(target, choice, span, prometheus)]


def answer(target: Target, choice: Choice, span: Span, prometheus: Prometheus) -> list[Line]:
    """The series of one query."""
    query = choice.fill(target.expr, span)
    if target.instant:
        parameters, path = {"query": query, "time": f"{span.end:.3f}"}, "query"
    else:
        times = {"start": f"{span.start:.3f}", "end": f"{span.end:.3f}", "step": f"{span.step:.3f}"}
        parameters, path = {"query": query, **times}, "query_range"
    result = prometheus.ask(f"/api/v1/{path}", parameters)["result"]
    return [_line(target, one) for one in result]


def _line(target: Target, series: dict[str, Any]) -> Line:
    samples = series["values"] if "values" in series else [series["value"]]
    labels = series["metric"]
    times, values = [float(time) for time, _ in samples], [float(value) for _, value in samples]
    return Line(target.ref, _name(target.legend, labels), labels, times, values)


def _name(legend: str, labels: dict[str, str]) -> str:
    if legend == "__auto":
        return ", ".join(labels.values()) or "Value"
    return PLACEHOLDER.sub(lambda found: labels.get(found[1], ""), legend)

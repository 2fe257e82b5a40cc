"""What the docs say one can ask Prometheus is asked, after a run in which all of it has happened."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from gcsidecar.sidecar.metrics.catalogue import CATALOGUE

if TYPE_CHECKING:
    from e2e.run import Run
    from gcsidecar.sidecar.metrics.metric import Metric

pytestmark = [pytest.mark.e2e, pytest.mark.root]


# Nothing writes a history yet.
WITHOUT_HISTORY = {"gcsidecar_root_history_healthy": pytest.mark.xfail}


@pytest.mark.parametrize(
    "metric", [pytest.param(one, marks=WITHOUT_HISTORY.get(one.name, ()), id=one.name) for one in CATALOGUE]
)
def test_the_example_of_each_metric_has_an_answer(run: Run, metric: Metric) -> None:
    assert figures(run, metric.query), metric.query


def figures(run: Run, query: str) -> list[float]:
    """The values that a query gives, without those that are none (a share of nothing)."""
    values = [float(series["value"][1]) for series in run.prometheus.query(query)]
    return [value for value in values if not math.isnan(value)]

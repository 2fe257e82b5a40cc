"""What the docs say one can ask Prometheus is asked, after a run in which all of it has happened."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from gcsidecar.sidecar.metrics.catalogue import CATALOGUE
from gcsidecar.sidecar.metrics.questions import QUESTIONS

if TYPE_CHECKING:
    from e2e.run import Run
    from gcsidecar.sidecar.metrics.metric import Metric
    from gcsidecar.sidecar.metrics.questions import Question

pytestmark = [pytest.mark.e2e, pytest.mark.root]


ASKED = [question for questions in QUESTIONS.values() for question in questions]


@pytest.mark.parametrize("metric", [pytest.param(one, id=one.name) for one in CATALOGUE])
def test_the_example_of_each_metric_has_an_answer(run: Run, metric: Metric) -> None:
    assert answers(run, metric.query), metric.query


@pytest.mark.parametrize("question", [pytest.param(one, id=one.text) for one in ASKED])
def test_each_question_in_the_docs_has_an_answer(run: Run, question: Question) -> None:
    assert answers(run, question.query), question.query


@pytest.mark.parametrize("question", [pytest.param(one, id=one.text) for one in ASKED if one.empty_when_healthy])
def test_what_asks_for_trouble_finds_none_with_a_sidecar_that_has_none(run: Run, question: Question) -> None:
    healthy = f"127.0.0.1:{run.other.port}"
    assert healthy not in {instance for instance, _ in answers(run, question.query)}


def test_no_answer_adds_up_what_belongs_to_several_sidecars(run: Run) -> None:
    for question in ASKED:
        assert all(instance for instance, _ in answers(run, question.query)), question.query


def test_stalls_are_those_of_the_cgroup_whose_memory_is_watched(run: Run) -> None:
    asked = f'gcsidecar_psi_waiting_seconds_total{{scope="cgroup",instance="127.0.0.1:{run.sidecar.port}"}}'
    assert [value for _, value in answers(run, asked)] == [2.5, 2.5]


def answers(run: Run, query: str) -> list[tuple[str, float]]:
    """Whose they are, and the values, without those that are none (a share of nothing)."""
    found = [
        (series["metric"].get("instance", ""), float(series["value"][1])) for series in run.prometheus.query(query)
    ]
    return [(instance, value) for instance, value in found if not math.isnan(value)]

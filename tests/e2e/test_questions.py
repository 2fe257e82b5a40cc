"""What the docs say one can ask Prometheus is asked, after a run in which all of it has happened."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from e2e.run import MIB, ROOTS
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


def test_what_is_used_of_a_disk_is_ours_by_state_and_own_and_foreign(run: Run) -> None:
    main = f'instance="127.0.0.1:{run.sidecar.port}"'
    for filesystem in ("caps", "ram"):
        there = f"* on (job, instance, root) group_left (filesystem) gcsidecar_filesystem_info{{{main}}}"
        of = f'{main},filesystem="{first_root(filesystem)}"'
        parts = [
            f"sum without (root, state) (gcsidecar_root_size_bytes {there})",
            f"sum without (root) (gcsidecar_root_own_size_bytes {there})",
            f"gcsidecar_filesystem_foreign_bytes{{{of}}}",
        ]
        used = f"gcsidecar_filesystem_disk_capacity_bytes{{{of}}} - gcsidecar_filesystem_disk_free_bytes{{{of}}}"
        assert run.prometheus.value(f"({used}) - ({' + '.join(parts)})") == 0
        assert run.prometheus.value(used) > MIB


def test_what_is_open_though_deleted_is_foreign(run: Run) -> None:
    evicted = run.prometheus.value('sum(gcsidecar_evictions_total{root="stuck"})')
    assert evicted > 0
    foreign = run.prometheus.query('gcsidecar_filesystem_foreign_bytes{filesystem="stuck"} > 0')
    assert float(foreign[0]["value"][1]) >= evicted * 3 * MIB


def test_the_answers_name_who_is_concerned(run: Run) -> None:
    asked = {
        "gcsidecar_root_cap_unmeetable == 1": {"tight"},
        "gcsidecar_root_history_healthy == 0": {"tight"},
        'gcsidecar_root_role{role="standby"} == 1': {"shared"},
        'gcsidecar_root_role{role="missing"} == 1': {"later"},
        'gcsidecar_leases{state="stale"} > 0': {"jobs"},
        'gcsidecar_leases{state="dead"} > 0': {"jobs"},
        "gcsidecar_root_parked_folders > 0": {"counted"},
        "gcsidecar_root_condemned_folders > 0": {"counted"},
        "gcsidecar_regrets_total > 0": {"aged"},
        "gcsidecar_regretted_bytes_total == 256 * 1024": {"aged"},
        "increase(gcsidecar_eviction_failures_total[1h]) > 0": {"stubborn"},
        'gcsidecar_root_folders{state="young"} > 0': {"fresh"},
    }
    for query, roots in asked.items():
        assert {series["metric"]["root"] for series in run.prometheus.query(query)} == roots, query


def first_root(filesystem: str) -> str:
    return next(root for root, (where, _) in ROOTS.items() if where == filesystem)


def test_stalls_are_those_of_the_cgroup_whose_memory_is_watched(run: Run) -> None:
    asked = f'gcsidecar_psi_waiting_seconds_total{{scope="cgroup",instance="127.0.0.1:{run.sidecar.port}"}}'
    assert [value for _, value in answers(run, asked)] == [2.5, 2.5]


def answers(run: Run, query: str) -> list[tuple[str, float]]:
    """Whose they are, and the values, without those that are none (a share of nothing)."""
    found = [
        (series["metric"].get("instance", ""), float(series["value"][1])) for series in run.prometheus.query(query)
    ]
    return [(instance, value) for instance, value in found if not math.isnan(value)]

"""The rules: well-formed, each alert complete, tested firing and silent, and asking only for what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from alerts.rules import (
    ALERTS,
    PROJECT,
    PROMETHEUS,
    RULES,
    RUNBOOK_URL,
    TESTS,
    Alert,
    documents,
    promtool,
    rules,
    unknown_in,
)

SEVERITIES = {"critical", "warning", "info"}
FIRING = re.compile(r'^ALERTS\{alertname="(\w+)",alertstate="firing"\}$')
# It is about there being nothing, so it has nothing to take labels from.
WITHOUT_LABELS = {"GcsidecarAbsent"}

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=[alert.name for alert in ALERTS])


def cases() -> list[list[dict[str, Any]]]:
    """For each set of series what promtool is to find in it: expressions, and what they give."""
    return [case["promql_expr_test"] for path in TESTS for case in yaml.safe_load(path.read_text())["tests"]]


def fired(check: dict[str, Any]) -> str | None:
    """The alert that a case is about, if it is about one."""
    found = FIRING.match(check["expr"])
    return found[1] if found else None


def test_promtool_finds_no_fault_with_the_rules_and_the_scrape_config() -> None:
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", "--lint-fatal", str(RULES))
    promtool("check", "config", str(PROMETHEUS / "prometheus.yaml"))


@pytest.mark.parametrize("path", TESTS, ids=[path.stem for path in TESTS])
def test_what_the_rules_make_of_given_series_is_as_promtool_is_told(path: Any) -> None:
    assert "SUCCESS" in promtool("test", "rules", str(path))


@pytest.mark.parametrize("path", TESTS, ids=[path.stem for path in TESTS])
def test_promtool_is_told_the_order_of_all_groups(path: Any) -> None:
    names = [group["name"] for group in documents()["groups"]]
    assert yaml.safe_load(path.read_text())["group_eval_order"] == names


@each_alert
def test_each_alert_is_tried_firing_and_silent(alert: Alert) -> None:
    """Silent all the time: that it waits for a while before it fires says nothing of when it must not."""
    found = [[check["exp_samples"] for check in case if fired(check) == alert.name] for case in cases()]
    about = [samples for samples in found if samples]
    assert any(any(samples) for samples in about)
    assert any(not any(samples) for samples in about)


@each_alert
def test_each_alert_keeps_the_labels_of_a_fleet(alert: Alert) -> None:
    checks = [check for case in cases() for check in case if fired(check) == alert.name]
    for labels in [sample["labels"] for check in checks for sample in check["exp_samples"]]:
        assert alert.name in WITHOUT_LABELS or {"job", "instance", "namespace"} <= set(re.findall(r"(\w+)=", labels))


@each_alert
def test_each_alert_says_how_bad_it_is_what_it_is_where_and_what_to_do(alert: Alert) -> None:
    assert alert.name.startswith("Gcsidecar")
    assert alert.labels == {"severity": alert.labels["severity"]}
    assert alert.labels["severity"] in SEVERITIES
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}
    assert alert.annotations["runbook_url"] == RUNBOOK_URL.format(alert.name)
    assert "{{" not in alert.annotations["summary"], "Alertmanager groups by it"
    assert alert.name in WITHOUT_LABELS or "{{ $labels.instance }}" in alert.annotations["description"]


@pytest.mark.parametrize("rule", rules(), ids=[rule.get("alert") or rule["record"] for rule in rules()])
def test_each_rule_asks_only_for_what_a_sidecar_exports(rule: dict[str, Any]) -> None:
    assert unknown_in(rule["expr"]) == set()


def test_a_metric_a_label_or_a_value_that_is_not_there_is_found_out() -> None:
    assert unknown_in('gcsidecar_leases{state="live"}') == set()
    assert unknown_in("increase(gcsidecar_eviction_idle_seconds_bucket[1d]) and up == 0") == set()
    assert unknown_in("gcsidecar_lease > 0") == {"gcsidecar_lease"}
    assert unknown_in('gcsidecar_leases{kind="live"}') == {"gcsidecar_leases{kind}"}
    assert unknown_in('gcsidecar_leases{state=~"live|late"}') == {'gcsidecar_leases{state="live|late"}'}
    assert unknown_in("instance:gcsidecar_nothing:max") == {"instance:gcsidecar_nothing:max"}


def test_recorded_names_say_level_metric_and_operation() -> None:
    for rule in rules():
        assert "alert" in rule or re.fullmatch(r"(job|instance(_\w+)?):gcsidecar_\w+:\w+", rule["record"])


def test_the_kubernetes_manifest_is_made_from_the_rules() -> None:
    manifest = PROJECT / "deploy/kubernetes/monitoring/prometheusrule.yaml"
    command = [sys.executable, str(PROJECT / "tools/prometheusrule.py")]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert manifest.read_text() == made, "run `make rules`"
    parsed = yaml.safe_load(made)
    assert (parsed["apiVersion"], parsed["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert parsed["spec"] == documents()

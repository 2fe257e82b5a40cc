"""The rules as they are delivered, for tests: what they say, and which metrics they ask for."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import needs
from gcsidecar.sidecar.metrics.catalogue import CATALOGUE

PROJECT = Path(__file__).parent.parent.parent
PROMETHEUS = PROJECT / "deploy/prometheus"
RULES = PROMETHEUS / "rules/gcsidecar.rules.yaml"
TESTS = sorted((PROMETHEUS / "tests").glob("*.yaml"))
RUNBOOKS = PROJECT / "docs/runbooks"
RUNBOOK_URL = "https://github.com/gcsidecar/gcsidecar/blob/main/docs/runbooks/{}.md"

# Of the Prometheus client and of the scrape itself; docs/metrics.md names the first.
STANDARD = {
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "up",
    "scrape_duration_seconds",
}
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum")}
ASKED = re.compile(r"(?<![\w:])((?:gcsidecar|process|scrape)_\w+|up)(?![\w:])(?:\{([^}]*)\})?")
RECORDED = re.compile(r"\b\w+:gcsidecar_\w+:\w+")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
FROM_SCRAPE = {"job", "instance"}


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule."""

    name: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]


def documents() -> dict[str, Any]:
    """The rules file, parsed."""
    parsed: dict[str, Any] = yaml.safe_load(RULES.read_text())
    return parsed


def rules() -> list[dict[str, Any]]:
    """All rules, in their order."""
    return [rule for group in documents()["groups"] for rule in group["rules"]]


ALERTS = [
    Alert(rule["alert"], rule["expr"], rule["labels"], rule["annotations"]) for rule in rules() if "alert" in rule
]
RECORDINGS = {rule["record"] for rule in rules() if "record" in rule}


def promtool(*arguments: str) -> str:
    """What promtool says; the test fails where it finds fault."""
    program = needs.program("promtool", "prometheus")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def unknown_in(text: str) -> set[str]:
    """What PromQL asks for and no sidecar exports: metrics, their labels, and values of labels."""
    wrong = {name for name in RECORDED.findall(text) if name not in RECORDINGS}
    for name, matchers in ASKED.findall(RECORDED.sub("", text)):
        labels = _labels_of(name)
        if labels is None:
            wrong.add(name)
            continue
        for label, value in MATCHER.findall(matchers):
            if label not in labels:
                wrong.add(f"{name}{{{label}}}")
            elif labels[label] and not {*value.split("|")} <= {*labels[label]}:
                wrong.add(f'{name}{{{label}="{value}"}}')
    return wrong


def _labels_of(name: str) -> dict[str, tuple[str, ...]] | None:
    """The labels of a metric, each with its values where they are known; none where there is no such metric."""
    if name in STANDARD:
        return dict.fromkeys(FROM_SCRAPE, ())
    for metric in CATALOGUE:
        if name in {metric.name, *(metric.name + suffix for suffix in SUFFIXES.get(metric.kind, ()))}:
            bucket = {"le": tuple(f"{bound:.1f}" for bound in metric.buckets)} if name.endswith("_bucket") else {}
            return dict.fromkeys(FROM_SCRAPE, ()) | bucket | {label.name: label.values for label in metric.labels}
    return None

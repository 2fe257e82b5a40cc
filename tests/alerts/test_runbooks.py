"""The runbooks: a page for each alert and none for anything else, whose queries and events are real."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml

from alerts.rules import ALERTS, PROJECT, RUNBOOKS, Alert, promtool, unknown_in

if TYPE_CHECKING:
    from pathlib import Path

INDEX = RUNBOOKS / "README.md"
PAGES = sorted(set(RUNBOOKS.glob("*.md")) - {INDEX})
SECTIONS = ["What it means", "What to look at", "What to do"]
SOURCE = "".join(path.read_text() for path in sorted((PROJECT / "src/gcsidecar").rglob("*.py")))

each_page = pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])


def queries(page: Path) -> list[str]:
    """What it would have one ask Prometheus: an expression a line, or more where the next goes on with an operator."""
    found: list[str] = []
    for block in re.findall(r"^```promql\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if re.match(r"[-+*/]|and |or |unless ", line):
                found[-1] += f" {line}"
            elif line and not line.startswith("#"):
                found.append(line)
    return found


def row(alert: Alert) -> str:
    """An alert in the index."""
    return f"| [{alert.name}]({alert.name}.md) | {alert.labels['severity']} | {alert.annotations['summary']} |"


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    assert {page.stem for page in PAGES} == {alert.name for alert in ALERTS}


def test_the_index_lists_all_alerts_in_the_order_of_the_rules() -> None:
    rows = [line for line in INDEX.read_text().splitlines() if line.startswith("| [")]
    assert rows == [row(alert) for alert in ALERTS]


@each_page
def test_a_page_says_what_it_means_what_to_look_at_and_what_to_do(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert lines[0] == f"# {page.stem}"
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == SECTIONS
    assert 25 <= len(lines) <= 50
    assert max(map(len, lines)) <= 120


@each_page
def test_what_a_page_would_have_one_ask_can_be_asked(page: Path, tmp_path: Path) -> None:
    asked = queries(page)
    assert asked
    assert unknown_in("\n".join(asked)) == set()
    rules = [{"record": f"asked{number}", "expr": query} for number, query in enumerate(asked)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "rules.yaml"))


@each_page
def test_a_page_names_only_metrics_events_and_pages_that_exist(page: Path) -> None:
    text = page.read_text()
    assert unknown_in("\n".join(re.findall(r"`([^`\n]*gcsidecar_[^`\n]*)`", text))) == set()
    for event in re.findall(r"event=([\w-]+)", text):
        assert f'"{event}"' in SOURCE, f"nothing logs {event}"
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (RUNBOOKS / link).exists(), link


def test_an_event_that_is_not_logged_would_be_found_out() -> None:
    assert '"eviction-failed"' in SOURCE
    assert '"eviction-succeeded"' not in SOURCE

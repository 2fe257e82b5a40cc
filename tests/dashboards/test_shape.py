"""The dashboards' JSON: as Grafana's types have it, laid out in its grid, and complete in what a reader needs."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from builder import links
from gcsidecar.sidecar.metrics.catalogue import CATALOGUE
from grafana.board import NAMES, PROJECT, Board, Panel

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = 24
# What no sidecar gives: Prometheus itself, and its client library in the process.
OTHERS = {
    *("up", "scrape_duration_seconds", "scrape_samples_scraped"),
    *("process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes"),
    *("process_open_fds", "process_max_fds"),
}
RULES = yaml.safe_load((PROJECT / "deploy/prometheus/rules/gcsidecar.rules.yaml").read_text())
ALERTS = {rule["alert"] for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}
KNOWN = {metric.name for metric in CATALOGUE} | OTHERS

# What no panel shows, and why.
LEFT_OUT = {
    "gcsidecar_filesystem_inodes_capacity": "constant; what is free is drawn beside trigger and target",
    "gcsidecar_filesystem_memory_capacity_bytes": "constant; what is free is drawn beside trigger and target",
}

BOARDS = [Board.read(name) for name in NAMES]
PANELS = [
    pytest.param(board, panel, id=f"{board.raw['uid']}-{panel.title}") for board in BOARDS for panel in board.panels()
]
each_board = pytest.mark.parametrize("board", BOARDS, ids=NAMES)
each_panel = pytest.mark.parametrize(("board", "panel"), PANELS)


@each_board
def test_nothing_is_lost_on_the_way_through_the_types_of_the_sdk(board: Board) -> None:
    register_default_plugins()
    there_and_back = json.loads(json.dumps(Dashboard.from_json(board.raw), cls=JSONEncoder))
    assert there_and_back == board.raw


@each_board
def test_no_two_panels_overlap_and_all_are_within_the_grid(board: Board) -> None:
    places = [(panel.title, panel.place) for panel in board.all()]
    for title, place in places:
        assert place.x >= 0, title
        assert place.y >= 0, title
        assert place.x + place.w <= COLUMNS, title
    pairs = itertools.combinations(places, 2)
    assert [(one, other) for (one, here), (other, there) in pairs if here.overlaps(there)] == []


@each_board
def test_the_grid_has_no_holes(board: Board) -> None:
    cells = sum(panel.place.w * panel.place.h for panel in board.all())
    bottom = max(panel.place.y + panel.place.h for panel in board.all())
    assert cells == COLUMNS * bottom


@each_board
def test_each_panel_has_a_title_and_an_id_of_its_own(board: Board) -> None:
    titles = [panel.title for panel in board.all()]
    assert sorted(set(titles)) == sorted(titles)
    ids = [panel.raw["id"] for panel in board.all()]
    assert sorted(set(ids)) == sorted(ids)


@each_panel
def test_a_panel_says_what_it_shows_and_in_which_unit(board: Board, panel: Panel) -> None:
    assert board.raw["title"].startswith("gcsidecar / ")
    assert len(panel.raw["description"]) > 20
    assert panel.raw["description"].endswith(".")
    assert panel.defaults["unit"]


@each_panel
def test_a_panel_asks_the_datasource_that_is_chosen(board: Board, panel: Panel) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert panel.raw["datasource"] == chosen
    assert [target["datasource"] for target in panel.raw["targets"]] == [chosen] * len(panel.targets)
    assert [note["datasource"] for note in board.notes] == [chosen] * len(board.notes)


@each_panel
def test_a_ratio_begins_at_zero(board: Board, panel: Panel) -> None:
    del board
    if panel.defaults["unit"] == "percentunit" and panel.kind != "stat":
        assert panel.defaults["min"] == 0


@each_panel
def test_a_panel_that_colours_by_thresholds_has_some(board: Board, panel: Panel) -> None:
    del board
    if panel.kind in {"stat", "gauge", "bargauge"}:
        assert panel.defaults.get("thresholds") or panel.defaults.get("mappings")


@each_panel
def test_a_panel_asks_for_metrics_that_there_are_and_links_to_the_docs_of_each(board: Board, panel: Panel) -> None:
    del board
    asked = {name for target in panel.targets for name in links.metrics(target.expr)}
    assert asked
    assert asked <= KNOWN
    assert {link["title"] for link in panel.raw["links"]} - ALERTS == asked


def test_every_metric_is_in_some_dashboard_or_left_out_for_a_reason() -> None:
    exprs = [target.expr for board in BOARDS for panel in board.panels() for target in panel.targets]
    exprs += [note["expr"] for board in BOARDS for note in board.notes]
    asked = {name for expr in exprs for name in links.metrics(expr)}
    assert {metric.name for metric in CATALOGUE} - asked == set(LEFT_OUT)


@each_board
def test_variables_and_notes_ask_for_metrics_that_there_are(board: Board) -> None:
    queries = [variable["query"] for variable in board.variables if variable["type"] == "query"]
    queries += [note["expr"] for note in board.notes]
    names = {name for query in queries for name in re.findall(r"\b(?:gcsidecar|process)_\w+", query)}
    assert names
    assert names <= KNOWN


@each_board
def test_no_query_uses_a_variable_that_is_not_there(board: Board) -> None:
    there = {variable["name"] for variable in board.variables}
    there |= {"__rate_interval", "__range", "__interval"}
    used = re.findall(r"\$\{?(\w+)", " ".join(target.expr for panel in board.panels() for target in panel.targets))
    assert set(used) <= there


@each_board
def test_the_dashboards_lead_to_each_other_and_to_the_runbooks(board: Board) -> None:
    assert board.raw["tags"] == ["gcsidecar"]
    (others,) = (link for link in board.raw["links"] if link["type"] == "dashboards")
    assert others["tags"] == ["gcsidecar"]
    assert others["includeVars"]
    assert others["keepTime"]
    assert any(link["url"] == f"{links.DOCS}/runbooks" for link in board.raw["links"] if link["type"] == "link")


@each_board
def test_every_link_leads_to_a_page_of_ours_and_a_heading_on_it(board: Board) -> None:
    urls = [link["url"] for link in board.raw["links"] if link["type"] == "link"]
    urls += [link["url"] for panel in board.panels() for link in panel.raw["links"]]
    ours = {url for url in urls if url.startswith(links.DOCS)}
    assert ours
    assert set(urls) - ours <= {links.ABOUT_SCRAPES}
    for url in ours:
        page, _, anchor = url.removeprefix(f"{links.DOCS}/").partition("#")
        assert (PROJECT / "docs" / page).exists(), url
        assert not anchor or anchor in _anchors(PROJECT / "docs" / page), url


def test_there_is_a_panel_for_each_alert_that_leads_to_its_runbook() -> None:
    titles = [link["title"] for board in BOARDS for panel in board.panels() for link in panel.raw["links"]]
    assert ALERTS - set(titles) == set()


def test_a_link_from_a_row_opens_a_dashboard_that_there_is() -> None:
    found = [url for board in BOARDS for url in _data_links(board.raw)]
    assert found
    for url in found:
        uid = re.match(r"/d/([\w-]+)\?", url)
        assert uid is not None, url
        target = Board.read(uid[1])
        assert set(re.findall(r"var-(\w+)=", url)) <= {variable["name"] for variable in target.variables}


def _data_links(raw: Any) -> list[str]:
    """Where fields lead to, anywhere in a dashboard."""
    if isinstance(raw, list):
        return [url for one in raw for url in _data_links(one)]
    if not isinstance(raw, dict):
        return []
    here = [link["url"] for link in raw["value"]] if raw.get("id") == "links" else []
    return here + [url for one in raw.values() for url in _data_links(one)]


def _anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

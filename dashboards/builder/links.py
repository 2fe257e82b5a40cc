"""Where panels and dashboards point to: the docs of each metric, the runbooks, each other."""

from __future__ import annotations

import re
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

# A fork changes this line, and runs `make dashboards`.
DOCS: Final = "https://github.com/gcsidecar/gcsidecar/blob/main/docs"
ABOUT_SCRAPES: Final = "https://prometheus.io/docs/concepts/jobs_instances/"
TAG: Final = "gcsidecar"

NAMES = re.compile(r"\b(?:gcsidecar|process|scrape)_\w+|\bup\b")
# A histogram is queried by its buckets, and described by its name.
BUCKETS = re.compile(r"_bucket$")
NO_METRIC = re.compile(r'"[^"]*"')


def metrics(expr: str) -> list[str]:
    """The metrics that an expression asks for, each once, as the docs call them."""
    found = NAMES.findall(NO_METRIC.sub("", expr))
    return list(dict.fromkeys(BUCKETS.sub("", name) for name in found))


def about(metric: str) -> build.DashboardLink:
    """A link to what a metric means."""
    if metric.startswith("gcsidecar_"):
        return _link(metric, f"{DOCS}/metrics.md#{metric}")
    return _link(metric, ABOUT_SCRAPES if metric.startswith(("up", "scrape_")) else f"{DOCS}/metrics.md")


def runbook(alert: str) -> build.DashboardLink:
    """A link to what to do when an alert fires."""
    return _link(alert, f"{DOCS}/runbooks/{alert}.md")


def of_dashboard() -> list[build.DashboardLink]:
    """The links at the top of a dashboard: the others, with what is chosen; metrics; what to do at an alert."""
    others = build.DashboardLink("gcsidecar").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    return [
        others.as_dropdown(as_dropdown=True).include_vars(include_vars=True).keep_time(keep_time=True),
        _link("Metrics", f"{DOCS}/metrics.md").icon("doc"),
        _link("Runbooks", f"{DOCS}/runbooks").icon("doc"),
    ]


def _link(title: str, url: str) -> build.DashboardLink:
    link = build.DashboardLink(title).type(model.DashboardLinkType.LINK).url(url)
    return link.tooltip(url).target_blank(target_blank=True)

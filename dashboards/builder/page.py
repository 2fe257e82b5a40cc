"""A dashboard as a whole: its name, its chapters, its variables, and what is noted on its time axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from builder import links
from builder.panels import DATASOURCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.cog.builder import Builder

    from builder.scope import Scope


@dataclass(frozen=True, slots=True)
class Chapter:
    """Panels under a heading, which may begin folded away.

    Attributes:
        title: The question that they answer.
        panels: From left to right and from top to bottom.
        folded: Whether they are asked for only once somebody unfolds them.
    """

    title: str
    panels: Sequence[Builder[model.Panel]]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A dashboard.

    Attributes:
        uid: Its name for machines, also that of its file; it never changes.
        title: Its name for people.
        what: What it is for.
        variables: What can be chosen at its top.
        chapters: From top to bottom.
        notes: What is noted on its time axis.
    """

    uid: str
    title: str
    what: str
    variables: Sequence[Builder[model.VariableModel]]
    chapters: Sequence[Chapter]
    notes: Sequence[Builder[model.AnnotationQuery]] = ()

    def build(self) -> model.Dashboard:
        """The dashboard in the words of the SDK."""
        board = build.Dashboard(self.title).uid(self.uid).description(self.what).tags([links.TAG]).editable()
        board = (
            board.time("now-6h", "now").refresh("30s").timezone("browser").tooltip(model.DashboardCursorSync.CROSSHAIR)
        )
        board = board.variables(list(self.variables)).annotations(list(self.notes)).links(list(links.of_dashboard()))
        for chapter in self.chapters:
            _add(board, chapter)
        dashboard = board.build()
        _number(dashboard)
        return dashboard


def _add(board: build.Dashboard, chapter: Chapter) -> None:
    """Folded panels are part of their heading; others come after it."""
    row = build.Row(chapter.title)
    if chapter.folded:
        for panel in chapter.panels:
            row.with_panel(panel)
        board.with_row(row)
        return
    board.with_row(row.collapsed(collapsed=False))
    for panel in chapter.panels:
        board.with_panel(panel)


def _number(dashboard: model.Dashboard) -> None:
    """Give each panel an id, so that a link to it lasts as long as the panels before it stay."""
    number = 0
    for panel in dashboard.panels or []:
        for each in (panel, *(panel.panels if isinstance(panel, model.RowPanel) else ())):
            number += 1
            each.id_val = number


def note(name: str, expr: str, colour: str) -> build.AnnotationQuery:
    """A mark on the time axis of every panel wherever a query gives something."""
    return build.AnnotationQuery().name(name).datasource(DATASOURCE).expr(expr).icon_color(colour).enable(enable=True)


def of_process(scope: Scope) -> list[build.AnnotationQuery]:
    """What happened to the processes themselves."""
    # Two minutes hold two samples at least, down to one scrape a minute.
    started = f"changes({scope('process_start_time_seconds')}[2m]) > 0"
    reloaded = f"changes({scope('gcsidecar_config_last_reload_success_timestamp_seconds')}[2m]) > 0"
    return [note("Restarts", started, "red"), note("Config reloads", reloaded, "blue")]

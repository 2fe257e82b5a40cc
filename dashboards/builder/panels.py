"""The panels: what all have (title, description, unit, links to the docs), and how each kind looks.

A thin layer on the SDK: what a function here gives is the SDK's builder, for more to be said of it.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, gauge, heatmap, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus as ask
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models import prometheus as query

from builder import fields, links

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from grafana_foundation_sdk.cog.builder import Builder

DATASOURCE = model.DataSourceRef("prometheus", "${datasource}")


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel.

    Attributes:
        expr: In PromQL.
        legend: What its series are called; labels in double braces.
    """

    expr: str
    legend: str = "__auto"


@dataclass(frozen=True, slots=True)
class Text:
    """What stands at a panel, and how much room it has.

    Attributes:
        title: In the dashboard, once.
        what: What it shows, and what to make of it.
        width: In columns, of which there are 24.
        height: In rows.
        alerts: Those that fire over what it shows.
    """

    title: str
    what: str
    width: int
    height: int = 8
    alerts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: In its heading.
        query: What gives its values, one for each row.
        unit: Of its values.
        props: What else is special about it.
    """

    name: str
    query: Query
    unit: str = fields.COUNT
    props: tuple[model.DynamicConfigValue, ...] = ()


class Panel(Protocol):
    """What the SDK's builders of panels have in common, which have no base that says so."""

    def title(self, title: str, /) -> Self:
        """Set it."""

    def description(self, description: str, /) -> Self:
        """Set it."""

    def datasource(self, datasource: model.DataSourceRef, /) -> Self:
        """Set it."""

    def unit(self, unit: str, /) -> Self:
        """Set it."""

    def height(self, h: int, /) -> Self:
        """Set it, in rows."""

    def span(self, w: int, /) -> Self:
        """Set its width, in columns."""

    def links(self, links: list[Builder[model.DashboardLink]], /) -> Self:
        """Set them."""

    def with_target(self, target: Any, /) -> Self:
        """Add a query."""


P = TypeVar("P", bound=Panel)
# The columns that a table is sorted by, each with whether downwards.
Sort = tuple[tuple[str, bool], ...]


def stat(text: Text, *queries: Query, unit: str) -> stats.Panel:
    """Numbers as of now, coloured by their thresholds."""
    panel = _with(stats.Panel(), text, queries, unit, instant=True)
    return (
        panel.reduce_options(_last())
        .graph_mode(looks.BigValueGraphMode.NONE)
        .color_mode(looks.BigValueColorMode.VALUE)
        .color_scheme(_colours(model.FieldColorModeId.THRESHOLDS))
    )


def dial(text: Text, *queries: Query, unit: str) -> gauge.Panel:
    """Numbers as of now, on dials."""
    panel = _with(gauge.Panel(), text, queries, unit, instant=True)
    return (
        panel.reduce_options(_last())
        .show_threshold_markers(show_threshold_markers=True)
        .show_threshold_labels(show_threshold_labels=False)
        .color_scheme(_colours(model.FieldColorModeId.THRESHOLDS))
    )


def ranks(text: Text, *queries: Query, unit: str) -> bargauge.Panel:
    """Numbers as of now, as bars below each other."""
    panel = _with(bargauge.Panel(), text, queries, unit, instant=True)
    return (
        panel.reduce_options(_last())
        .orientation(looks.VizOrientation.HORIZONTAL)
        .display_mode(looks.BarGaugeDisplayMode.BASIC)
        .value_mode(looks.BarGaugeValueMode.COLOR)
        .show_unfilled(show_unfilled=True)
        .color_scheme(_colours(model.FieldColorModeId.THRESHOLDS))
    )


def lines(text: Text, *queries: Query, unit: str) -> timeseries.Panel:
    """Values over time, as lines."""
    panel = _with(timeseries.Panel(), text, queries, unit)
    return (
        panel.legend(_legend())
        .tooltip(_tooltip())
        .line_width(2)
        .fill_opacity(8)
        .show_points(looks.VisibilityMode.NEVER)
        .color_scheme(_colours(model.FieldColorModeId.PALETTE_CLASSIC))
        .min(0)
    )


def areas(text: Text, *queries: Query, unit: str) -> timeseries.Panel:
    """Parts of a whole over time, on top of each other."""
    return lines(text, *queries, unit=unit).stacking(_stacked()).fill_opacity(70).line_width(1)


def bars(text: Text, *queries: Query, unit: str) -> timeseries.Panel:
    """What happened over time, as bars on top of each other; a minute each at least, so that they can be seen."""
    panel = lines(text, *queries, unit=unit).stacking(_stacked()).interval("1m")
    return panel.draw_style(looks.GraphDrawStyle.BARS).fill_opacity(80).line_width(1)


def heat_map(text: Text, *queries: Query, unit: str) -> heatmap.Panel:
    """A histogram over time: how many in each of its buckets."""
    panel = _with(heatmap.Panel(), text, queries, fields.COUNT, shape=query.PromQueryFormat.HEATMAP)
    scheme = heatmap.HeatmapColorOptions().mode(heat.HeatmapColorMode.SCHEME).scheme("Oranges")
    return (
        panel.calculate(calculate=False)
        .color(scheme.scale(heat.HeatmapColorScale.EXPONENTIAL).exponent(0.5).steps(64).fill("dark-orange"))
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .cell_values(heatmap.CellValues().unit(fields.COUNT).decimals(0))
        .cell_gap(1)
        .show_value(looks.VisibilityMode.NEVER)
        .show_legend()
        .hide_from(common.HideSeriesConfig().legend(legend=False).tooltip(tooltip=False).viz(viz=False))
        .interval("1m")
    )


def rows(text: Text, *columns: Column, keys: tuple[str, ...], sort: Sort) -> table.Panel:
    """A table, with a row for each combination of the keys' values and a column for each query."""
    queries = [column.query for column in columns]
    panel = _with(table.Panel(), text, queries, fields.COUNT, instant=True, shape=query.PromQueryFormat.TABLE)
    order = [common.TableSortByFieldState().display_name(name).desc(desc=down) for name, down in sort]
    panel = panel.transformations(_merged(columns, keys)).sort_by(list(order))
    for column in columns:
        panel = panel.override_by_name(column.name, [fields.prop("unit", column.unit), *column.props])
    return panel.cell_height(looks.TableCellHeight.SM).show_header(show_header=True).inspect(inspect=False)


def states(text: Text, *queries: Query, meanings: model.ValueMap) -> statetimeline.Panel:
    """States over time, one below the other, each number a word and a colour."""
    panel = _with(statetimeline.Panel(), text, queries, fields.NO_UNIT)
    return (
        panel.mappings([meanings])
        .merge_values(merge_values=True)
        .show_value(looks.VisibilityMode.AUTO)
        .row_height(0.8)
        .fill_opacity(70)
        .line_width(0)
        .legend(_legend())
        .tooltip(_tooltip())
        .color_scheme(_colours(model.FieldColorModeId.THRESHOLDS))
    )


def at_thresholds() -> common.GraphThresholdsStyleConfig:
    """Thresholds drawn as lines."""
    return common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED)


def symlog() -> common.ScaleDistributionConfig:
    """A scale on which seconds and days can be told apart, and 0 has a place."""
    return common.ScaleDistributionConfig().type(looks.ScaleDistribution.SYMLOG).log(10).linear_threshold(1)


def coloured_owners(panel: timeseries.Panel) -> timeseries.Panel:
    """The colours of those who own a disk, the same wherever they are shown; idle folders have the palette's."""
    colours = {
        "leased": fields.BLUE,
        "pinned": fields.PURPLE,
        "young": fields.YELLOW,
        "idle": fields.GREEN,
        ".gcsidecar/": fields.ORANGE,
        "foreign": fields.GREY,
        "free": fields.DIM,
    }
    for name, colour in colours.items():
        panel = panel.override_by_name(name, [fields.fixed(colour)])
    return panel


def _with(
    panel: P,
    text: Text,
    queries: Sequence[Query],
    unit: str,
    *,
    instant: bool = False,
    shape: query.PromQueryFormat = query.PromQueryFormat.TIME_SERIES,
) -> P:
    """What every panel has."""
    panel = panel.title(text.title).description(text.what).datasource(DATASOURCE).unit(unit)
    panel = panel.span(text.width).height(text.height)
    for name, one in zip(string.ascii_uppercase, queries, strict=False):
        target = ask.Dataquery().ref_id(name).expr(one.expr).legend_format(one.legend).format(shape)
        target = target.datasource(DATASOURCE).editor_mode(query.QueryEditorMode.CODE)
        panel = panel.with_target(target.instant() if instant else target.range())
    named = dict.fromkeys(name for one in queries for name in links.metrics(one.expr))
    pages = [links.runbook(alert) for alert in text.alerts]
    return panel.links([*pages, *(links.about(name) for name in named)])


def _merged(columns: Sequence[Column], keys: tuple[str, ...]) -> list[model.DataTransformerConfig]:
    """The results of all queries as one table, whose columns have our names and order."""
    values = {f"Value #{name}": column.name for name, column in zip(string.ascii_uppercase, columns, strict=False)}
    order = {name: index for index, name in enumerate([*keys, *values])}
    organize = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": values}
    return [model.DataTransformerConfig("merge", options={}), model.DataTransformerConfig("organize", options=organize)]


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False).fields("")


def _stacked() -> common.StackingConfig:
    return common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A")


def _colours(mode: model.FieldColorModeId) -> build.FieldColor:
    return build.FieldColor().mode(mode)


def _legend() -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(show_legend=True).placement(looks.LegendPlacement.BOTTOM)
    return legend.display_mode(looks.LegendDisplayMode.LIST).calcs([])


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING)

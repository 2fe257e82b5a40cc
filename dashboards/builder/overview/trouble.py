"""Is anything wrong? Numbers that are 0 as long as all is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.fields import above, below
from builder.overview.common import FAILURES, IDLE, PRESSURE, REGRETS, STALE, TIME_TO_TRIGGER
from builder.panels import Query, Text, stat
from builder.scope import FLEET

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat as stats

# Where the idle folders of a filesystem take nothing.
NOTHING_IDLE = (
    f"(sum by (job, instance, filesystem) ({IDLE} * on (job, instance, root) group_left (filesystem) "
    f"{FLEET('gcsidecar_filesystem_info')}) == bool 0)"
)


def numbers() -> tuple[stats.Panel, ...]:
    """Beside each other."""
    up = FLEET("up")
    return (
        _number(
            "Sidecars down",
            "Targets that Prometheus can't scrape. Nothing is evicted there.",
            f"count({up}) - sum({up})",
            "GcsidecarDown",
            "GcsidecarAbsent",
        ).thresholds(above(red=1)),
        _number(
            "Above the trigger",
            "Filesystems that are being collected now. It should pass within seconds.",
            f"sum({PRESSURE} > bool 1)",
            "GcsidecarAlmostFull",
        ).thresholds(above(orange=1)),
        _number(
            "Stuck",
            "Filesystems above their trigger on which nothing may be evicted: all is leased, pinned or young, or "
            "others fill the disk. Writers will meet a full disk there.",
            f"sum(({PRESSURE} > bool 1) * on (job, instance, filesystem) {NOTHING_IDLE})",
            "GcsidecarNothingToEvict",
        ).thresholds(above(red=1)),
        _number(
            "Next to cross",
            "In how long the first filesystem reaches its trigger at its present rate.",
            f"min(clamp_max({TIME_TO_TRIGGER}, {fields.WEEK_SECONDS}))",
            "GcsidecarFillsUp",
            unit=fields.SECONDS,
        )
        .mappings([fields.TIME_TO_TRIGGER])
        .thresholds(below(orange=60, green=3600)),
        _number(
            "Caps not met",
            "Roots above their cap whose idle folders, all evicted, would not be enough.",
            f"sum({FLEET('gcsidecar_root_cap_unmeetable')}) or vector(0)",
            "GcsidecarCapUnmeetable",
        ).thresholds(above(red=1)),
        _number(
            "Failed evictions",
            "Tries to evict a folder that failed in the time range; the log says why.",
            f"sum(increase({FAILURES}[$__range]))",
            "GcsidecarEvictionsFailing",
        ).thresholds(above(orange=1, red=10)),
        _number(
            "Stale leases",
            "Leases that nobody touched for longer than their ttl. A holder may have died.",
            f"sum({STALE})",
            "GcsidecarLeaseStale",
        ).thresholds(above(orange=1)),
        _number(
            "Regrets",
            "Folders that came back soon after their eviction, in the time range: somebody wanted them after all.",
            f"sum(increase({REGRETS}[$__range]))",
            "GcsidecarRegretsHigh",
        ).thresholds(above(yellow=1, orange=100)),
    )


def _number(title: str, what: str, expr: str, *alerts: str, unit: str = fields.COUNT) -> stats.Panel:
    """One of eight; a count is whole, whatever `increase()` makes of it."""
    panel = stat(Text(title, what, 3, 4, alerts), Query(expr), unit=unit)
    return panel.decimals(0) if unit == fields.COUNT else panel

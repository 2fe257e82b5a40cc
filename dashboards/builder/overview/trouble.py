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
        stat(
            Text("Sidecars down", "Targets that Prometheus can't scrape. Nothing is evicted there.", 3, 4),
            Query(f"count({up}) - sum({up})"),
            unit=fields.COUNT,
        ).thresholds(above(red=1)),
        stat(
            Text("Above the trigger", "Filesystems that are being collected now. It should pass within seconds.", 3, 4),
            Query(f"sum({PRESSURE} > bool 1)"),
            unit=fields.COUNT,
        ).thresholds(above(orange=1)),
        stat(
            Text(
                "Stuck",
                "Filesystems above their trigger on which nothing may be evicted: all is leased, pinned or young, or "
                "others fill the disk. Writers will meet a full disk there.",
                3,
                4,
            ),
            Query(f"sum(({PRESSURE} > bool 1) * on (job, instance, filesystem) {NOTHING_IDLE})"),
            unit=fields.COUNT,
        ).thresholds(above(red=1)),
        stat(
            Text("Next to cross", "In how long the first filesystem reaches its trigger at its present rate.", 3, 4),
            Query(f"min(clamp_max({TIME_TO_TRIGGER}, {fields.WEEK_SECONDS}))"),
            unit=fields.SECONDS,
        )
        .mappings([fields.TIME_TO_TRIGGER])
        .thresholds(below(orange=60, green=3600)),
        stat(
            Text("Caps not met", "Roots above their cap whose idle folders, all evicted, would not be enough.", 3, 4),
            Query(f"sum({FLEET('gcsidecar_root_cap_unmeetable')}) or vector(0)"),
            unit=fields.COUNT,
        ).thresholds(above(red=1)),
        stat(
            Text("Failed evictions", "Tries to evict a folder that failed in the time range; the log says why.", 3, 4),
            Query(f"sum(increase({FAILURES}[$__range]))"),
            unit=fields.COUNT,
        )
        .decimals(0)
        .thresholds(above(orange=1, red=10)),
        stat(
            Text("Stale leases", "Leases that nobody touched for longer than their ttl. A holder may have died.", 3, 4),
            Query(f"sum({STALE})"),
            unit=fields.COUNT,
        ).thresholds(above(orange=1)),
        stat(
            Text(
                "Regrets",
                "Folders that came back soon after their eviction, in the time range: somebody wanted them after all.",
                3,
                4,
            ),
            Query(f"sum(increase({REGRETS}[$__range]))"),
            unit=fields.COUNT,
        )
        .decimals(0)
        .thresholds(above(yellow=1, orange=100)),
    )

"""How full are they, and when will they cross their triggers?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.fields import above, below
from builder.overview.common import PRESSURE, TIME_TO_TRIGGER
from builder.page import Chapter
from builder.panels import Query, Text, at_thresholds, lines, ranks, symlog
from builder.scope import FLEET

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import bargauge, timeseries


NAME = "{{instance}} {{filesystem}} {{resource}}"


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("How full, and when will it cross?", (pressure(), pressure_now(), time_to_trigger()))


def pressure() -> timeseries.Panel:
    """Over time."""
    return (
        lines(
            Text(
                "Pressure",
                "How near each filesystem is to its trigger, whatever runs out there: 100 % is exactly at it, and "
                "above folders are evicted. A saw below 100 % is a cache at work.",
                10,
            ),
            Query(f"max by (instance, filesystem, resource) ({FLEET('gcsidecar_filesystem_pressure_ratio')})", NAME),
            unit=fields.RATIO,
        )
        .thresholds(above(red=1))
        .thresholds_style(at_thresholds())
    )


def pressure_now() -> bargauge.Panel:
    """As of now, the highest first."""
    return (
        ranks(
            Text("Highest pressure", "The twenty instances under most pressure now.", 6),
            Query(f"sort_desc(topk(20, max by (instance) ({PRESSURE})))", "{{instance}}"),
            unit=fields.RATIO,
        )
        .thresholds(above(yellow=0.9, red=1))
        .min(0)
        .max(1.2)
    )


def time_to_trigger() -> timeseries.Panel:
    """By instance."""
    return (
        lines(
            Text(
                "Time to the trigger",
                "In how long each instance's first filesystem reaches its trigger at its present rate, as the sidecar "
                "sees it; a day stands for a day and more, and for not filling at all.",
                8,
            ),
            Query(f"min by (instance) (clamp_max({TIME_TO_TRIGGER}, 86400))", "{{instance}}"),
            unit=fields.SECONDS,
        )
        .thresholds(below(transparent=3600))
        .thresholds_style(at_thresholds())
        .max(86400)
        .fill_opacity(0)
        .scale_distribution(symlog())
    )

"""How full is it, and when will it cross its trigger?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.fields import above, below
from builder.page import Chapter
from builder.panels import Query, Text, at_thresholds, lines, symlog
from builder.scope import FILESYSTEM

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import timeseries

CAPACITY = FILESYSTEM("gcsidecar_filesystem_disk_capacity_bytes")
FREE = FILESYSTEM("gcsidecar_filesystem_disk_free_bytes")
TRIGGER = FILESYSTEM("gcsidecar_filesystem_disk_trigger_bytes")
TARGET = FILESYSTEM("gcsidecar_filesystem_disk_target_bytes")


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("How full, and when will it cross?", (pressure(), free(), fill_rate(), time_to_trigger()))


def pressure() -> timeseries.Panel:
    """Against trigger and target."""
    names = "filesystem, resource"
    return (
        lines(
            Text(
                "Pressure against trigger and target",
                "Collection starts at 100 %, the trigger, and stops at the dashed target. A line that stays above is a "
                "cache in which nothing may be evicted, or that fills faster than it is emptied.",
                8,
                alerts=("GcsidecarNothingToEvict", "GcsidecarAlmostFull"),
            ),
            Query(
                f"max by ({names}) ({FILESYSTEM('gcsidecar_filesystem_pressure_ratio')})", "{{filesystem}} {{resource}}"
            ),
            Query(
                f"max by (filesystem) (({CAPACITY} - {TARGET}) / ({CAPACITY} - {TRIGGER}))",
                "{{filesystem}} disk target",
            ),
            unit=fields.RATIO,
        )
        .override_by_regexp(".*target$", fields.mark(fields.GREEN))
        .thresholds(above(red=1))
        .thresholds_style(at_thresholds())
    )


def free() -> timeseries.Panel:
    """Against trigger and target."""
    return (
        lines(
            Text(
                "Free disk against trigger and target",
                "The bytes that writers may still take. Below the red line folders are evicted until the green one is "
                "reached.",
                8,
            ),
            Query(f"max by (filesystem) ({FREE})", "{{filesystem}}"),
            Query(f"max by (filesystem) ({TRIGGER})", "{{filesystem}} trigger"),
            Query(f"max by (filesystem) ({TARGET})", "{{filesystem}} target"),
            unit=fields.BYTES,
        )
        .override_by_regexp(".*trigger$", fields.mark(fields.RED))
        .override_by_regexp(".*target$", fields.mark(fields.GREEN))
    )


def fill_rate() -> timeseries.Panel:
    """Of the disk."""
    return lines(
        Text(
            "Fill rate",
            "How fast writers use up the disk, as the sidecar measures it, evictions left out.",
            4,
        ),
        Query(
            f"max by (filesystem) ({FILESYSTEM('gcsidecar_filesystem_disk_fill_bytes_per_second')})", "{{filesystem}}"
        ),
        unit=fields.BYTES_PER_SECOND,
    )


def time_to_trigger() -> timeseries.Panel:
    """Over time."""
    soonest = f"min by (filesystem, resource) ({FILESYSTEM('gcsidecar_filesystem_time_to_trigger_seconds')})"
    return (
        lines(
            Text(
                "Time until the trigger",
                "In how long collection starts, at the rate of that moment; a day stands for a day and more, and for "
                "not filling at all.",
                4,
                alerts=("GcsidecarFillsUp",),
            ),
            Query(f"clamp_max({soonest}, 86400)", "{{filesystem}} {{resource}}"),
            unit=fields.SECONDS,
        )
        .thresholds(below(transparent=60))
        .thresholds_style(at_thresholds())
        .max(86400)
        .fill_opacity(0)
        .scale_distribution(symlog())
    )

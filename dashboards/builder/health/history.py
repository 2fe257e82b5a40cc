"""Does it remember?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.fields import words
from builder.page import Chapter
from builder.panels import Query, Text, bars, states
from builder.scope import FLEET

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import statetimeline, timeseries


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("Does it remember?", (history(), dropped()))


def history() -> statetimeline.Panel:
    """By root."""
    return states(
        Text(
            "History of each root",
            "Whether arrivals, uses and evictions are recorded in .gcsidecar/history.sqlite. Where that can't be, "
            "eviction goes on without.",
            12,
            alerts=("GcsidecarHistoryUnhealthy",),
        ),
        Query(FLEET("gcsidecar_root_history_healthy"), "{{instance}} {{root}}"),
        meanings=words((0, "set aside", fields.ORANGE), (1, "recorded", fields.GREEN)),
    ).no_value("none kept")


def dropped() -> timeseries.Panel:
    """By instance."""
    return bars(
        Text(
            "Records not kept",
            "Records of the history that were dropped, a minute; and histories that were damaged or lost, and begun "
            "anew.",
            12,
            alerts=("GcsidecarHistoryDropsRecords",),
        ),
        Query(f"60 * rate({FLEET('gcsidecar_history_dropped_records_total')}[$__rate_interval])", "{{instance}}"),
        Query(f"60 * rate({FLEET('gcsidecar_history_set_aside_total')}[$__rate_interval])", "{{instance}}: begun anew"),
        unit=fields.PER_MINUTE,
    )

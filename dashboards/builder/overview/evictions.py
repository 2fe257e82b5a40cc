"""What went, and was it right?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.overview.common import EVICTIONS, REGRETS
from builder.page import Chapter
from builder.panels import Query, Text, areas, bars
from builder.scope import FLEET

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import timeseries


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("What went, and was it right?", (evictions(), reclaimed(), regrets()))


def evictions() -> timeseries.Panel:
    """By instance."""
    return bars(
        Text("Evictions", "Folders evicted a minute, by instance.", 8),
        Query(f"60 * sum by (instance) (rate({EVICTIONS}[$__rate_interval]))", "{{instance}}"),
        unit=fields.PER_MINUTE,
    )


def reclaimed() -> timeseries.Panel:
    """By instance."""
    return areas(
        Text("Reclaimed", "What filesystems got back by evictions, by instance, measured right after each.", 8),
        Query(
            f"sum by (instance) (rate({FLEET('gcsidecar_eviction_reclaimed_bytes_total')}[$__rate_interval]))",
            "{{instance}}",
        ),
        unit=fields.BYTES_PER_SECOND,
    )


def regrets() -> timeseries.Panel:
    """By instance."""
    return bars(
        Text(
            "Regretted evictions",
            "Folders a minute that came back soon after their eviction, by instance. Much beside the evictions to the "
            "left, and that cache is too small.",
            8,
        ),
        Query(f"60 * sum by (instance) (rate({REGRETS}[$__rate_interval]))", "{{instance}}"),
        unit=fields.PER_MINUTE,
    )

"""Who owns the disks?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.overview.common import IDLE
from builder.page import Chapter
from builder.panels import Query, Text, areas, coloured_owners
from builder.scope import FLEET

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import timeseries


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("Who owns the disks?", (owners(), idle()))


def owners() -> timeseries.Panel:
    """Of all disks together."""
    sizes = FLEET("gcsidecar_root_size_bytes")
    return coloured_owners(
        areas(
            Text(
                "All disks by owner",
                "What takes up the filesystems with roots, together: folders by state, what isn't ours, what is free. "
                "Only idle folders can be evicted. A filesystem that several sidecars see counts as often.",
                12,
            ),
            Query(f"sum by (state) ({sizes})", "{{state}}"),
            Query(f"sum({FLEET('gcsidecar_filesystem_foreign_bytes')})", "foreign"),
            Query(f"sum({FLEET('gcsidecar_filesystem_disk_free_bytes')})", "free"),
            unit=fields.BYTES,
        )
    )


def idle() -> timeseries.Panel:
    """By instance."""
    return areas(
        Text(
            "What could be reclaimed",
            "What idle folders take, by instance. One that is near its trigger and has little of it is in danger.",
            12,
        ),
        Query(f"sum by (instance) ({IDLE})", "{{instance}}"),
        unit=fields.BYTES,
    )

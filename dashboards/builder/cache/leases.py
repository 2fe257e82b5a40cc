"""Who uses it? Leases, and folders that are on their way out or can't go back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.page import Chapter
from builder.panels import Query, Text, areas, lines
from builder.scope import ROOT

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import timeseries


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("Who uses it?", (leases(), oldest(), under_way()))


def leases() -> timeseries.Panel:
    """By state."""
    return (
        areas(
            Text(
                "Leases",
                "Leases that hold folders. Stale ones were not touched for longer than lease.ttl: their holder may "
                "have died; without a ttl none is ever stale.",
                8,
                alerts=("GcsidecarLeaseStale",),
            ),
            Query(f"sum by (state) ({ROOT('gcsidecar_leases')})", "{{state}}"),
            unit=fields.COUNT,
        )
        .override_by_name("live", [fields.fixed(fields.BLUE)])
        .override_by_name("stale", [fields.fixed(fields.ORANGE)])
    )


def oldest() -> timeseries.Panel:
    """By root."""
    return lines(
        Text(
            "Age of the oldest lease",
            "How long ago the lease was touched that was touched the longest ago. One that only ever grows was left "
            "behind.",
            8,
            alerts=("GcsidecarLeaseOld",),
        ),
        Query(f"time() - min by (root) ({ROOT('gcsidecar_oldest_lease_timestamp_seconds')})", "{{root}}"),
        unit=fields.SECONDS,
    ).no_value("no lease")


def under_way() -> timeseries.Panel:
    """By root."""
    return lines(
        Text(
            "Parked and condemned folders",
            "Parked: leased while on their way out, with their name taken meanwhile; kept until their leases end. "
            "Condemned: out of the way, but not deleted yet; where that lasts, something in them can't be deleted.",
            8,
            alerts=("GcsidecarFolderParked", "GcsidecarCondemnedStay"),
        ),
        Query(f"sum by (root) ({ROOT('gcsidecar_root_parked_folders')})", "{{root}} parked"),
        Query(f"sum by (root) ({ROOT('gcsidecar_root_condemned_folders')})", "{{root}} condemned"),
        unit=fields.COUNT,
    )

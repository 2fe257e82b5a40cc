"""Who uses it? Leases, and folders that are on their way out or can't go back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.page import Chapter
from builder.panels import Query, Text, areas, bars, lines
from builder.scope import ROOT, SIDECAR

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import timeseries


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("Who uses it?", (leases(), oldest(), reaped(), under_way()))


def leases() -> timeseries.Panel:
    """By state."""
    return (
        areas(
            Text(
                "Leases",
                "Leases that hold folders, and dead ones, which hold nothing and could not be removed. Stale ones were "
                "not touched for longer than lease.ttl (for a day, without one), and no lock and no heartbeat vouches "
                "for them: their holders may have died.",
                6,
                alerts=("GcsidecarLeaseStale",),
            ),
            Query(f"sum by (state) ({ROOT('gcsidecar_leases')})", "{{state}}"),
            unit=fields.COUNT,
        )
        .override_by_name("live", [fields.fixed(fields.BLUE)])
        .override_by_name("stale", [fields.fixed(fields.ORANGE)])
        .override_by_name("dead", [fields.fixed(fields.GREY)])
    )


def oldest() -> timeseries.Panel:
    """By root."""
    return lines(
        Text(
            "Age of the oldest lease",
            "How long ago the lease was touched that was touched the longest ago. One that only ever grows was left "
            "behind.",
            6,
            alerts=("GcsidecarLeaseOld",),
        ),
        Query(f"time() - min by (root) ({ROOT('gcsidecar_oldest_lease_timestamp_seconds')})", "{{root}}"),
        unit=fields.SECONDS,
    ).no_value("no lease")


def reaped() -> timeseries.Panel:
    """By why."""
    counted = SIDECAR("gcsidecar_leases_reaped_total")
    return bars(
        Text(
            "Leases reaped",
            "A minute, in all roots. Dead: a client ended without releasing it, and the kernel dropped its lock. "
            "Expired: it was not touched for longer than its ttl. The log names each holder.",
            6,
        ),
        Query(f"60 * sum by (reason) (rate({counted}[$__rate_interval]))", "{{reason}}"),
        unit=fields.PER_MINUTE,
    )


def under_way() -> timeseries.Panel:
    """By root."""
    return lines(
        Text(
            "Parked and condemned folders",
            "Parked: leased while on their way out, with their name taken meanwhile; kept until their leases end. "
            "Condemned: out of the way, but not deleted yet; where that lasts, something in them can't be deleted.",
            6,
            alerts=("GcsidecarFolderParked", "GcsidecarCondemnedStay"),
        ),
        Query(f"sum by (root) ({ROOT('gcsidecar_root_parked_folders')})", "{{root}} parked"),
        Query(f"sum by (root) ({ROOT('gcsidecar_root_condemned_folders')})", "{{root}} condemned"),
        unit=fields.COUNT,
    )

"""What went, and why? What was kept, and what each eviction cost and brought."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.page import Chapter
from builder.panels import Query, Text, bars, heat_map, lines
from builder.scope import FILESYSTEM, ROOT

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import heatmap, timeseries

REASONS = {
    "disk": fields.RED,
    "inodes": fields.ORANGE,
    "memory": fields.PURPLE,
    "size": fields.BLUE,
    "folders": "light-blue",
    "max-idle": fields.GREEN,
}


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("What went, and why?", (evictions(), reclaimed(), kept(), idle(), duration()))


def evictions() -> timeseries.Panel:
    """The timeline, by reason."""
    panel = bars(
        Text(
            "Evictions by reason",
            "Folders evicted a minute, by what was scarce: disk, inodes or memory of the filesystem, size or number of "
            "folders of a capped root, or that they were idle for longer than max_idle.",
            8,
        ),
        Query(f"60 * sum by (reason) (rate({ROOT('gcsidecar_evictions_total')}[$__rate_interval])) > 0", "{{reason}}"),
        unit=fields.PER_MINUTE,
    ).no_value("nothing evicted")
    for reason, colour in REASONS.items():
        panel = panel.override_by_name(reason, [fields.fixed(colour)])
    return panel


def reclaimed() -> timeseries.Panel:
    """Against what was expected."""
    expected, at_once = "gcsidecar_eviction_expected_bytes_total", "gcsidecar_eviction_reclaimed_bytes_total"
    late = FILESYSTEM("gcsidecar_eviction_reclaimed_late_bytes_total")
    return (
        lines(
            Text(
                "Reclaimed against expected",
                "What evictions should have brought by the folders' sizes, and what the filesystem got back, at once "
                "and later. Clearly less than expected: open files, snapshots or reflinks hold it, or others write.",
                8,
                alerts=("GcsidecarReclaimShortfall",),
            ),
            Query(f"sum(rate({ROOT(expected)}[$__rate_interval]))", "expected"),
            Query(f"sum(rate({ROOT(at_once)}[$__rate_interval]))", "reclaimed at once"),
            Query(f"sum(rate({late}[$__rate_interval]))", "reclaimed later"),
            unit=fields.BYTES_PER_SECOND,
        )
        .override_by_name("expected", fields.mark(fields.YELLOW))
        .override_by_name("reclaimed at once", [fields.fixed(fields.GREEN)])
    )


def kept() -> timeseries.Panel:
    """By reason."""
    return bars(
        Text(
            "Kept by reason",
            "How often a minute collections passed by a folder, by the reason to keep it; one that is passed by in ten "
            "collections counts ten times.",
            8,
        ),
        Query(f"60 * sum by (reason) (rate({ROOT('gcsidecar_kept_total')}[$__rate_interval])) > 0", "{{reason}}"),
        unit=fields.PER_MINUTE,
    ).no_value("nothing kept")


def idle() -> heatmap.Panel:
    """As a heatmap."""
    buckets = ROOT("gcsidecar_eviction_idle_seconds_bucket")
    return heat_map(
        Text(
            "Idle time at eviction",
            "How long folders had not been used when they were evicted. Hours: the cache is too small for its work; "
            "weeks: it could be smaller.",
            12,
        ),
        Query(f"sum by (le) (increase({buckets}[$__rate_interval]))", "{{le}}"),
        unit=fields.SECONDS,
    )


def duration() -> heatmap.Panel:
    """As a heatmap."""
    buckets = FILESYSTEM("gcsidecar_eviction_duration_seconds_bucket")
    return heat_map(
        Text(
            "Time to evict a folder",
            "From the decision to the end of the deletion. Where it takes seconds, folders hold very many files, or "
            "the disk is slow: the margin below the trigger has to be larger then.",
            12,
        ),
        Query(f"sum by (le) (increase({buckets}[$__rate_interval]))", "{{le}}"),
        unit=fields.SECONDS,
    )

"""Was it right? Whether anybody wanted back what was evicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.page import Chapter
from builder.panels import Query, Text, bars, lines
from builder.scope import ROOT

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import timeseries


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("Was it right?", (regrets(), regretted_bytes(), median_idle()))


def regrets() -> timeseries.Panel:
    """In number."""
    return bars(
        Text(
            "Regrets",
            "Folders a minute that came back under the name of one evicted less than regret_window ago: somebody "
            "wanted it after all.",
            8,
            alerts=("GcsidecarRegretsHigh",),
        ),
        Query(f"60 * sum by (root) (rate({ROOT('gcsidecar_regrets_total')}[$__rate_interval]))", "{{root}}"),
        unit=fields.PER_MINUTE,
    )


def regretted_bytes() -> timeseries.Panel:
    """What they took."""
    return lines(
        Text(
            "Regretted bytes in the time range",
            "What the folders that came back took when they were evicted, added up over the time range: about by how "
            "much the cache is too small.",
            8,
        ),
        Query(f"sum by (root) (increase({ROOT('gcsidecar_regretted_bytes_total')}[$__range]))", "{{root}}"),
        unit=fields.BYTES,
    )


def median_idle() -> timeseries.Panel:
    """By root."""
    buckets = ROOT("gcsidecar_eviction_idle_seconds_bucket")
    return lines(
        Text(
            "Median idle time at eviction",
            "Half of the folders evicted in the time range had not been used for longer than this. What jobs come "
            "back for within that time isn't lost.",
            8,
        ),
        Query(
            f"histogram_quantile(0.5, sum by (root, le) (increase({buckets}[$__range])))",
            "{{root}}",
        ),
        unit=fields.SECONDS,
    )

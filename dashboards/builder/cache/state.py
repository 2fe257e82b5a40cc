"""Is anything wrong? The pressure on dials, and numbers that say how the cache does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.fields import above, below, plain
from builder.page import Chapter
from builder.panels import Query, Text, dial, stat
from builder.scope import FILESYSTEM, ROOT

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import gauge
    from grafana_foundation_sdk.builders import stat as stats


def chapter() -> Chapter:
    """Its panels."""
    return Chapter(
        "Is anything wrong?", (pressure(), time_to_trigger(), idle(), leased(), evicted(), failed(), regretted())
    )


def pressure() -> gauge.Panel:
    """Of each resource."""
    return (
        dial(
            Text(
                "Pressure",
                "How near collection is, for each resource of each filesystem: at 100 % it starts, and it stops at the "
                "target, which the panel below draws.",
                6,
                5,
            ),
            Query(
                f"max by (filesystem, resource) ({FILESYSTEM('gcsidecar_filesystem_pressure_ratio')})",
                "{{filesystem}} {{resource}}",
            ),
            unit=fields.RATIO,
        )
        .thresholds(above(yellow=0.9, red=1))
        .min(0)
        .max(1.2)
        .decimals(0)
    )


def time_to_trigger() -> stats.Panel:
    """Of the resource that runs out first."""
    soonest = f"min({FILESYSTEM('gcsidecar_filesystem_time_to_trigger_seconds')})"
    return (
        stat(
            Text("Time to the trigger", "In how long collection starts, at the present rate of filling.", 3, 5),
            Query(f"clamp_max({soonest}, {fields.WEEK_SECONDS})"),
            unit=fields.SECONDS,
        )
        .mappings([fields.TIME_TO_TRIGGER])
        .thresholds(below(orange=60, green=3600))
    )


def idle() -> stats.Panel:
    """In bytes."""
    return stat(
        Text("Could be reclaimed", "What the idle folders take: all that may be evicted now.", 3, 5),
        Query(f"sum({ROOT('gcsidecar_root_size_bytes', state='idle')})"),
        unit=fields.BYTES,
    ).thresholds(plain())


def leased() -> stats.Panel:
    """Of how many."""
    folders = ROOT("gcsidecar_root_folders")
    return stat(
        Text("Folders in use", "Folders with a lease; beside them, how many there are.", 3, 5),
        Query(f"sum({ROOT('gcsidecar_root_folders', state='leased')})", "in use"),
        Query(f"sum({folders})", "of"),
        unit=fields.COUNT,
    ).thresholds(plain())


def evicted() -> stats.Panel:
    """In the time range."""
    return (
        stat(
            Text("Evictions", "Folders evicted in the time range.", 3, 5),
            Query(f"sum(increase({ROOT('gcsidecar_evictions_total')}[$__range]))"),
            unit=fields.COUNT,
        )
        .decimals(0)
        .thresholds(plain())
    )


def failed() -> stats.Panel:
    """In the time range."""
    return (
        stat(
            Text(
                "Failed evictions",
                "Tries that failed in the time range; the log says why, and each is tried again.",
                3,
                5,
                alerts=("GcsidecarEvictionsFailing",),
            ),
            Query(f"sum(increase({ROOT('gcsidecar_eviction_failures_total')}[$__range]))"),
            unit=fields.COUNT,
        )
        .decimals(0)
        .thresholds(above(orange=1, red=10))
    )


def regretted() -> stats.Panel:
    """As a share."""
    evictions = f"sum(increase({ROOT('gcsidecar_evictions_total')}[$__range]))"
    return stat(
        Text(
            "Regretted",
            "How much of what was evicted in the time range came back soon after. Above a tenth: the cache is too "
            "small.",
            3,
            5,
            alerts=("GcsidecarRegretsHigh",),
        ),
        Query(f"sum(increase({ROOT('gcsidecar_regrets_total')}[$__range])) / ({evictions} > 0) or vector(0)"),
        unit=fields.RATIO,
    ).thresholds(above(yellow=0.1, orange=0.3))

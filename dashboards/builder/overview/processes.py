"""The sidecars as processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.page import Chapter
from builder.panels import Query, Text, areas, lines
from builder.scope import FLEET

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import timeseries


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("The sidecars themselves", (versions(), memory(), cpu()), folded=True)


def versions() -> timeseries.Panel:
    """How many run each."""
    return areas(
        Text("Versions", "Sidecars by version: whether a rollout is over.", 8),
        Query(f"count by (version) ({FLEET('gcsidecar_build_info')})", "{{version}}"),
        unit=fields.COUNT,
    )


def memory() -> timeseries.Panel:
    """By instance."""
    return lines(
        Text(
            "Memory of the sidecars",
            "Resident memory. It follows the number of folders, and doesn't grow by itself.",
            8,
        ),
        Query(FLEET("process_resident_memory_bytes"), "{{instance}}"),
        unit=fields.BYTES,
    )


def cpu() -> timeseries.Panel:
    """By instance."""
    return lines(
        Text("CPU of the sidecars", "Of one core; at rest a thousandth of it.", 8),
        Query(f"rate({FLEET('process_cpu_seconds_total')}[$__rate_interval])", "{{instance}}"),
        unit=fields.RATIO,
    )

"""What does it cost?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.page import Chapter
from builder.panels import Query, Text, lines
from builder.scope import FLEET

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import timeseries


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("What does it cost?", (cpu(), memory(), descriptors(), scrapes(), series()))


def cpu() -> timeseries.Panel:
    """By instance."""
    return lines(
        Text("CPU", "Of one core; at rest a thousandth of it.", 8),
        Query(f"rate({FLEET('process_cpu_seconds_total')}[$__rate_interval])", "{{instance}}"),
        unit=fields.RATIO,
    )


def memory() -> timeseries.Panel:
    """By instance."""
    return lines(
        Text("Resident memory", "It follows the number of folders, and doesn't grow by itself.", 8),
        Query(FLEET("process_resident_memory_bytes"), "{{instance}}"),
        unit=fields.BYTES,
    )


def descriptors() -> timeseries.Panel:
    """By instance."""
    return lines(
        Text(
            "Open files, of those allowed",
            "The share of file descriptors in use. At 100 % nothing more can be opened.",
            8,
        ),
        Query(f"{FLEET('process_open_fds')} / {FLEET('process_max_fds')}", "{{instance}}"),
        unit=fields.RATIO,
    )


def scrapes() -> timeseries.Panel:
    """By instance."""
    return lines(
        Text("Duration of a scrape", "As Prometheus sees it. Above a second something is wrong.", 12),
        Query(FLEET("scrape_duration_seconds"), "{{instance}}"),
        unit=fields.SECONDS,
    )


def series() -> timeseries.Panel:
    """By instance."""
    return lines(
        Text("Series of a scrape", "How many series each gives: it follows the config, not what the caches hold.", 12),
        Query(FLEET("scrape_samples_scraped"), "{{instance}}"),
        unit=fields.COUNT,
    )

"""What fails?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.page import Chapter
from builder.panels import Query, Text, bars, lines
from builder.scope import FLEET

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import timeseries


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("What fails?", (failures(), held_back(), reloads()))


def failures() -> timeseries.Panel:
    """By root."""
    failed = FLEET("gcsidecar_eviction_failures_total")
    return bars(
        Text(
            "Failed tries to evict",
            "A minute, by root. The log says which folder, and why.",
            8,
            alerts=("GcsidecarEvictionsFailing",),
        ),
        Query(f"60 * sum by (instance, root) (rate({failed}[$__rate_interval]))", "{{instance}} {{root}}"),
        unit=fields.PER_MINUTE,
    )


def held_back() -> timeseries.Panel:
    """By filesystem."""
    name = "{{instance}} {{filesystem}}"
    return lines(
        Text(
            "Held back",
            "Folders whose eviction failed and that wait for another try; and 1 where eviction is paused, since it "
            "brought back much less than it should.",
            8,
            alerts=("GcsidecarFoldersBackedOff", "GcsidecarEvictionPaused"),
        ),
        Query(FLEET("gcsidecar_filesystem_backed_off_folders"), f"{name} backed off"),
        Query(FLEET("gcsidecar_filesystem_paused"), f"{name} paused"),
        unit=fields.COUNT,
    )


def reloads() -> timeseries.Panel:
    """By instance."""
    return bars(
        Text(
            "Reloads of the config",
            "A minute: all that were tried, and those that were refused.",
            8,
            alerts=("GcsidecarConfigReloadFailed",),
        ),
        Query(f"60 * rate({FLEET('gcsidecar_config_reloads_total')}[$__rate_interval])", "{{instance}} tried"),
        Query(
            f"60 * rate({FLEET('gcsidecar_config_reload_failures_total')}[$__rate_interval])", "{{instance}} refused"
        ),
        unit=fields.PER_MINUTE,
    )

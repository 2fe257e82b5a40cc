"""Are the caps kept? Budgets of single roots, where the config has any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.fields import above, below
from builder.page import Chapter
from builder.panels import Query, Text, at_thresholds, lines, states, symlog
from builder.scope import ROOT

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import statetimeline, timeseries

OWN = ROOT("gcsidecar_root_own_size_bytes")
NAME = "{{root}} {{resource}}"


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("Are the caps kept?", (pressure(), time_to_cap(), unmeetable(), size(), folders()))


def pressure() -> timeseries.Panel:
    """Of each cap."""
    return (
        lines(
            Text(
                "Pressure of the caps",
                "How near a root is to its max_size or max_folders: 100 % is exactly at it.",
                8,
                alerts=("GcsidecarCapExceeded",),
            ),
            Query(f"max by (root, resource) ({ROOT('gcsidecar_root_cap_pressure_ratio')})", NAME),
            unit=fields.RATIO,
        )
        .thresholds(above(red=1))
        .no_value("no caps")
        .thresholds_style(at_thresholds())
    )


def time_to_cap() -> timeseries.Panel:
    """Of each cap."""
    return (
        lines(
            Text(
                "Time until the cap",
                "In how long a root reaches its cap at the rate of that moment; a day stands for a day and more.",
                8,
            ),
            Query(
                f"clamp_max(min by (root, resource) ({ROOT('gcsidecar_root_cap_time_to_trigger_seconds')}), 86400)",
                NAME,
            ),
            unit=fields.SECONDS,
        )
        .thresholds(below(transparent=60))
        .no_value("no caps")
        .thresholds_style(at_thresholds())
        .max(86400)
        .fill_opacity(0)
        .scale_distribution(symlog())
    )


def unmeetable() -> statetimeline.Panel:
    """Of each cap."""
    return states(
        Text(
            "Caps that can't be met",
            "Where a root is above its cap and would be even without its idle folders: what is leased, pinned or young "
            "takes more by itself. Raise the cap, or pin less.",
            8,
            alerts=("GcsidecarCapUnmeetable",),
        ),
        Query(f"max by (root, resource) ({ROOT('gcsidecar_root_cap_unmeetable')})", NAME),
        meanings=fields.words((0, "can be met", fields.GREEN), (1, "can't be met", fields.RED)),
    ).no_value("no caps")


def size() -> timeseries.Panel:
    """Against its cap."""
    taken = f"sum by (root) ({ROOT('gcsidecar_root_size_bytes')}) + sum by (root) ({OWN})"
    return _against(
        Text("Size against max_size", "What a root takes, .gcsidecar/ included, and its max_size and target_size.", 12),
        Query(f"({taken}) and sum by (root) ({ROOT('gcsidecar_root_max_size_bytes')})", "{{root}}"),
        Query(f"max by (root) ({ROOT('gcsidecar_root_max_size_bytes')})", "{{root}} max_size"),
        Query(f"max by (root) ({ROOT('gcsidecar_root_target_size_bytes')})", "{{root}} target_size"),
        unit=fields.BYTES,
    )


def folders() -> timeseries.Panel:
    """Against its cap."""
    cap = ROOT("gcsidecar_root_max_folders")
    return _against(
        Text("Folders against max_folders", "How many folders a root has, and how many it may have.", 12),
        Query(f"sum by (root) ({ROOT('gcsidecar_root_folders')}) and max by (root) ({cap})", "{{root}}"),
        Query(f"max by (root) ({cap})", "{{root}} max_folders"),
        unit=fields.COUNT,
    )


def _against(text: Text, *queries: Query, unit: str) -> timeseries.Panel:
    """What there is, and the marks that it is compared with."""
    panel = (
        lines(text, *queries, unit=unit)
        .no_value("no such cap")
        .override_by_regexp(".* max_.*", fields.mark(fields.RED))
    )
    return panel.override_by_regexp(".* target_.*", fields.mark(fields.GREEN))

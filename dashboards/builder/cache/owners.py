"""Who owns the disk?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.fields import cell, prop
from builder.page import Chapter
from builder.panels import Column, Query, Text, areas, coloured_owners, rows
from builder.scope import FILESYSTEM, ROOT, SIDECAR

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import table, timeseries

# All roots of the filesystems shown, whichever are chosen: a disk has one account.
OF_FILESYSTEM = f"* on (root) group_left (filesystem) {FILESYSTEM('gcsidecar_filesystem_info')}"
HOUR, DAY = 3600, 86400


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("Who owns the disk?", (owners(), top(), folders(), sizes()))


def owners() -> timeseries.Panel:
    """The account of the whole disk."""
    size, most = "gcsidecar_root_size_bytes", "gcsidecar_filesystem_disk_capacity_bytes"
    trigger = f"{FILESYSTEM(most)} - {FILESYSTEM('gcsidecar_filesystem_disk_trigger_bytes')}"
    kept = SIDECAR.within('state!="idle"')(size)
    idle = SIDECAR(size, state="idle")
    panel = areas(
        Text(
            "Who owns the disk",
            "All of the filesystem: folders that stay (leased, pinned, young), idle ones of each root, which can be "
            "evicted, .gcsidecar/, what isn't ours at all (foreign), and what is free. When all but the free reaches "
            "the dashed line, eviction starts.",
            14,
            10,
            alerts=("GcsidecarForeignUseHigh",),
        ),
        Query(f"sum by (state) ({kept} {OF_FILESYSTEM})", "{{state}}"),
        Query(f"sum by (root) ({idle} {OF_FILESYSTEM})", "idle in {{root}}"),
        Query(f"sum({SIDECAR('gcsidecar_root_own_size_bytes')} {OF_FILESYSTEM})", ".gcsidecar/"),
        Query(f"sum({FILESYSTEM('gcsidecar_filesystem_foreign_bytes')})", "foreign"),
        Query(f"sum({FILESYSTEM('gcsidecar_filesystem_disk_free_bytes')})", "free"),
        Query(f"sum({trigger})", "trigger"),
        unit=fields.BYTES,
    )
    panel = panel.override_by_regexp("^idle in", [prop("color", {"mode": "shades", "fixedColor": fields.GREEN})])
    return coloured_owners(panel).override_by_name("trigger", fields.mark(fields.RED))


def top() -> table.Panel:
    """The largest folders."""
    size = ROOT("gcsidecar_folder_size_bytes")
    used = ROOT("gcsidecar_folder_last_used_timestamp_seconds")
    return rows(
        Text(
            "Largest folders",
            "The largest folders of each root (its top_folders), and how long they have not been used. The first to go "
            "are those idle for longest, whatever their size.",
            10,
            10,
        ),
        Column(
            "Size",
            Query(f"max by (root, folder) ({size})"),
            fields.BYTES,
            (
                prop("custom.cellOptions", {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}),
                prop("min", 0),
            ),
        ),
        Column("Idle", Query(f"time() - max by (root, folder) ({used})"), fields.SECONDS, cell()),
        keys=("root", "folder"),
        sort=(("Size", True),),
    )


def folders() -> timeseries.Panel:
    """By state."""
    return coloured_owners(
        areas(
            Text("Folders by state", "How many folders there are; only idle ones may be evicted.", 12),
            Query(f"sum by (state) ({ROOT('gcsidecar_root_folders')})", "{{state}}"),
            Query(f"sum({ROOT('gcsidecar_root_unmeasured_folders')})", "not measured yet"),
            unit=fields.COUNT,
        )
    ).override_by_name("not measured yet", fields.mark(fields.ORANGE))


def sizes() -> timeseries.Panel:
    """By root."""
    return areas(
        Text("Size by root", "What the folders of each root take on disk.", 12),
        Query(f"sum by (root) ({ROOT('gcsidecar_root_size_bytes')})", "{{root}}"),
        unit=fields.BYTES,
    )

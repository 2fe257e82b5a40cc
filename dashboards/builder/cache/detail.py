"""What one looks at more rarely: how collections go, other resources than the disk, how much tasks wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.page import Chapter
from builder.panels import Query, Text, areas, bars, lines
from builder.scope import FILESYSTEM, ROOT, SIDECAR

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import timeseries

PER_SECOND = "suffix:/s"
AGAINST = "The dashed lines are the trigger, below which folders are evicted, and the target, at which that stops."
WAY = (
    "What is missing to the target, and what evictions should bring and hasn't come back yet; for that nothing more is "
    "evicted until the filesystem had time to settle."
)


def chapters() -> tuple[Chapter, ...]:
    """Folded away at first."""
    disk, inodes, memory = (f"gcsidecar_filesystem_{name}" for name in ("disk", "inodes", "memory"))
    bytes_on_way = "on_its_way_bytes"
    return (
        Chapter(
            "How do collections go?",
            (
                collections(),
                _under_way("Disk on its way", f"{disk}_deficit_bytes", f"{disk}_{bytes_on_way}", fields.BYTES, 6),
                unsure(),
                planned(),
            ),
            folded=True,
        ),
        Chapter(
            "Inodes",
            (
                _free("Free inodes", f"{inodes}_free", f"{inodes}_trigger", f"{inodes}_target", fields.COUNT),
                _under_way("Inodes on their way", f"{inodes}_deficit", f"{inodes}_on_its_way", fields.COUNT, 8),
                _fill("Fill rate of inodes", f"{inodes}_fill_per_second", PER_SECOND),
                inodes_by_root(),
                reclaimed_inodes(),
            ),
            folded=True,
        ),
        Chapter(
            "Memory",
            (
                _free(
                    "Free memory",
                    f"{memory}_free_bytes",
                    f"{memory}_trigger_bytes",
                    f"{memory}_target_bytes",
                    fields.BYTES,
                ),
                _under_way("Memory on its way", f"{memory}_deficit_bytes", f"{memory}_{bytes_on_way}", fields.BYTES, 8),
                _fill("Fill rate of memory", f"{memory}_fill_bytes_per_second", fields.BYTES_PER_SECOND),
            ),
            folded=True,
        ),
        Chapter("Who waits?", (waiting("io", "IO"), waiting("memory", "memory")), folded=True),
    )


def collections() -> timeseries.Panel:
    """By filesystem."""
    rate = f"rate({FILESYSTEM('gcsidecar_collections_total')}[$__rate_interval])"
    return bars(
        Text("Collections", "How often a minute something was found scarce or overdue; it may evict many, or none.", 6),
        Query(f"60 * sum by (filesystem) ({rate})", "{{filesystem}}"),
        unit=fields.PER_MINUTE,
    )


def unsure() -> timeseries.Panel:
    """By kind."""
    return bars(
        Text(
            "Evictions with a question mark",
            "A minute: folders that had not been measured yet, with nothing expected of them; and evictions in which "
            "others took more meanwhile than came back, so that what they brought isn't known.",
            6,
        ),
        *(
            Query(f"60 * sum(rate({FILESYSTEM(metric)}[$__rate_interval]))", name)
            for metric, name in (
                ("gcsidecar_evictions_of_unknown_size_total", "of unknown size"),
                ("gcsidecar_evictions_clamped_total", "overtaken by writers"),
            )
        ),
        unit=fields.PER_MINUTE,
    )


def planned() -> timeseries.Panel:
    """By filesystem."""
    return lines(
        Text("Planned in a dry run", "With dry_run: how many folders would be evicted now. Otherwise 0.", 6),
        Query(
            f"max by (filesystem) ({FILESYSTEM('gcsidecar_filesystem_planned_folders')})",
            "{{filesystem}}",
        ),
        unit=fields.COUNT,
    )


def inodes_by_root() -> timeseries.Panel:
    """Of the folders."""
    return areas(
        Text("Inodes by root", "How many files and directories the folders of each root have.", 12),
        Query(f"sum by (root) ({ROOT('gcsidecar_root_inodes')})", "{{root}}"),
        unit=fields.COUNT,
    )


def reclaimed_inodes() -> timeseries.Panel:
    """Against what was expected."""
    expected = FILESYSTEM("gcsidecar_eviction_expected_inodes_total")
    reclaimed = FILESYSTEM("gcsidecar_eviction_reclaimed_inodes_total")
    return lines(
        Text(
            "Reclaimed against expected inodes", "What evictions should have brought, and what came back at once.", 12
        ),
        Query(f"sum(rate({expected}[$__rate_interval]))", "expected"),
        Query(f"sum(rate({reclaimed}[$__rate_interval]))", "reclaimed"),
        unit=PER_SECOND,
    ).override_by_name("expected", fields.mark(fields.YELLOW))


def waiting(resource: str, name: str) -> timeseries.Panel:
    """For one resource."""
    some, full = "gcsidecar_psi_waiting_seconds_total", "gcsidecar_psi_stalled_seconds_total"
    return lines(
        Text(
            f"Waiting for {name}",
            "The share of time in which some tasks (waiting) or all of them (stalled) stood still, by the kernel's "
            "count (PSI), of the host or of the sidecar's cgroup; empty where the kernel doesn't count.",
            12,
        ),
        Query(f"rate({SIDECAR(some, resource=resource)}[$__rate_interval])", "{{scope}} waiting"),
        Query(f"rate({SIDECAR(full, resource=resource)}[$__rate_interval])", "{{scope}} stalled"),
        unit=fields.RATIO,
    ).no_value("not counted here")


def _free(title: str, free: str, trigger: str, target: str, unit: str) -> timeseries.Panel:
    """What is free, and the marks that it is compared with."""
    panel = lines(
        Text(title, f"What writers may still take; empty where it isn't watched. {AGAINST}", 8),
        Query(f"max by (filesystem) ({FILESYSTEM(free)})", "{{filesystem}}"),
        Query(f"max by (filesystem) ({FILESYSTEM(trigger)})", "{{filesystem}} trigger"),
        Query(f"max by (filesystem) ({FILESYSTEM(target)})", "{{filesystem}} target"),
        unit=unit,
    ).no_value("not watched")
    panel = panel.override_by_regexp(".* trigger$", fields.mark(fields.RED))
    return panel.override_by_regexp(".* target$", fields.mark(fields.GREEN))


def _under_way(title: str, deficit: str, on_its_way: str, unit: str, width: int) -> timeseries.Panel:
    """What is missing, and what is about to come."""
    return lines(
        Text(title, WAY, width),
        Query(f"max by (filesystem) ({FILESYSTEM(deficit)})", "{{filesystem}} missing"),
        Query(f"max by (filesystem) ({FILESYSTEM(on_its_way)})", "{{filesystem}} on its way"),
        unit=unit,
    ).no_value("not watched")


def _fill(title: str, rate: str, unit: str) -> timeseries.Panel:
    """How fast it is used up."""
    return lines(
        Text(title, "How fast it is used up, as the sidecar measures it, evictions left out.", 8),
        Query(f"max by (filesystem) ({FILESYSTEM(rate)})", "{{filesystem}}"),
        unit=unit,
    ).no_value("not watched")

"""Does it see what happens?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.fields import words
from builder.health.numbered import meanings, numbered
from builder.page import Chapter
from builder.panels import Query, Text, bars, lines, states
from builder.scope import FLEET

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import statetimeline, timeseries


WATCHING = {"ok": fields.GREEN, "degraded": fields.ORANGE, "off": fields.RED}
OK = words((0, "failed", fields.RED), (1, "ok", fields.GREEN))


def chapter() -> Chapter:
    """Its panels."""
    return Chapter(
        "Does it see what happens?",
        (
            *(measured(), reconciled(), watching(), measurements(), refused(), overflows()),
            *(oldest_size(), unmeasured(), measuring()),
        ),
    )


def measured() -> timeseries.Panel:
    """By filesystem."""
    at = FLEET("gcsidecar_filesystem_last_measurement_timestamp_seconds")
    return lines(
        Text(
            "Age of the measurements",
            "How old the figures of each filesystem are: seconds at most. Nothing is evicted on old ones.",
            8,
            alerts=("GcsidecarMeasurementStale",),
        ),
        Query(f"time() - min by (instance, filesystem) ({at} > 0)", "{{instance}} {{filesystem}}"),
        unit=fields.SECONDS,
    )


def reconciled() -> timeseries.Panel:
    """By root."""
    at = FLEET("gcsidecar_root_last_reconcile_timestamp_seconds")
    return lines(
        Text(
            "Age of the last reconciling",
            "How long ago all folders of a root were compared with what is on disk: what watching has missed is seen "
            "then.",
            8,
            alerts=("GcsidecarReconcileStale",),
        ),
        Query(f"time() - min by (instance, root) ({at} > 0)", "{{instance}} {{root}}"),
        unit=fields.SECONDS,
    )


def watching() -> statetimeline.Panel:
    """By instance."""
    return states(
        Text(
            "Watching, by instance",
            "ok; degraded: some directories can't be watched, mostly since fs.inotify.max_user_watches is used up.",
            8,
            alerts=("GcsidecarWatchDegraded",),
        ),
        Query(numbered("gcsidecar_watch_state", "state", WATCHING, "instance"), "{{instance}}"),
        meanings=meanings(WATCHING),
    )


def measurements() -> statetimeline.Panel:
    """By filesystem and root."""
    return states(
        Text(
            "Measuring and reconciling",
            "Whether the last measurement of each filesystem and the last comparison of each root with what is on disk "
            "went well.",
            8,
        ),
        Query(FLEET("gcsidecar_filesystem_last_measurement_successful"), "{{instance}} {{filesystem}} measured"),
        Query(FLEET("gcsidecar_root_last_reconcile_successful"), "{{instance}} {{root}} reconciled"),
        meanings=OK,
    )


def refused() -> timeseries.Panel:
    """By instance."""
    return lines(
        Text(
            "Watched and refused directories",
            "One inotify watch each. Where some are refused, raise fs.inotify.max_user_watches by as many at least.",
            8,
        ),
        Query(FLEET("gcsidecar_watch_directories"), "{{instance}} watched"),
        Query(FLEET("gcsidecar_watch_refused_directories"), "{{instance}} refused"),
        unit=fields.COUNT,
    )


def overflows() -> timeseries.Panel:
    """By instance."""
    return bars(
        Text(
            "Lost events",
            "Overflows of the kernel's event queue a minute, each mended by reconciling (raise "
            "fs.inotify.max_queued_events), and restarts of the watching thread, which are a defect worth a report.",
            8,
        ),
        Query(f"60 * rate({FLEET('gcsidecar_watch_overflows_total')}[$__rate_interval])", "{{instance}} overflows"),
        Query(f"60 * rate({FLEET('gcsidecar_watch_restarts_total')}[$__rate_interval])", "{{instance}} restarts"),
        unit=fields.PER_MINUTE,
    )


def oldest_size() -> timeseries.Panel:
    """By filesystem."""
    at = FLEET("gcsidecar_filesystem_oldest_size_timestamp_seconds")
    return lines(
        Text(
            "Age of the oldest size",
            "How long ago that folder was measured which was measured the longest ago: a day and some hours at most, "
            "unless measure.stale_after says otherwise. Each is looked at before it goes.",
            8,
        ),
        Query(f"time() - min by (instance, filesystem) ({at})", "{{instance}} {{filesystem}}"),
        unit=fields.SECONDS,
    )


def unmeasured() -> timeseries.Panel:
    """By filesystem."""
    return lines(
        Text(
            "Folders never measured",
            "The share of folders whose size isn't known: 0 soon after the first scan. Until then caps know too "
            "little, and what is foreign seems too much.",
            8,
            alerts=("GcsidecarSizesUnknown",),
        ),
        Query(FLEET("gcsidecar_filesystem_unmeasured_ratio"), "{{instance}} {{filesystem}}"),
        unit=fields.RATIO,
    )


def measuring() -> timeseries.Panel:
    """By filesystem."""
    name = "{{instance}} {{filesystem}}"
    entries = FLEET("gcsidecar_filesystem_size_entries_total")
    return lines(
        Text(
            "What it takes to know sizes",
            "Files and directories looked at a second, and folders that a process of its own is still to measure: a "
            "first scan, or large ones.",
            8,
        ),
        Query(f"rate({entries}[$__rate_interval])", f"{name} a second"),
        Query(FLEET("gcsidecar_filesystem_measuring_folders"), f"{name} waiting"),
        unit=fields.COUNT,
    )

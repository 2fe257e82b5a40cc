"""Is anything wrong? The worst of all sidecars that are chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.fields import above, words
from builder.panels import Query, Text, stat
from builder.scope import FLEET

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat as stats


def numbers() -> tuple[stats.Panel, ...]:
    """Beside each other."""
    measured_at = FLEET("gcsidecar_filesystem_last_measurement_timestamp_seconds")
    unwatched = FLEET("gcsidecar_watch_state", state="ok")
    return (
        stat(
            Text("Up", "Whether Prometheus can scrape them; one that is down counts for all.", 3, 4),
            Query(f"min({FLEET('up')})"),
            unit=fields.NO_UNIT,
        ).mappings([words((0, "down", fields.RED), (1, "up", fields.GREEN))]),
        stat(
            Text("Up for", "The shortest time since a start.", 3, 4),
            Query(f"time() - max({FLEET('process_start_time_seconds')})"),
            unit=fields.SECONDS,
        ).thresholds(above(green=0)),
        stat(
            Text("Restarts", "Starts of the processes in the time range.", 3, 4),
            Query(f"sum(changes({FLEET('process_start_time_seconds')}[$__range]))"),
            unit=fields.COUNT,
        ).thresholds(above(yellow=1, red=5)),
        stat(
            Text(
                "Config",
                "Whether the config file was accepted when it was last read. If not, the one before is in force.",
                3,
                4,
            ),
            Query(f"min({FLEET('gcsidecar_config_last_reload_successful')})"),
            unit=fields.NO_UNIT,
        ).mappings([words((0, "refused", fields.RED), (1, "accepted", fields.GREEN))]),
        stat(
            Text(
                "Watching",
                "Whether every directory is watched. If not, changes are seen later, but never wrongly.",
                3,
                4,
            ),
            Query(f"min({unwatched} == bool 1)"),
            unit=fields.NO_UNIT,
        ).mappings([words((0, "degraded", fields.ORANGE), (1, "ok", fields.GREEN))]),
        stat(
            Text("Measured before", "The age of the oldest measurement. Nothing is evicted on old figures.", 3, 4),
            Query(f"time() - min({measured_at} > 0)"),
            unit=fields.SECONDS,
        )
        .decimals(1)
        .thresholds(above(orange=30, red=60)),
        stat(
            Text("History", "Whether what happened is being recorded. Without it nothing else suffers.", 3, 4),
            Query(f"min({FLEET('gcsidecar_root_history_healthy')})"),
            unit=fields.NO_UNIT,
        )
        .mappings([words((0, "set aside", fields.ORANGE), (1, "recorded", fields.GREEN))])
        .no_value("none kept"),
        stat(
            Text("Dry runs", "Sidecars that only plan, and evict nothing.", 3, 4),
            Query(f"sum({FLEET('gcsidecar_dry_run')})"),
            unit=fields.COUNT,
        ).thresholds(above(yellow=1)),
    )

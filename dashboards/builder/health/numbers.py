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
    watched = FLEET("gcsidecar_watch_state", state="ok")
    return (
        _state(
            "Up",
            "Whether Prometheus can scrape them; one that is down counts for all.",
            f"min({FLEET('up')})",
            ("down", fields.RED, "up"),
            "GcsidecarDown",
            "GcsidecarAbsent",
        ),
        _number(
            "Up for",
            "The shortest time since a start.",
            f"time() - max({FLEET('process_start_time_seconds')})",
            unit=fields.SECONDS,
        ).thresholds(above()),
        _number(
            "Restarts",
            "Starts of the processes in the time range.",
            f"sum(changes({FLEET('process_start_time_seconds')}[$__range]))",
            "GcsidecarRestartsOften",
        ).thresholds(above(yellow=1, red=5)),
        _state(
            "Config",
            "Whether the config file was accepted when it was last read. If not, the one before is in force.",
            f"min({FLEET('gcsidecar_config_last_reload_successful')})",
            ("refused", fields.RED, "accepted"),
            "GcsidecarConfigReloadFailed",
        ),
        _state(
            "Watching",
            "Whether every directory is watched. If not, changes are seen later, but never wrongly.",
            f"min({watched} == bool 1)",
            ("degraded", fields.ORANGE, "ok"),
            "GcsidecarWatchDegraded",
        ),
        _number(
            "Measured before",
            "The age of the oldest measurement. Nothing is evicted on old figures.",
            f"time() - min({measured_at} > 0)",
            "GcsidecarMeasurementStale",
            unit=fields.SECONDS,
        )
        .decimals(1)
        .thresholds(above(orange=30, red=60)),
        _state(
            "History",
            "Whether what happened is being recorded. Without it nothing else suffers.",
            f"min({FLEET('gcsidecar_root_history_healthy')})",
            ("set aside", fields.ORANGE, "recorded"),
            "GcsidecarHistoryUnhealthy",
        ).no_value("none kept"),
        _number(
            "Dry runs",
            "Sidecars that only plan, and evict nothing.",
            f"sum({FLEET('gcsidecar_dry_run')})",
            "GcsidecarDryRun",
        ).thresholds(above(yellow=1)),
    )


def _number(title: str, what: str, expr: str, *alerts: str, unit: str = fields.COUNT) -> stats.Panel:
    return stat(Text(title, what, 3, 4, alerts), Query(expr), unit=unit)


def _state(title: str, what: str, expr: str, said: tuple[str, str, str], *alerts: str) -> stats.Panel:
    """A word and its colour in place of 0, and a word in place of 1."""
    bad, colour, good = said
    return _number(title, what, expr, *alerts, unit=fields.NO_UNIT).mappings(
        [words((0, bad, colour), (1, good, fields.GREEN))]
    )

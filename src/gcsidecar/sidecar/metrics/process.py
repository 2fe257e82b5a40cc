"""The metrics of the process: what runs, with which config, and how it watches.

Declarations only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.sidecar.metrics import labels
from gcsidecar.sidecar.metrics.metric import Label, Metric
from gcsidecar.sidecar.metrics.readers import counted_by_process, of_process, one_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from gcsidecar.sidecar.metrics.metric import Reader
    from gcsidecar.sidecar.stalls import Stall
    from gcsidecar.sidecar.status import Status

NEVER = "never"


def _gauge(name: str, help_: str, value: Callable[[Status], float], query: str) -> Metric:
    return Metric(name, "gauge", help_, of_process(value), query, NEVER)


def _one(
    name: str, kind: Literal["gauge", "counter", "info"], help_: str, read: Reader, query: str, *its_labels: Label
) -> Metric:
    return Metric(name, kind, help_, read, query, NEVER, its_labels)


BUILD = _one(
    "gcsidecar_build_info",
    "info",
    "Always 1; the version of gcsidecar that runs is its label.",
    lambda view: [((view.version,), 1)],
    "count by (version) (gcsidecar_build_info)",
    labels.VERSION,
)
DRY_RUN = _gauge(
    "gcsidecar_dry_run",
    "1 where the sidecar plans and exports but evicts nothing (dry_run in the config), else 0.",
    lambda status: status.dry_run,
    "gcsidecar_dry_run == 1",
)
CONFIG_OK = _gauge(
    "gcsidecar_config_last_reload_successful",
    "1 where the config file, and the web config if there is one, were accepted when they were last read; 0 where one "
    "was refused and the one before it is still in force.",
    lambda status: status.config_ok,
    "gcsidecar_config_last_reload_successful == 0",
)
CONFIG_LOADED = _gauge(
    "gcsidecar_config_last_reload_success_timestamp_seconds",
    "When the config that is in force was loaded, in seconds since 1970.",
    lambda status: status.config_loaded_at,
    "time() - gcsidecar_config_last_reload_success_timestamp_seconds",
)
RELOADS = _one(
    "gcsidecar_config_reloads_total",
    "counter",
    "How often the config was read anew since the start, by a signal or since the file had changed; those that were "
    "refused are among them.",
    counted_by_process("gcsidecar_config_reloads_total"),
    "increase(gcsidecar_config_reloads_total[1d])",
)
RELOAD_FAILURES = _one(
    "gcsidecar_config_reload_failures_total",
    "counter",
    "How often a config that was read anew was refused; the one before it stayed in force.",
    counted_by_process("gcsidecar_config_reload_failures_total"),
    "increase(gcsidecar_config_reload_failures_total[1h]) > 0",
)
WATCH_STATE = _one(
    "gcsidecar_watch_state",
    "gauge",
    "1 for the state that holds, 0 for the others: ok; degraded (some directories can't be watched, mostly since "
    "fs.inotify.max_user_watches is used up); off. Without watching, changes are seen by reconciling only: later, but "
    "never wrongly.",
    lambda view: [((state,), holds) for state, holds in one_of(labels.WATCH_STATES, view.status.watch.state)],
    'gcsidecar_watch_state{state="ok"} == 0',
    labels.WATCH_STATE,
)
WATCHED = _gauge(
    "gcsidecar_watch_directories",
    "Directories that are watched, one inotify watch each.",
    lambda status: status.watch.watches,
    "gcsidecar_watch_directories",
)
UNWATCHED = _gauge(
    "gcsidecar_watch_refused_directories",
    "Directories that should be watched and can't be; raise fs.inotify.max_user_watches by at least as many.",
    lambda status: status.watch.refused,
    "gcsidecar_watch_refused_directories > 0",
)
OVERFLOWS = _one(
    "gcsidecar_watch_overflows_total",
    "counter",
    "How often the kernel's event queue ran over, so that events were lost and all was reconciled instead; raise "
    "fs.inotify.max_queued_events where it happens often.",
    lambda view: [((), view.status.watch.overflows)],
    "increase(gcsidecar_watch_overflows_total[1h])",
)
WATCH_RESTARTS = _one(
    "gcsidecar_watch_restarts_total",
    "counter",
    "How often the thread that watches had died and was started anew; more than 0 is a defect worth a report.",
    lambda view: [((), view.status.watch.restarts)],
    "increase(gcsidecar_watch_restarts_total[1d])",
)
HISTORY_DROPPED = _one(
    "gcsidecar_history_dropped_records_total",
    "counter",
    "Records of what happened in any root that could not be written into its history since the start.",
    counted_by_process("gcsidecar_history_dropped_records_total"),
    "increase(gcsidecar_history_dropped_records_total[1h])",
)
HISTORY_SET_ASIDE = _one(
    "gcsidecar_history_set_aside_total",
    "counter",
    "How often a root's history was damaged, lost or not ours since the start: it was set aside, and begun anew.",
    counted_by_process("gcsidecar_history_set_aside_total"),
    "increase(gcsidecar_history_set_aside_total[1d])",
)


def _stall(name: str, help_: str, seconds: Callable[[Stall], float]) -> Metric:
    return Metric(
        f"gcsidecar_psi_{name}_seconds_total",
        "counter",
        help_,
        lambda view: [((stall.resource, stall.scope), seconds(stall)) for stall in view.stalls],
        f"rate(gcsidecar_psi_{name}_seconds_total[5m])",
        "where the kernel counts no pressure stalls (no PSI, or no such file in the cgroup)",
        (labels.PRESSURE_RESOURCE, labels.SCOPE),
    )


WAITING = _stall(
    "waiting",
    "Seconds in which some tasks waited for a resource, as the kernel counts them (PSI, `some`), since the boot or the "
    "start of the cgroup.",
    lambda stall: stall.waiting_seconds,
)
STALLED = _stall(
    "stalled",
    "Seconds in which all tasks that had work waited for a resource at once, so that nothing got done, as the kernel "
    "counts them (PSI, `full`).",
    lambda stall: stall.stalled_seconds,
)

PROCESS = (
    BUILD,
    DRY_RUN,
    CONFIG_OK,
    CONFIG_LOADED,
    RELOADS,
    RELOAD_FAILURES,
    WATCH_STATE,
    WATCHED,
    UNWATCHED,
    OVERFLOWS,
    WATCH_RESTARTS,
    HISTORY_DROPPED,
    HISTORY_SET_ASIDE,
    WAITING,
    STALLED,
)

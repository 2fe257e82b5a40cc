"""What several questions of the overview ask for."""

from __future__ import annotations

from builder.panels import Query
from builder.scope import FLEET

PRESSURE = f"max by (job, instance, filesystem) ({FLEET('gcsidecar_filesystem_pressure_ratio')})"
TIME_TO_TRIGGER = FLEET("gcsidecar_filesystem_time_to_trigger_seconds")
IDLE = FLEET("gcsidecar_root_size_bytes", state="idle")
EVICTIONS = FLEET("gcsidecar_evictions_total")
REGRETS = FLEET("gcsidecar_regrets_total")
FAILURES = FLEET("gcsidecar_eviction_failures_total")
STALE = FLEET("gcsidecar_leases", state="stale")


def each(expr: str, how: str = "sum") -> Query:
    """A value for each sidecar."""
    return Query(f"{how} by (job, instance) ({expr})")


def counted(counter: str) -> Query:
    """How much a counter grew in the time range, for each sidecar."""
    return each(f"increase({counter}[$__range])")

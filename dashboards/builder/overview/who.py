"""Who is in trouble? A table of all sidecars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.fields import cell, prop
from builder.overview.common import EVICTIONS, FAILURES, IDLE, PRESSURE, REGRETS, STALE, TIME_TO_TRIGGER, counted, each
from builder.panels import Column, Query, Text, rows
from builder.scope import FLEET

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import table

UNSERVED = FLEET.within('role=~"missing|blocked"')
# Roots that the sidecar can't serve; 0 where there are none, so that the column has a value.
NOT_SERVED = (
    f"count by (job, instance) ({UNSERVED('gcsidecar_root_role')} == 1) "
    f"or count by (job, instance) ({FLEET('gcsidecar_root_role')}) * 0"
)
# A table's cell that opens the dashboard of the cache in its row.
TO_CACHE = prop(
    "links",
    [
        {
            "title": "Open its cache",
            "url": "/d/gcsidecar-cache?var-datasource=${datasource}&var-job=${__data.fields.job}"
            "&var-instance=${__data.fields.instance}&${__url_time_range}",
        }
    ],
)


def who() -> table.Panel:
    """A row for each sidecar."""
    measured_at = FLEET("gcsidecar_filesystem_last_measurement_timestamp_seconds")
    time_to = f"min by (job, instance) (clamp_max({TIME_TO_TRIGGER}, {fields.WEEK_SECONDS}))"
    pressed, hurried, once = cell(yellow=0.9, red=1), cell(fields.RED, orange=60, transparent=3600), cell(orange=1)
    whole = prop("decimals", 0)
    return rows(
        Text(
            "Who is in trouble",
            "A row for each sidecar, those that are down and those under most pressure first; the name of an instance "
            "opens its cache. Counts are of the time range, all else is of now. One that is down has its first column "
            "only.",
            24,
            8,
        ),
        Column(
            "Up",
            each(FLEET("up"), "max"),
            fields.NO_UNIT,
            (prop("mappings", [fields.YES_NO]), *cell(fields.RED, transparent=1)),
        ),
        Column("Pressure", each(PRESSURE, "max"), fields.RATIO, (prop("decimals", 0), *pressed)),
        Column(
            "Time to trigger", Query(time_to), fields.SECONDS, (prop("mappings", [fields.TIME_TO_TRIGGER]), *hurried)
        ),
        Column("Idle", each(IDLE), fields.BYTES),
        Column("Evictions", counted(EVICTIONS), props=(whole,)),
        Column("Failed", counted(FAILURES), props=(whole, *once)),
        Column("Regrets", counted(REGRETS), props=(whole, *cell(yellow=1))),
        Column("Stale leases", each(STALE), props=once),
        Column("Paused", each(FLEET("gcsidecar_filesystem_paused")), props=once),
        Column("Roots not served", Query(NOT_SERVED), props=once),
        Column(
            "Measured before",
            Query(f"time() - min by (job, instance) ({measured_at} > 0)"),
            fields.SECONDS,
            cell(orange=30, red=60),
        ),
        keys=("job", "instance"),
        sort=(("Up", False), ("Pressure", True)),
    ).override_by_name("instance", [TO_CACHE])

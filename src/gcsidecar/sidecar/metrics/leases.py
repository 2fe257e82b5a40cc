"""The metrics of leases that ended although their files were there.

The declaration, and how a lease that was reaped is entered for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.sidecar.metrics import labels
from gcsidecar.sidecar.metrics.ledger import Entry
from gcsidecar.sidecar.metrics.metric import Metric
from gcsidecar.sidecar.metrics.process import NEVER
from gcsidecar.sidecar.metrics.readers import counted_by_process

if TYPE_CHECKING:
    from gcsidecar.cache.use.verdict import Reaped

REAPED = Metric(
    "gcsidecar_leases_reaped_total",
    "counter",
    "Leases in any root that had ended although their files were there, and were removed, by the reason: dead (its "
    "holder, of gcsidecar's own client, ended without releasing it: nobody holds its lock any more) or expired (it "
    "was not touched for longer than its own ttl, or than lease.ttl where lease.on_stale is expire). The log names the "
    "holder of each.",
    counted_by_process("gcsidecar_leases_reaped_total", *labels.ENDS),
    "increase(gcsidecar_leases_reaped_total[1h]) > 0",
    NEVER,
    (labels.END,),
)


def of_reaped(reaped: Reaped) -> Entry:
    """What a lease adds that was reaped."""
    entry = Entry()
    entry.count(REAPED.name, reaped.ended.why.value)
    return entry

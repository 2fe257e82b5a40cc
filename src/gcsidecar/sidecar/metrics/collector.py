"""The collector: what Prometheus is shown, made anew at each scrape from the last status and the ledger.

It takes in values from those who work and hands out samples; what a metric means stands in the catalogue.
"""

from __future__ import annotations

import threading
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric as Family
from prometheus_client.utils import floatToGoString

from gcsidecar.sidecar.metrics.catalogue import CATALOGUE
from gcsidecar.sidecar.metrics.evictions import RECLAIMED_LATE, of_collection, of_eviction, of_regret
from gcsidecar.sidecar.metrics.leases import of_reaped
from gcsidecar.sidecar.metrics.ledger import Entry, Ledger, Spread
from gcsidecar.sidecar.metrics.process import HISTORY_DROPPED, HISTORY_SET_ASIDE, RELOAD_FAILURES, RELOADS
from gcsidecar.sidecar.metrics.sizes import LOOKED_AT
from gcsidecar.sidecar.metrics.view import view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsidecar.cache.regrets import Regret
    from gcsidecar.cache.use.verdict import Reaped
    from gcsidecar.gc.collection import Collection, Eviction
    from gcsidecar.sidecar.metrics.metric import Metric
    from gcsidecar.sidecar.metrics.view import View
    from gcsidecar.sidecar.stalls import Stall
    from gcsidecar.sidecar.status import Status


# How Go writes a number, which is what the bounds of buckets are compared by; the client library has it without types.
_in_go: Callable[[float], str] = floatToGoString


class Metrics:
    """All metrics of one process. Thread-safe.

    Args:
        status: Gives the last status published; asked once a scrape, and must not wait.
        version: Of this program.
        stalls: Reads how long tasks had to wait; asked once a scrape.

    Attributes:
        registry: Holds these metrics and those of the process itself (`process_*`, `python_info`).
    """

    def __init__(
        self, status: Callable[[], Status], *, version: str, stalls: Callable[[], tuple[Stall, ...]] = tuple
    ) -> None:
        self._status = status
        self._version = version
        self._stalls = stalls
        self._ledger = Ledger()
        self._following = threading.Lock()
        # With auto_describe a scrape may ask for single metrics by name; ours are described, so none is made for that.
        self.registry = CollectorRegistry(auto_describe=True)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def record_eviction(self, filesystem: str, eviction: Eviction) -> None:
        """Count an eviction, as it happens; `filesystem` is the name of its first root."""
        self._ledger.enter(of_eviction(filesystem, eviction))

    def record_collection(self, filesystem: str, collection: Collection) -> None:
        """Count what a collection kept and what failed; its evictions have been counted."""
        self._ledger.enter(of_collection(filesystem, collection))

    def record_regret(self, regret: Regret) -> None:
        """Count a folder that came back after it was evicted."""
        self._ledger.enter(of_regret(regret))

    def record_reaped(self, reaped: Reaped) -> None:
        """Count a lease that was removed, since it had ended."""
        self._ledger.enter(of_reaped(reaped))

    def record_reload(self, *, ok: bool) -> None:
        """Count that the config was read anew, and whether it was accepted."""
        entry = Entry()
        entry.count(RELOADS.name)
        entry.count(RELOAD_FAILURES.name, amount=not ok)
        self._ledger.enter(entry)

    def describe(self) -> list[Family]:
        """Every metric there can be, without samples."""
        return [_empty(metric) for metric in CATALOGUE]

    def collect(self) -> Iterator[Family]:
        """Every metric that has samples now."""
        # An older status that is followed after a newer one would look like a count that began anew.
        with self._following:
            status = self._status()
            self._follow(status)
        now = view(self._version, status, self._ledger.books(), self._stalls())
        return (family for metric in CATALOGUE if (family := _filled(metric, now)).samples)

    def _follow(self, status: Status) -> None:
        """Count what others count, and begin anew with each keeper or history of theirs."""
        for root in status.roots:
            if root.history is not None:
                self._ledger.follow(HISTORY_DROPPED.name, source=root.name, total=root.history.dropped)
                self._ledger.follow(HISTORY_SET_ASIDE.name, source=root.name, total=root.history.set_aside)
        for one in status.filesystems:
            self._ledger.follow(RECLAIMED_LATE.name, one.name, source=one.name, total=one.reclaimed_late_bytes)
            self._ledger.follow(LOOKED_AT.name, one.name, source=one.name, total=one.entries_looked_at)


def _empty(metric: Metric) -> Family:
    return Family(metric.family, metric.help, metric.kind, metric.unit)


def _filled(metric: Metric, now: View) -> Family:
    family, names = _empty(metric), [label.name for label in metric.labels]
    for values, value in metric.read(now):
        labels = dict(zip(names, values, strict=True))
        if isinstance(value, Spread):
            _add_spread(family, metric, labels, value)
        else:
            family.add_sample(metric.name, labels, value)
    return family


def _add_spread(family: Family, metric: Metric, labels: dict[str, str], spread: Spread) -> None:
    bounds = (*metric.buckets, float("inf"))
    for bound, count in zip(bounds, accumulate(spread.counts), strict=True):
        family.add_sample(f"{metric.name}_bucket", {**labels, "le": _in_go(bound)}, count)
    family.add_sample(f"{metric.name}_count", labels, sum(spread.counts))
    family.add_sample(f"{metric.name}_sum", labels, spread.total)

"""The metrics of evictions: how many and why, what they cost and brought, and what was kept.

Declarations, and how the values that a collection hands over are entered for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.gc.pressure import Resource
from gcsidecar.sidecar.metrics import labels
from gcsidecar.sidecar.metrics.filesystems import WITH_FILESYSTEM
from gcsidecar.sidecar.metrics.ledger import Entry
from gcsidecar.sidecar.metrics.metric import Label, Metric
from gcsidecar.sidecar.metrics.readers import counted, filesystem_names, observed, root_names
from gcsidecar.sidecar.metrics.roots import WITH_ROOT

if TYPE_CHECKING:
    from gcsidecar.cache.regrets import Regret
    from gcsidecar.gc.collection import Collection, Eviction

# A rename and a few files take a millisecond, a million files on a disk minutes: three buckets in two decades.
DURATION_BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 600.0)
# Ten minutes, an hour, six, a day, a week, a month: below a day the cache is too small for its work.
IDLE_BUCKETS = (600.0, 3600.0, 21600.0, 86400.0, 604800.0, 2592000.0)
AT_ONCE = (
    "measured right after each eviction: never below 0, less where others write meanwhile, and without what a "
    "filesystem gives back later (gcsidecar_eviction_reclaimed_late_bytes_total)."
)


def _counter(name: str, help_: str, query: str, *more: Label, seeds: tuple[str, ...] = ()) -> Metric:
    return Metric(name, "counter", help_, counted(name, root_names, *seeds), query, WITH_ROOT, (labels.ROOT, *more))


def _shared(name: str, help_: str, query: str) -> Metric:
    """A counter of all roots of a filesystem: what is seldom asked for has no series for each of them."""
    return Metric(name, "counter", help_, counted(name, filesystem_names), query, WITH_FILESYSTEM, (labels.FILESYSTEM,))


EVICTED = _counter(
    "gcsidecar_evictions_total",
    "Folders evicted from a root, by the reason: the resource that was scarce (disk, inodes, memory), the cap that was "
    "overrun (size, folders), or max-idle. One with several reasons counts once, under the first.",
    "increase(gcsidecar_evictions_total[1h]) > 0",
    labels.EVICTION_REASON,
    seeds=labels.EVICTION_REASONS,
)
FAILED = _counter(
    "gcsidecar_eviction_failures_total",
    "Tries to evict a folder of a root that failed; it is tried again later, and the others go on. A folder that turns "
    "out to be in use is none of them but kept.",
    "increase(gcsidecar_eviction_failures_total[1h]) > 0",
)
EXPECTED_BYTES = _counter(
    "gcsidecar_eviction_expected_bytes_total",
    "Bytes of disk that evicted folders were expected to bring, by their size when last measured; those of unknown "
    "size add nothing.",
    "rate(gcsidecar_eviction_expected_bytes_total[1h])",
)
RECLAIMED_BYTES = _counter(
    "gcsidecar_eviction_reclaimed_bytes_total",
    f"Bytes of disk that the filesystem really got back by evictions, {AT_ONCE}",
    "increase(gcsidecar_eviction_reclaimed_bytes_total[1h]) / increase(gcsidecar_eviction_expected_bytes_total[1h])",
)
EXPECTED_INODES = _shared(
    "gcsidecar_eviction_expected_inodes_total",
    "Inodes that evicted folders were expected to bring; those that were not measured yet add nothing.",
    "rate(gcsidecar_eviction_expected_inodes_total[1h])",
)
RECLAIMED_INODES = _shared(
    "gcsidecar_eviction_reclaimed_inodes_total",
    "Inodes that the filesystem really got back by evictions, measured right after each; never below 0.",
    "rate(gcsidecar_eviction_reclaimed_inodes_total[1h])",
)
SIZE_UNKNOWN = _shared(
    "gcsidecar_evictions_of_unknown_size_total",
    "Evictions of folders that had not been measured yet: worth trying, with nothing expected of them.",
    "increase(gcsidecar_evictions_of_unknown_size_total[1h]) / increase(gcsidecar_eviction_duration_seconds_count[1h])",
)
CLAMPED = _shared(
    "gcsidecar_evictions_clamped_total",
    "Evictions after which some resource had less free than before, since others took more than came back: what they "
    "reclaimed shows as 0 there and isn't known.",
    "increase(gcsidecar_evictions_clamped_total[1h])",
)
RECLAIMED_LATE = _shared(
    "gcsidecar_eviction_reclaimed_late_bytes_total",
    "Bytes of disk that evictions were expected to bring and that came back later than right after each (btrfs and xfs "
    "give back late); none of it is in gcsidecar_eviction_reclaimed_bytes_total, and it is no more than was expected.",
    "increase(gcsidecar_eviction_reclaimed_late_bytes_total[1h])",
)
COLLECTIONS = _shared(
    "gcsidecar_collections_total",
    "Collections on a filesystem that found something scarce or overdue; each may evict many folders, or none.",
    "increase(gcsidecar_collections_total[1h])",
)
REGRETS = _counter(
    "gcsidecar_regrets_total",
    "Folders that came back under the name of one evicted less than regret_window ago: somebody wanted it after all. "
    "Where that happens often, the cache is too small.",
    "increase(gcsidecar_regrets_total[1d]) / sum without (reason) (increase(gcsidecar_evictions_total[1d]))",
)
REGRETTED_BYTES = _counter(
    "gcsidecar_regretted_bytes_total",
    "Bytes that the folders in gcsidecar_regrets_total took when they were evicted: what had to be fetched or made "
    "again, and so by how much the cache is too small.",
    "increase(gcsidecar_regretted_bytes_total[1d])",
)
KEPT = _counter(
    "gcsidecar_kept_total",
    "How often a collection passed by a folder of a root, by the reason to keep it; a folder that is passed by in each "
    "of ten collections counts ten times. The log has each reason more exactly.",
    "topk(3, increase(gcsidecar_kept_total[10m]))",
    labels.KEPT_REASON,
    seeds=tuple(labels.KEPT_REASONS),
)
DURATION = Metric(
    "gcsidecar_eviction_duration_seconds",
    "histogram",
    "How long evicting one folder took on a filesystem, from the decision to the end of its deletion.",
    observed("gcsidecar_eviction_duration_seconds", DURATION_BUCKETS, filesystem_names),
    "histogram_quantile(0.99, rate(gcsidecar_eviction_duration_seconds_bucket[1h]))",
    WITH_FILESYSTEM,
    (labels.FILESYSTEM,),
    DURATION_BUCKETS,
)
IDLE = Metric(
    "gcsidecar_eviction_idle_seconds",
    "histogram",
    "How long folders of a root had not been used when they were evicted: where that is hours, the cache is too small "
    "for its work; where it is weeks, it could be smaller.",
    observed("gcsidecar_eviction_idle_seconds", IDLE_BUCKETS, root_names),
    "histogram_quantile(0.5, rate(gcsidecar_eviction_idle_seconds_bucket[1d]))",
    WITH_ROOT,
    (labels.ROOT,),
    IDLE_BUCKETS,
)

EVICTIONS = (
    COLLECTIONS,
    EVICTED,
    FAILED,
    EXPECTED_BYTES,
    RECLAIMED_BYTES,
    RECLAIMED_LATE,
    EXPECTED_INODES,
    RECLAIMED_INODES,
    SIZE_UNKNOWN,
    CLAMPED,
    DURATION,
    IDLE,
    REGRETS,
    REGRETTED_BYTES,
    KEPT,
)


def of_eviction(filesystem: str, eviction: Eviction) -> Entry:
    """What one eviction adds."""
    root, entry = eviction.group, Entry()
    entry.count(EVICTED.name, root, labels.eviction_reason(eviction.reasons))
    for resource, expected, reclaimed, whose in (
        (Resource.DISK, EXPECTED_BYTES, RECLAIMED_BYTES, root),
        (Resource.INODES, EXPECTED_INODES, RECLAIMED_INODES, filesystem),
    ):
        entry.count(expected.name, whose, amount=eviction.expected.get(resource) or 0)
        entry.count(reclaimed.name, whose, amount=eviction.reclaimed.get(resource, 0))
    entry.count(SIZE_UNKNOWN.name, filesystem, amount=eviction.expected.get(Resource.DISK, 0) is None)
    entry.count(CLAMPED.name, filesystem, amount=eviction.clamped)
    entry.observe(DURATION.name, filesystem, value=eviction.seconds, buckets=DURATION_BUCKETS)
    entry.observe(IDLE.name, root, value=eviction.idle_seconds, buckets=IDLE_BUCKETS)
    return entry


def of_regret(regret: Regret) -> Entry:
    """What a folder adds that came back."""
    entry = Entry()
    entry.count(REGRETS.name, regret.root)
    entry.count(REGRETTED_BYTES.name, regret.root, amount=regret.disk_bytes)
    return entry


def of_collection(filesystem: str, collection: Collection) -> Entry:
    """What one collection adds beside its evictions, which were entered as they happened."""
    entry = Entry()
    entry.count(COLLECTIONS.name, filesystem, amount=bool(collection.wants or collection.evictions or collection.kept))
    for kept in collection.kept:
        entry.count(KEPT.name, kept.group, labels.kept_reason(kept.reason), amount=kept.count)
    for failure in collection.failures:
        entry.count(FAILED.name, failure.group)
    return entry

"""The metrics of roots: their folders by state, their leases, what is under way, and the largest folders.

Declarations only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.sidecar.metrics import labels
from gcsidecar.sidecar.metrics.metric import Label, Metric
from gcsidecar.sidecar.metrics.readers import by_state, of_folders, of_histories, of_leases, of_roots, of_tallies

if TYPE_CHECKING:
    from gcsidecar.sidecar.metrics.metric import Reader

WITH_ROOT = "with its root, when that is taken out of the config"
WHILE_OPEN = "while its root can't be opened (role `missing`), and with its root"
NOT_MEASURED = "Folders that have not been measured yet count with 0."


def _gauge(name: str, help_: str, read: Reader, query: str, *more: Label, goes: str = WHILE_OPEN) -> Metric:
    return Metric(name, "gauge", help_, read, query, goes, (labels.ROOT, *more))


ROOTS = (
    _gauge(
        "gcsidecar_root_role",
        "1 for the role that the sidecar has on a root, the others have no series: active; standby (another sidecar "
        "acts on it, this one takes over when that is gone); dry-run; missing (there is no such directory yet, or it "
        "can't be opened; tried again); blocked (.gcsidecar/ can't be made in it: the disk is full, or it isn't "
        "writable).",
        lambda view: [((root.name, root.role), 1) for root in view.status.roots],
        'gcsidecar_root_role{role!="active"} == 1',
        labels.ROLE,
        goes=f"when its root has another role, and {WITH_ROOT}",
    ),
    _gauge(
        "gcsidecar_root_folders",
        "Folders of a root by state; of several states that hold the first of leased, pinned, young, idle counts. Only "
        "idle ones may be evicted.",
        by_state(lambda amount: amount.folders),
        'gcsidecar_root_folders{state="leased"}',
        labels.STATE,
    ),
    _gauge(
        "gcsidecar_root_size_bytes",
        "What the folders of a root take on disk (allocated blocks; a hard link carries its share), by state; idle is "
        f"what could be reclaimed now. {NOT_MEASURED} .gcsidecar/ is not in it.",
        by_state(lambda amount: amount.disk_bytes),
        'gcsidecar_root_size_bytes{state="idle"}',
        labels.STATE,
    ),
    _gauge(
        "gcsidecar_root_inodes",
        f"What the folders of a root take in inodes (a hard link carries its share). {NOT_MEASURED}",
        of_tallies(lambda tally: sum(amount.inodes for amount in tally.by_state.values())),
        "topk(3, gcsidecar_root_inodes)",
    ),
    _gauge(
        "gcsidecar_root_unmeasured_folders",
        "Folders of a root whose size isn't known yet; until it is, sizes of the root show too little.",
        of_tallies(lambda tally: tally.unmeasured),
        "gcsidecar_root_unmeasured_folders / sum without (state) (gcsidecar_root_folders)",
    ),
    _gauge(
        "gcsidecar_root_own_size_bytes",
        "What .gcsidecar/ takes in a root: lock, ballast, history, and folders that are parked or could not be deleted "
        "whole, as far as their size is known. It counts for max_size.",
        of_tallies(lambda tally: tally.own_bytes),
        "gcsidecar_root_own_size_bytes",
    ),
    _gauge(
        "gcsidecar_leases",
        "Leases of a root. Those that hold folders are live, or stale: untouched for longer than lease.ttl (for a day, "
        "where that isn't set) with no lock and no heartbeat of their own to vouch for them; they hold all the same. A "
        "dead one holds nothing: its holder ended without releasing it, or its time is over, and it could not be "
        "removed (missing rights, dry run, or another sidecar acts here).",
        of_leases,
        'gcsidecar_leases{state="stale"} > 0',
        labels.LEASE_STATE,
    ),
    _gauge(
        "gcsidecar_oldest_lease_timestamp_seconds",
        "When the lease that was touched the longest ago was last touched, in seconds since 1970.",
        of_tallies(lambda tally: tally.oldest_lease_at),
        "time() - gcsidecar_oldest_lease_timestamp_seconds",
        goes=f"while its root has no lease; {WHILE_OPEN}",
    ),
    _gauge(
        "gcsidecar_root_parked_folders",
        "Folders that were leased while on their way out and whose name was taken meanwhile: kept whole, apart in "
        ".gcsidecar/evicting/, until their leases end.",
        of_roots(lambda root: root.parked),
        "gcsidecar_root_parked_folders > 0",
        goes=WITH_ROOT,
    ),
    _gauge(
        "gcsidecar_root_condemned_folders",
        "Folders already out of their place, in .gcsidecar/condemned/, whose deletion isn't complete; where it stays "
        "above 0, something in them can't be deleted, and the log says what.",
        of_roots(lambda root: root.condemned),
        "min_over_time(gcsidecar_root_condemned_folders[1h]) > 0",
        goes=WITH_ROOT,
    ),
    _gauge(
        "gcsidecar_root_last_reconcile_timestamp_seconds",
        "When all folders of a root were last compared with what is on disk, in seconds since 1970; 0 if never yet.",
        of_roots(lambda root: root.reconciled_at),
        "time() - gcsidecar_root_last_reconcile_timestamp_seconds",
        goes=WITH_ROOT,
    ),
    _gauge(
        "gcsidecar_root_last_reconcile_successful",
        "1 where the last try to compare a root with what is on disk went well, 0 where it failed or there was none.",
        of_roots(lambda root: root.reconcile_ok),
        "gcsidecar_root_last_reconcile_successful == 0",
        goes=WITH_ROOT,
    ),
    _gauge(
        "gcsidecar_folder_size_bytes",
        "What one folder takes on disk (allocated blocks); only of the largest folders of a root, top_folders of them. "
        "All the others together are what is missing to the sum of gcsidecar_root_size_bytes.",
        of_folders(lambda folder: folder.disk_bytes),
        "topk(10, gcsidecar_folder_size_bytes)",
        labels.FOLDER,
        goes="when the folder is gone or no longer among the largest",
    ),
    _gauge(
        "gcsidecar_folder_last_used_timestamp_seconds",
        "When one of the largest folders was last used, in seconds since 1970: the newest of its own mtime, its "
        "leases' and (as of the last measuring) its files', and its arrival.",
        of_folders(lambda folder: folder.last_used),
        "time() - gcsidecar_folder_last_used_timestamp_seconds",
        labels.FOLDER,
        goes="when the folder is gone or no longer among the largest",
    ),
    _gauge(
        "gcsidecar_root_history_healthy",
        "1 where what happens in a root is being recorded in its history, 0 where it can't be (the disk is full, the "
        "file is damaged or can't be written); evictions go on all the same.",
        of_histories(lambda history: history.healthy),
        "gcsidecar_root_history_healthy == 0",
        goes=f"where no history is kept (dry run, standing by, turned off), and {WITH_ROOT}",
    ),
)

"""A process in which everything is there once: the status and the events from which every metric has a series."""

from __future__ import annotations

from gcsidecar.cache.folders.tally import Amount, FolderShare, RootTally, State
from gcsidecar.cache.regrets import Regret
from gcsidecar.cache.use.lease import Lease
from gcsidecar.cache.use.verdict import End, Ended, Reaped
from gcsidecar.contract import Holder
from gcsidecar.gc.collection import Collection, Eviction, Failure
from gcsidecar.gc.planning import Candidate, Kept, Want
from gcsidecar.gc.pressure import Measurement, Resource, Threshold
from gcsidecar.sidecar.metrics import Metrics
from gcsidecar.sidecar.stalls import Stall
from gcsidecar.sidecar.status import FilesystemStatus, HistoryStatus, RootStatus, Status, WatchStatus

NOW = 1_700_000_000.0
GIB = 1 << 30


class Thing:
    """A Disposable that nobody disposes of."""

    def memory_size(self) -> int:
        return 0

    def disk_size(self) -> int:
        return 0

    def last_used(self) -> float:
        return 0.0

    def dispose(self) -> None:
        pass


def eviction(
    root: str = "jobs",
    *reasons: str,
    disk: int | None = 4096,
    inodes: int | None = 2,
    reclaimed: int = 4096,
    clamped: bool = False,
    seconds: float = 0.02,
    idle_seconds: float = 7200.0,
) -> Eviction:
    sizes: dict[Resource, int | None] = {Resource.DISK: disk, Resource.INODES: inodes}
    return Eviction(
        Candidate("some/folder", NOW - idle_seconds, sizes, root),
        reasons or ("disk",),
        NOW,
        seconds,
        {Resource.DISK: reclaimed, Resource.INODES: 2},
        clamped,
        Thing(),
    )


def tally(*top: FolderShare) -> RootTally:
    return RootTally(
        {
            State.LEASED: Amount(2, 3 * GIB, 30),
            State.PINNED: Amount(1, 1 * GIB, 10),
            State.YOUNG: Amount(0, 0, 0),
            State.IDLE: Amount(5, 9 * GIB, 90),
        },
        unmeasured=1,
        leases=3,
        stale_leases=1,
        dead_leases=1,
        oldest_lease_at=NOW - 600,
        top=top or (FolderShare("linux/big", State.IDLE, 5 * GIB, 50, NOW - 3600),),
        own_bytes=4096,
        oldest_measured_at=NOW - 7200,
    )


def root(name: str = "jobs", filesystem: str | None = "jobs", *top: FolderShare) -> RootStatus:
    return RootStatus(
        name,
        filesystem,
        "active",
        None,
        tally(*top),
        reconciled_at=NOW - 5,
        reconcile_ok=True,
        parked=1,
        condemned=2,
        history=HistoryStatus(healthy=True, size_bytes=8192, dropped=2, set_aside=1),
    )


def filesystem(name: str = "jobs", *roots: str) -> FilesystemStatus:
    capped = roots or (name,)
    shared = [(Resource.DISK, 100 * GIB, 30 * GIB), (Resource.INODES, 1000, 900), (Resource.MEMORY, 8 * GIB, 2 * GIB)]
    caps = [(Resource.SIZE, 12 * GIB, -GIB), (Resource.FOLDERS, 10, 2)]
    return FilesystemStatus(
        name,
        "ext4",
        capped,
        readings=(
            *(Measurement(resource, capacity, free, NOW) for resource, capacity, free in shared),
            *(Measurement(resource, most, free, NOW, cap) for cap in capped for resource, most, free in caps),
        ),
        thresholds=(
            Threshold(Resource.DISK, 20 * GIB, 35 * GIB),
            Threshold(Resource.INODES, 100, 150),
            Threshold(Resource.MEMORY, 3 * GIB, 4 * GIB),
            *(Threshold(Resource.SIZE, 0, 1 * GIB, cap) for cap in capped),
            *(Threshold(Resource.FOLDERS, 0, 0, cap) for cap in capped),
        ),
        rates={(Resource.DISK, None): GIB / 64, (Resource.FOLDERS, name): 0.5},
        on_its_way={Resource.DISK: GIB},
        measured_at=NOW - 0.5,
        measure_ok=True,
        backed_off=1,
        reclaimed_late_bytes=8192,
        entries_looked_at=1234,
        to_be_measured=2,
    )


def reaped(why: End = End.DEAD) -> Reaped:
    """A lease of a job that was killed ten minutes after it had taken it."""
    said = Holder(
        pid=4711,
        started=1,
        boot_id="b",
        device=2,
        pid_namespace=3,
        mount_namespace=4,
        host="builder-7",
        purpose="\ud800 pip\n",
        at=NOW - 660,
        ttl_seconds=None,
        locked=True,
    )
    return Reaped("jobs", "some/folder", Ended(Lease(".lease.x", NOW - 660, inside=True), why, said, NOW - 60))


def status() -> Status:
    """Two roots on one filesystem, and one that isn't there."""
    return Status(
        (root("jobs"), root("models"), RootStatus("later", None, "missing", "no such directory: make it")),
        (filesystem("jobs", "jobs", "models"),),
        WatchStatus("degraded", watches=120, refused=3, overflows=2, restarts=0),
        config_loaded_at=NOW - 3600,
        config_ok=True,
    )


def metrics(shown: Status | None = None) -> Metrics:
    """With a collection behind it that evicted three, kept two, and failed once."""
    found = shown or status()
    stalls = (Stall("io", "cgroup", 12.5, 3.25), Stall("memory", "cgroup", 1.0, 0.0))
    made = Metrics(lambda: found, version="1.2.3", stalls=lambda: stalls)
    evictions = (eviction("jobs", "disk", "inodes"), eviction("jobs", "max-idle", disk=None), eviction("models"))
    for one in evictions:
        made.record_eviction("jobs", one)
    wanted = Want(Threshold(Resource.DISK, 2, 3), Measurement(Resource.DISK, 9, 1, NOW), 2)
    kept = (Kept("a", "leased", "jobs"), Kept("b", "obstacle", "models"))
    failed = (Failure("c", OSError("no"), "models"),)
    made.record_collection("jobs", Collection(NOW, (wanted,), evictions, kept, failed))
    made.record_regret(Regret("jobs", "some/folder", NOW - 600, NOW, 3 * GIB))
    made.record_reaped(reaped())
    made.record_reload(ok=True)
    made.record_reload(ok=False)
    return made

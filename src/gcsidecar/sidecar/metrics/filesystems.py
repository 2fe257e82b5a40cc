"""The metrics of pressure: what is free on each filesystem and what it is held to, and the same for caps of roots.

Declarations only. Bytes and pieces never share a metric, so each resource has names of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.cache.folders.tally import Amount, State
from gcsidecar.cache.names import shown
from gcsidecar.gc.pressure import Resource
from gcsidecar.sidecar.metrics import labels
from gcsidecar.sidecar.metrics.metric import Label, Metric
from gcsidecar.sidecar.metrics.readers import of_cap, of_caps, of_filesystems, of_resource, of_resources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsidecar.sidecar.metrics.metric import Reader
    from gcsidecar.sidecar.metrics.view import Reading, View

WITH_FILESYSTEM = "when none of its roots is open there any more"
UNTIL_UNHELD = f"when its threshold is turned off, and {WITH_FILESYSTEM}"
WITH_CAP = "when the cap is taken out of the config, and while its root can't be opened"
USER = "an ordinary user may still take"
WHY_HERE = (
    "+Inf while nothing fills, 0 where collection has to start now. It is computed here, from every measurement of the "
    "last minute or so (as many as 50 a second) with evictions left out, since predict_linear() can't do it: it "
    "would draw its line through the scrapes, across evictions, and a small filesystem fills between two of them."
)


def _gauge(name: str, help_: str, read: Reader, query: str, *more: Label, goes: str = WITH_FILESYSTEM) -> Metric:
    return Metric(name, "gauge", help_, read, query, goes, (labels.FILESYSTEM, *more))


def _space(resource: Resource, noun: str, whose: str, usable_by: str, suffix: str) -> Iterator[Metric]:
    """The figures of one resource; `whose` says what is counted, `suffix` is its unit's."""
    stem = f"gcsidecar_filesystem_{resource.value}"
    rate = "fill_bytes_per_second" if suffix else "fill_per_second"
    free, target = f"{stem}_free{suffix}", f"{stem}_target{suffix}"

    def figure(
        name: str, help_: str, value: Callable[[Reading], float | None], query: str, goes: str = WITH_FILESYSTEM
    ) -> Metric:
        return _gauge(f"{stem}_{name}", help_, of_resource(resource, value), query, goes=goes)

    yield figure(
        f"capacity{suffix}",
        f"All {noun} {whose}, used and available.",
        lambda reading: reading.measurement.capacity,
        f"{free} / {stem}_capacity{suffix}",
    )
    yield figure(
        f"free{suffix}",
        f"The {noun} that {usable_by}, as of the last good measurement.",
        lambda reading: reading.measurement.free,
        free,
    )
    yield figure(
        f"trigger{suffix}",
        f"Collection starts when fewer {noun} than this are free; the strictest threshold of the roots there.",
        lambda reading: reading.threshold.trigger if reading.threshold else None,
        f"{free} < {stem}_trigger{suffix}",
        UNTIL_UNHELD,
    )
    yield figure(
        f"target{suffix}",
        f"Once started, collection goes on until so many {noun} are free.",
        lambda reading: reading.threshold.target if reading.threshold else None,
        f"{target} - {free}",
        UNTIL_UNHELD,
    )
    yield figure(
        f"deficit{suffix}",
        f"The {noun} that are missing from now to the target, less those on their way back; also while the trigger "
        "isn't reached and nothing is collected.",
        lambda reading: reading.deficit(),
        f"{stem}_deficit{suffix} > 0",
        UNTIL_UNHELD,
    )
    yield figure(
        f"on_its_way{suffix}",
        f"The {noun} that evictions should bring and that haven't come back yet; until the filesystem had time to "
        "settle nothing more is evicted for them (btrfs gives back up to half a minute late).",
        lambda reading: reading.on_its_way,
        f"{free} + {stem}_on_its_way{suffix}",
    )
    yield figure(
        rate,
        f"How many {noun} a second were used up in the last minute or so, evictions left out; 0 while nothing fills.",
        lambda reading: reading.rate,
        f"{stem}_{rate}",
    )


def _info(view: View) -> Iterator[tuple[tuple[str, ...], float]]:
    for filesystem in view.status.filesystems:
        for root in filesystem.roots:
            yield (filesystem.name, root, shown(filesystem.kind)), 1


FILESYSTEMS = (
    Metric(
        "gcsidecar_filesystem_info",
        "info",
        "Always 1; says which roots share a filesystem (and so its free space), and of what type that is.",
        _info,
        'sum without (root) (gcsidecar_root_size_bytes{state="idle"} '
        "* on (job, instance, root) group_left (filesystem) gcsidecar_filesystem_info)",
        WITH_FILESYSTEM,
        (labels.FILESYSTEM, labels.ROOT, labels.KIND),
    ),
    *_space(Resource.DISK, "bytes", "of the filesystem that an ordinary user has, as df counts them", USER, "_bytes"),
    *_space(Resource.INODES, "inodes", "of the filesystem (0 where it doesn't count them, as btrfs)", USER, ""),
    *_space(
        Resource.MEMORY,
        "bytes of memory",
        "of the cgroup or host that thresholds.memory names",
        "are still available",
        "_bytes",
    ),
    _gauge(
        "gcsidecar_filesystem_foreign_bytes",
        "What is used on a filesystem and not by folders of roots there nor by their .gcsidecar/: it can't be evicted. "
        "Folders that have not been measured yet, are parked or wait for their deletion count as foreign, and so do "
        "the roots that only another sidecar has in its config.",
        lambda view: [((filesystem,), foreign) for filesystem, foreign in view.foreign_bytes()],
        "gcsidecar_filesystem_foreign_bytes / gcsidecar_filesystem_disk_capacity_bytes",
        goes=f"until its disk is measured, and {WITH_FILESYSTEM}",
    ),
    _gauge(
        "gcsidecar_filesystem_pressure_ratio",
        "How near collection is, for every resource alike: what is used over what may be used before it starts. 1 "
        "is exactly at the trigger; above it folders are evicted.",
        of_resources(lambda reading: reading.pressure()),
        "max without (resource) (gcsidecar_filesystem_pressure_ratio) > 1",
        labels.RESOURCE,
        goes=UNTIL_UNHELD,
    ),
    _gauge(
        "gcsidecar_filesystem_time_to_trigger_seconds",
        f"In how many seconds collection starts at the present rate of filling. {WHY_HERE}",
        of_resources(lambda reading: reading.seconds_to_trigger()),
        "gcsidecar_filesystem_time_to_trigger_seconds < 3600",
        labels.RESOURCE,
        goes=UNTIL_UNHELD,
    ),
    _gauge(
        "gcsidecar_filesystem_last_measurement_timestamp_seconds",
        "When a filesystem was last measured well, in seconds since 1970; 0 if never yet. All its figures are of then, "
        "and nothing is evicted on old ones.",
        of_filesystems(lambda filesystem: filesystem.measured_at),
        "time() - gcsidecar_filesystem_last_measurement_timestamp_seconds > 60",
    ),
    _gauge(
        "gcsidecar_filesystem_last_measurement_successful",
        "1 where the last measurement of a filesystem went well, 0 where it failed or there was none yet.",
        of_filesystems(lambda filesystem: filesystem.measure_ok),
        "gcsidecar_filesystem_last_measurement_successful == 0",
    ),
    _gauge(
        "gcsidecar_filesystem_paused",
        "1 where eviction holds back, since evictions brought back much less than they should (open files, snapshots, "
        "reflinks): one folder is tried now and then until one brings what it should.",
        of_filesystems(lambda filesystem: filesystem.paused),
        "gcsidecar_filesystem_paused == 1",
    ),
    _gauge(
        "gcsidecar_filesystem_backed_off_folders",
        "Folders whose eviction failed and that wait for another try, a minute at first, doubling to an hour.",
        of_filesystems(lambda filesystem: filesystem.backed_off),
        "gcsidecar_filesystem_backed_off_folders > 0",
    ),
    _gauge(
        "gcsidecar_filesystem_planned_folders",
        "With dry_run: folders that would be evicted now; otherwise 0.",
        of_filesystems(lambda filesystem: filesystem.planned),
        "gcsidecar_filesystem_planned_folders",
    ),
)


def _capped(name: str, help_: str, read: Reader, query: str, *more: Label) -> Metric:
    return Metric(f"gcsidecar_root_{name}", "gauge", help_, read, query, WITH_CAP, (labels.ROOT, *more))


def _most(reading: Reading) -> float | None:
    return reading.measurement.capacity - reading.threshold.trigger if reading.threshold else None


def _target(reading: Reading) -> float | None:
    return reading.measurement.capacity - reading.threshold.target if reading.threshold else None


def _unmeetable(view: View) -> Iterator[tuple[tuple[str, ...], float]]:
    tallies = {root.name: root.tally for root in view.status.roots if root.tally is not None}
    for reading in view.caps:
        most = _most(reading)
        if most is not None and reading.root in tallies:
            idle = tallies[reading.root].by_state.get(State.IDLE, Amount())
            going = idle.disk_bytes if reading.resource is Resource.SIZE else idle.folders
            yield (reading.root, reading.resource.value), reading.used - going > most


CAPS = (
    _capped(
        "max_size_bytes",
        "The budget of a root (max_size in the config): collection starts when its folders and .gcsidecar/ take more.",
        of_cap(Resource.SIZE, _most),
        "(sum without (state) (gcsidecar_root_size_bytes) + gcsidecar_root_own_size_bytes) "
        "/ gcsidecar_root_max_size_bytes",
    ),
    _capped(
        "target_size_bytes",
        "Once a root is above max_size, collection goes on until it takes no more than this (target_size).",
        of_cap(Resource.SIZE, _target),
        "sum without (state) (gcsidecar_root_size_bytes) > gcsidecar_root_target_size_bytes",
    ),
    _capped(
        "max_folders",
        "How many folders a root may have (max_folders in the config): collection starts when there are more.",
        of_cap(Resource.FOLDERS, _most),
        "sum without (state) (gcsidecar_root_folders) / gcsidecar_root_max_folders",
    ),
    _capped(
        "cap_pressure_ratio",
        "How near a root is to its cap, as gcsidecar_filesystem_pressure_ratio is for a filesystem: 1 is exactly at "
        "max_size or max_folders; above it folders of this root are evicted.",
        of_caps(lambda reading: reading.pressure()),
        "gcsidecar_root_cap_pressure_ratio > 1",
        labels.CAP,
    ),
    _capped(
        "cap_time_to_trigger_seconds",
        f"In how many seconds a root reaches its cap at the present rate of filling. {WHY_HERE}",
        of_caps(lambda reading: reading.seconds_to_trigger()),
        "gcsidecar_root_cap_time_to_trigger_seconds < 3600",
        labels.CAP,
    ),
    _capped(
        "cap_unmeetable",
        "1 where a root is above its cap and would be even if all its idle folders were evicted, since what is leased, "
        "pinned or young takes more than that by itself; else 0.",
        _unmeetable,
        "gcsidecar_root_cap_unmeetable == 1",
        labels.CAP,
    ),
)

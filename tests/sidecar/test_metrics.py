from __future__ import annotations

import itertools
import math
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gcsidecar.cache.folders.tally import Amount, FolderShare, State
from gcsidecar.cache.use.verdict import End
from gcsidecar.gc.collection import Collection
from gcsidecar.gc.planning import Kept
from gcsidecar.gc.pressure import Measurement, Resource, Threshold
from gcsidecar.sidecar.metrics import Metrics
from gcsidecar.sidecar.metrics.labels import EVICTION_REASONS
from gcsidecar.sidecar.stalls import Stall
from gcsidecar.sidecar.status import FilesystemStatus, HistoryStatus, RootStatus, Status
from sidecar.metrics_sample import GIB, NOW, eviction, filesystem, metrics, reaped, root, status, tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Process:
    """A process whose status can be changed, and what it shows."""

    def __init__(self, *roots: RootStatus, filesystems: Sequence[FilesystemStatus] = ()) -> None:
        self.status = Status(roots or (root(),), tuple(filesystems))
        self.metrics = Metrics(lambda: self.status, version="1")

    def series(self, name: str) -> dict[tuple[str, ...], float]:
        """All series of a name by their label values."""
        return {
            tuple(sample.labels.values()): sample.value
            for family in self.metrics.collect()
            for sample in family.samples
            if sample.name == name
        }

    def names_with(self, label_value: str) -> set[str]:
        """The names of all series that have such a label value."""
        samples = [sample for family in self.metrics.collect() for sample in family.samples]
        return {sample.name for sample in samples if label_value in sample.labels.values()}


def test_counters_of_a_root_are_there_from_the_start_with_every_reason_at_0() -> None:
    process = Process()
    assert process.series("gcsidecar_evictions_total") == {("jobs", reason): 0 for reason in EVICTION_REASONS}
    assert process.series("gcsidecar_eviction_failures_total") == {("jobs",): 0}
    assert process.series("gcsidecar_kept_total")["jobs", "leased"] == 0


def test_an_eviction_for_several_reasons_counts_once_under_the_first() -> None:
    process = Process()
    process.metrics.record_eviction("jobs", eviction("jobs", "inodes", "disk"))
    counted = process.series("gcsidecar_evictions_total")
    assert {labels: n for labels, n in counted.items() if n} == {("jobs", "inodes"): 1}


def test_what_was_expected_and_what_came_back_are_added_up_by_root() -> None:
    process = Process(root("jobs"), root("models"))
    process.metrics.record_eviction("jobs", eviction("jobs", disk=100, reclaimed=80, inodes=5))
    process.metrics.record_eviction("jobs", eviction("jobs", disk=10, reclaimed=10, inodes=1))
    process.metrics.record_eviction("jobs", eviction("models", disk=7, reclaimed=0, clamped=True))
    assert process.series("gcsidecar_eviction_expected_bytes_total") == {("jobs",): 110, ("models",): 7}
    assert process.series("gcsidecar_eviction_reclaimed_bytes_total") == {("jobs",): 90, ("models",): 0}


def test_inodes_and_what_is_not_known_of_evictions_are_added_up_by_filesystem() -> None:
    process = Process(root("jobs"), root("models"), filesystems=[filesystem("jobs", "jobs", "models")])
    process.metrics.record_eviction("jobs", eviction("jobs", inodes=5))
    process.metrics.record_eviction("jobs", eviction("models", inodes=3, clamped=True))
    assert process.series("gcsidecar_eviction_expected_inodes_total") == {("jobs",): 8}
    assert process.series("gcsidecar_eviction_reclaimed_inodes_total") == {("jobs",): 4}
    assert process.series("gcsidecar_evictions_clamped_total") == {("jobs",): 1}


def test_an_eviction_of_unknown_size_is_counted_as_such_and_expects_nothing() -> None:
    process = Process(filesystems=[filesystem("shared", "jobs")])
    process.metrics.record_eviction("shared", eviction(disk=None, inodes=None))
    assert process.series("gcsidecar_evictions_of_unknown_size_total") == {("shared",): 1}
    assert process.series("gcsidecar_eviction_expected_bytes_total") == {("jobs",): 0}


def test_a_counter_never_falls_whatever_is_handed_in() -> None:
    process = Process()
    process.metrics.record_eviction("jobs", eviction(reclaimed=100))
    process.metrics.record_eviction("jobs", eviction(reclaimed=-50))
    assert process.series("gcsidecar_eviction_reclaimed_bytes_total") == {("jobs",): 100}


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, "0.001"), (0.001, "0.001"), (0.0011, "0.003"), (600.0, "600.0"), (601.0, "+Inf")]
)
def test_a_duration_falls_into_the_first_bucket_that_holds_it(seconds: float, bucket: str) -> None:
    process = Process(filesystems=[filesystem()])
    process.metrics.record_eviction("jobs", eviction(seconds=seconds))
    buckets = process.series("gcsidecar_eviction_duration_seconds_bucket")
    holding = [bound for (_, bound), count in buckets.items() if count]
    assert holding[0] == bucket
    assert holding[-1] == "+Inf"
    assert process.series("gcsidecar_eviction_duration_seconds_sum") == {("jobs",): seconds}
    assert process.series("gcsidecar_eviction_duration_seconds_count") == {("jobs",): 1}


def test_how_long_a_folder_was_idle_when_it_went_is_observed_by_root() -> None:
    process = Process()
    process.metrics.record_eviction("jobs", eviction(idle_seconds=7200))
    buckets = process.series("gcsidecar_eviction_idle_seconds_bucket")
    assert (buckets["jobs", "3600.0"], buckets["jobs", "21600.0"]) == (0, 1)
    assert process.series("gcsidecar_eviction_idle_seconds_sum") == {("jobs",): 7200}


def test_a_collection_counts_what_it_kept_and_not_its_evictions_again() -> None:
    process = Process(filesystems=[filesystem()])
    kept = (Kept("a", "leased", "jobs"), Kept("b", "leased", "jobs"), Kept("c", "mounted", "jobs"))
    process.metrics.record_collection("jobs", Collection(NOW, evictions=(eviction(),), kept=kept))
    counted = process.series("gcsidecar_kept_total")
    assert {labels: n for labels, n in counted.items() if n} == {("jobs", "leased"): 2, ("jobs", "obstacle"): 1}
    assert sum(process.series("gcsidecar_evictions_total").values()) == 0
    assert process.series("gcsidecar_collections_total") == {("jobs",): 1}


@pytest.mark.parametrize(
    ("reason", "counted_as"),
    [
        ("leased", "leased"),
        ("in-use", "leased"),
        ("parked", "leased"),
        ("pinned", "pinned"),
        ("young", "young"),
        ("newest", "newest"),
        ("no-size", "no-size"),
        ("unmeasured", "no-size"),
        ("backed-off", "backed-off"),
        ("paused", "backed-off"),
        ("obstacle", "obstacle"),
        ("mounted", "obstacle"),
        ("unreadable", "obstacle"),
        ("standby", "other"),
        ("evicting", "other"),
        ("unheard of", "other"),
    ],
)
def test_reasons_to_keep_a_folder_with_the_same_remedy_count_as_one(reason: str, counted_as: str) -> None:
    process = Process()
    process.metrics.record_collection("jobs", Collection(NOW, kept=(Kept("a", reason, "jobs"),)))
    counted = process.series("gcsidecar_kept_total")
    assert {labels for labels, n in counted.items() if n} == {("jobs", counted_as)}


def test_a_collection_that_found_nothing_to_do_is_not_counted() -> None:
    process = Process(filesystems=[filesystem()])
    process.metrics.record_collection("jobs", Collection(NOW))
    assert process.series("gcsidecar_collections_total") == {("jobs",): 0}


def test_reasons_that_are_not_in_the_catalogue_share_one_series() -> None:
    process = Process()
    kept = tuple(Kept("a", f"reason-{number}", "jobs") for number in range(100))
    process.metrics.record_collection("jobs", Collection(NOW, kept=kept))
    for number in range(100):
        process.metrics.record_eviction("jobs", eviction("jobs", f"reason-{number}"))
    assert process.series("gcsidecar_kept_total")["jobs", "other"] == 100
    assert process.series("gcsidecar_evictions_total")["jobs", "other"] == 100


def test_reloads_are_counted_and_those_refused_among_them() -> None:
    process = Process()
    for ok in (True, False, True):
        process.metrics.record_reload(ok=ok)
    assert process.series("gcsidecar_config_reloads_total") == {(): 3}
    assert process.series("gcsidecar_config_reload_failures_total") == {(): 1}


@pytest.fixture
def _restless_threads() -> Iterator[None]:
    """Threads take turns at nearly every instruction, so that what isn't guarded shows."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("_restless_threads")
def test_nothing_is_lost_or_seen_by_halves_when_many_threads_count_while_it_is_scraped() -> None:
    process = Process(filesystems=[filesystem()])

    def work() -> None:
        for _ in range(500):
            process.metrics.record_eviction("jobs", eviction())

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        families = {family.name: family for family in process.metrics.collect()}
        evicted = sum(sample.value for sample in families["gcsidecar_evictions"].samples)
        took = {sample.name: sample.value for sample in families["gcsidecar_eviction_duration_seconds"].samples}
        assert took["gcsidecar_eviction_duration_seconds_count"] == evicted
    for thread in threads:
        thread.join()
    assert process.series("gcsidecar_evictions_total")["jobs", "disk"] == 3000
    assert process.series("gcsidecar_eviction_expected_bytes_total") == {("jobs",): 3000 * 4096}


@pytest.mark.usefixtures("_restless_threads")
def test_what_others_count_is_followed_once_however_many_scrape_at_a_time() -> None:
    grown = itertools.count(1)

    def ask() -> Status:
        return Status((root(),), (replace(filesystem(), reclaimed_late_bytes=next(grown)),))

    made = Metrics(ask, version="1")
    threads = [threading.Thread(target=lambda: [list(made.collect()) for _ in range(20)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    families = {family.name: family for family in made.collect()}
    assert families["gcsidecar_eviction_reclaimed_late_bytes"].samples[0].value == 6 * 20 + 1


def test_a_folder_that_is_gone_has_no_series_any_more() -> None:
    old, new = (FolderShare(name, State.IDLE, 1, 1, NOW) for name in ("old", "new"))
    process = Process(root("jobs", "jobs", old, new))
    assert process.names_with("old") == {
        "gcsidecar_folder_size_bytes",
        "gcsidecar_folder_last_used_timestamp_seconds",
    }
    process.status = Status((root("jobs", "jobs", new),))
    assert process.names_with("old") == set()


def test_a_root_taken_out_of_the_config_has_no_series_any_more_and_no_counter_either() -> None:
    process = Process(root("jobs"), root("models"), filesystems=[filesystem("jobs", "jobs", "models")])
    process.metrics.record_eviction("jobs", eviction("models"))
    assert "gcsidecar_evictions_total" in process.names_with("models")
    process.status = Status((root("jobs"),), (filesystem("jobs", "jobs"),))
    assert process.names_with("models") == set()
    assert process.names_with("jobs") != set()


def test_a_cap_that_was_measured_for_a_root_no_longer_in_the_config_is_not_shown() -> None:
    process = Process(root("jobs"), filesystems=[filesystem("jobs", "jobs", "models")])
    assert process.series("gcsidecar_root_max_size_bytes").keys() == {("jobs",)}


def test_a_metric_without_series_is_not_shown_at_all() -> None:
    process = Process(RootStatus("jobs", None, "missing"))
    assert "gcsidecar_root_size_bytes" not in {family.name for family in process.metrics.collect()}


def test_of_a_root_that_cannot_be_opened_only_its_role_its_last_reconcile_and_its_counters_are_left() -> None:
    process = Process(RootStatus("jobs", None, "missing"))
    process.metrics.record_eviction("jobs", eviction("jobs"))
    names = process.names_with("jobs")
    assert {"gcsidecar_root_role", "gcsidecar_evictions_total"} <= names
    assert not names & {"gcsidecar_root_folders", "gcsidecar_root_size_bytes", "gcsidecar_leases"}
    assert process.series("gcsidecar_root_role")["jobs", "missing"] == 1


def test_a_filesystem_that_is_gone_has_no_series_any_more() -> None:
    process = Process(root(), filesystems=[filesystem("disk2", "jobs")])
    process.metrics.record_eviction("disk2", eviction())
    assert "gcsidecar_eviction_duration_seconds_bucket" in process.names_with("disk2")
    process.status = Status((root(),))
    assert process.names_with("disk2") == set()


def test_without_a_lease_there_is_no_oldest_one() -> None:
    none = replace(tally(), leases=0, stale_leases=0, dead_leases=0, oldest_lease_at=None)
    process = Process(replace(root(), tally=none))
    assert process.series("gcsidecar_oldest_lease_timestamp_seconds") == {}
    assert process.series("gcsidecar_leases") == {("jobs", "live"): 0, ("jobs", "stale"): 0, ("jobs", "dead"): 0}


def test_a_root_has_the_one_role_that_holds() -> None:
    process = Process(root(), replace(root("models"), role="standby"))
    assert process.series("gcsidecar_root_role") == {("jobs", "active"): 1, ("models", "standby"): 1}


def test_inodes_of_a_root_are_those_of_all_its_folders() -> None:
    assert Process().series("gcsidecar_root_inodes") == {("jobs",): 130}


def test_foreign_is_what_is_used_and_in_no_root_there() -> None:
    shared = filesystem("jobs", "jobs", "models")  # 70 GiB of it are used
    unopened = RootStatus("later", None, "missing")
    process = Process(root("jobs"), root("models", "jobs"), unopened, root("else", "else"), filesystems=[shared])
    assert process.series("gcsidecar_filesystem_foreign_bytes") == {("jobs",): 70 * GIB - 2 * (13 * GIB + 4096)}


def test_foreign_is_never_less_than_0_where_ours_was_measured_at_another_moment() -> None:
    large = replace(tally(), by_state={State.LEASED: Amount(1, 71 * GIB, 1)})
    process = Process(replace(root(), tally=large), filesystems=[filesystem()])
    assert process.series("gcsidecar_filesystem_foreign_bytes") == {("jobs",): 0}


def test_nothing_is_foreign_until_the_disk_was_measured() -> None:
    process = Process(filesystems=[FilesystemStatus("jobs", "ext4", ("jobs",))])
    assert process.series("gcsidecar_filesystem_foreign_bytes") == {}


def test_a_history_is_healthy_or_not_and_where_none_is_kept_neither() -> None:
    kept = [replace(root(name), history=HistoryStatus(healthy=name == "jobs")) for name in ("jobs", "models")]
    process = Process(*kept, replace(root("trial"), history=None))
    assert process.series("gcsidecar_root_history_healthy") == {("jobs",): 1, ("models",): 0}


def test_records_that_histories_dropped_are_added_up_and_never_fall() -> None:
    def dropping(*dropped: int | None) -> Status:
        histories = [None if n is None else HistoryStatus(healthy=False, dropped=n, set_aside=n // 2) for n in dropped]
        return Status(tuple(replace(root(f"root{i}"), history=history) for i, history in enumerate(histories)))

    process, counted, begun_anew = Process(), [], []
    for dropped in ((), (0, 0), (3, 1), (3, 1), (None, 4), (2, 4), ()):
        process.status = dropping(*dropped)
        counted.append(process.series("gcsidecar_history_dropped_records_total")[()])
        begun_anew.append(process.series("gcsidecar_history_set_aside_total")[()])
    assert counted == [0, 0, 4, 4, 7, 9, 9]
    assert begun_anew == [0, 0, 1, 1, 3, 3, 3]


def test_what_comes_back_late_goes_on_being_counted_when_a_filesystem_gets_a_new_keeper() -> None:
    process, counted = Process(), []
    for late_bytes in (0, 100, 150, 0, 20):
        process.status = Status((root(),), (replace(filesystem(), reclaimed_late_bytes=late_bytes),))
        counted.append(process.series("gcsidecar_eviction_reclaimed_late_bytes_total")["jobs",])
    assert counted == [0, 100, 150, 150, 170]


def test_stalls_are_read_at_each_scrape_and_never_in_between() -> None:
    read: list[Stall] = []

    def stalls() -> tuple[Stall, ...]:
        read.append(Stall("io", "host", len(read), 0.0))
        return (read[-1],)

    made = Metrics(status, version="1", stalls=stalls)
    assert read == []
    for expected in (0, 1):
        samples = [sample for family in made.collect() for sample in family.samples]
        found = {s.labels["resource"]: s.value for s in samples if s.name == "gcsidecar_psi_waiting_seconds_total"}
        assert found == {"io": expected}


def test_stale_leases_are_no_live_ones_and_dead_ones_hold_nothing() -> None:
    assert Process().series("gcsidecar_leases") == {("jobs", "live"): 2, ("jobs", "stale"): 1, ("jobs", "dead"): 1}


def test_leases_that_were_reaped_are_counted_by_why_from_0_on() -> None:
    process = Process()
    assert process.series("gcsidecar_leases_reaped_total") == {("dead",): 0, ("expired",): 0}
    for why in (End.DEAD, End.DEAD, End.EXPIRED):
        process.metrics.record_reaped(reaped(why))
    assert process.series("gcsidecar_leases_reaped_total") == {("dead",): 2, ("expired",): 1}


def test_a_state_without_folders_is_shown_as_0() -> None:
    process = Process(replace(root(), tally=replace(tally(), by_state={State.IDLE: Amount(1, 2, 3)})))
    assert process.series("gcsidecar_root_folders") == {
        ("jobs", "leased"): 0,
        ("jobs", "pinned"): 0,
        ("jobs", "young"): 0,
        ("jobs", "idle"): 1,
    }


def on(
    free: int, *, rate: float = 0.0, trigger: int = 20, target: int = 30, on_its_way: int = 0, held: bool = True
) -> Process:
    """A disk of 100 bytes."""
    threshold = Threshold(Resource.DISK, trigger, target)
    found = FilesystemStatus(
        "jobs",
        "ext4",
        ("jobs",),
        (Measurement(Resource.DISK, 100, free, NOW),),
        (threshold,) if held else (),
        {(Resource.DISK, None): rate},
        {Resource.DISK: on_its_way},
    )
    return Process(filesystems=[found])


@pytest.mark.parametrize(
    ("free", "rate", "seconds"),
    [(50, 0.0, math.inf), (50, 10.0, 3.0), (20, 10.0, 0.0), (20, 0.0, math.inf), (19, 10.0, 0.0), (19, 0.0, 0.0)],
)
def test_the_time_to_the_trigger_is_infinite_while_nothing_fills_and_0_below_it(
    free: int, rate: float, seconds: float
) -> None:
    shown = on(free, rate=rate).series("gcsidecar_filesystem_time_to_trigger_seconds")
    assert shown == {("jobs", "disk"): seconds}


@pytest.mark.parametrize(("free", "pressure"), [(100, 0.0), (60, 0.5), (20, 1.0), (0, 1.25)])
def test_pressure_is_1_exactly_at_the_trigger(free: int, pressure: float) -> None:
    assert on(free).series("gcsidecar_filesystem_pressure_ratio") == {("jobs", "disk"): pressure}


@pytest.mark.parametrize(("free", "on_its_way", "deficit"), [(40, 0, 0), (25, 0, 5), (10, 0, 20), (10, 15, 5)])
def test_the_deficit_is_what_is_missing_to_the_target_less_what_is_on_its_way(
    free: int, on_its_way: int, deficit: int
) -> None:
    process = on(free, on_its_way=on_its_way)
    assert process.series("gcsidecar_filesystem_disk_deficit_bytes") == {("jobs",): deficit}
    assert process.series("gcsidecar_filesystem_disk_on_its_way_bytes") == {("jobs",): on_its_way}


def test_a_resource_that_is_only_watched_has_no_threshold_and_no_pressure() -> None:
    process = on(50, held=False)
    assert process.series("gcsidecar_filesystem_disk_free_bytes") == {("jobs",): 50}
    assert {name for name in process.names_with("jobs") if "filesystem_disk" in name} == {
        "gcsidecar_filesystem_disk_capacity_bytes",
        "gcsidecar_filesystem_disk_free_bytes",
        "gcsidecar_filesystem_disk_fill_bytes_per_second",
        "gcsidecar_filesystem_disk_on_its_way_bytes",
    }
    assert process.series("gcsidecar_filesystem_pressure_ratio") == {}


def test_a_cap_is_shown_by_root_in_the_words_of_the_config() -> None:
    process = Process(filesystems=[filesystem()])
    assert process.series("gcsidecar_root_max_size_bytes") == {("jobs",): 12 * GIB}
    assert process.series("gcsidecar_root_target_size_bytes") == {("jobs",): 11 * GIB}
    assert process.series("gcsidecar_root_max_folders") == {("jobs",): 10}
    assert process.series("gcsidecar_root_cap_pressure_ratio") == {("jobs", "size"): 13 / 12, ("jobs", "folders"): 0.8}
    assert process.series("gcsidecar_root_cap_time_to_trigger_seconds") == {
        ("jobs", "size"): 0,
        ("jobs", "folders"): 4,
    }
    assert ("jobs", "size") not in process.series("gcsidecar_filesystem_pressure_ratio")


@pytest.mark.parametrize(
    ("used", "idle", "unmeetable"), [(90, 0, False), (110, 20, False), (110, 10, False), (110, 9, True)]
)
def test_a_cap_cannot_be_met_where_what_is_not_idle_overruns_it_alone(
    used: int, idle: int, *, unmeetable: bool
) -> None:
    capped = FilesystemStatus(
        "jobs",
        "ext4",
        ("jobs",),
        (Measurement(Resource.SIZE, 100, 100 - used, NOW, "jobs"),),
        (Threshold(Resource.SIZE, 0, 10, "jobs"),),
    )
    states = {State.LEASED: Amount(1, used - idle, 1), State.IDLE: Amount(1, idle, 1)}
    process = Process(replace(root(), tally=replace(tally(), by_state=states)), filesystems=[capped])
    assert process.series("gcsidecar_root_cap_unmeetable") == {("jobs", "size"): unmeetable}


def test_the_info_metric_says_which_roots_share_a_filesystem() -> None:
    process = Process(filesystems=[filesystem("jobs", "jobs", "models")])
    assert process.series("gcsidecar_filesystem_info") == {("jobs", "jobs", "ext4"): 1, ("jobs", "models", "ext4"): 1}


def test_a_single_metric_can_be_asked_for() -> None:
    narrowed = metrics().registry.restricted_registry(["gcsidecar_evictions_total", "process_open_fds"])
    names = {family.name for family in narrowed.collect()}
    assert names == {"gcsidecar_evictions", "process_open_fds"}


def test_the_process_itself_is_shown_beside_it() -> None:
    names = {family.name for family in metrics().registry.collect()}
    assert {"process_resident_memory_bytes", "python_info", "gcsidecar_build"} <= names


def test_a_status_is_asked_for_once_a_scrape() -> None:
    asked: list[int] = []

    def ask() -> Status:
        asked.append(1)
        return status()

    made = Metrics(ask, version="1")
    assert not asked
    list(made.collect())
    assert len(asked) == 1

"""The main job, end to end: writers with leases fill a cache for a minute, and a real Prometheus tells of it."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

import needs
from e2e.crew import Crew, Use
from e2e.harness import Sidecar, eventually
from e2e.prometheus import SCRAPE_SECONDS, Prometheus
from e2e.writers import Work

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

pytestmark = pytest.mark.e2e

MIB = 1 << 20
SECONDS = 60.0
CAPACITY_BYTES = 64 * MIB
# 20 % of the filesystem is free when eviction starts; the writers together take more than 3 s to use that up.
WRITERS, BYTES_PER_SECOND = 4, MIB
FILES, FILE_BYTES = 12, 128 * 1024
# What the writers know of a moment and what the sidecar knows of it: a release is heard of a little later.
TOLERANCE_SECONDS = 1.0
SAME_MOMENT_SECONDS = 0.05
# Of nine scrapes in ten; one that takes as long as the interval is a failed one.
SLOW_SCRAPE_SECONDS = 0.25
# The longest interval between two measurements, and a scrape.
OLDEST_MEASUREMENT_SECONDS = 5.0 + SCRAPE_SECONDS + 0.5


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache to fill, and in what its pressure shows."""

    path: Path
    root: dict[str, Any]
    reason: str
    pressure: str


@pytest.fixture
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Cache:
    if os.geteuid() == 0:
        path = request.getfixturevalue("tmpfs")(CAPACITY_BYTES)
        return Cache(path, {}, "disk", 'gcsidecar_filesystem_pressure_ratio{resource="disk"}')
    path = tmp_path / "cache"
    path.mkdir()
    caps = {"max_size": CAPACITY_BYTES * 80 // 100, "target_size": CAPACITY_BYTES * 75 // 100}
    return Cache(path, caps, "size", 'gcsidecar_root_cap_pressure_ratio{resource="size"}')


@dataclass(frozen=True, slots=True)
class Evicted:
    """An eviction as the log has it."""

    folder: str
    began: float
    ended: float
    expected_bytes: int
    reclaimed_bytes: int
    reasons: str


def evictions(sidecar: Sidecar) -> list[Evicted]:
    return [
        Evicted(
            event["folder"],
            _seconds(event) - event["seconds"],
            _seconds(event),
            event["expected_disk"] or 0,
            event["reclaimed_disk"],
            event["reasons"],
        )
        for event in sidecar.events("evicted")
    ]


def _seconds(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def test_a_cache_that_fills_for_a_minute_is_kept_in_order_and_prometheus_tells_of_it(
    tmp_path: Path, cache: Cache
) -> None:
    needs.program("promtool", "prometheus")
    thresholds = {"disk": {"min_free": "20%", "target_free": "25%"} if cache.reason == "disk" else None, "inodes": None}
    root = {"name": "jobs", "path": str(cache.path), "min_age": 0} | cache.root
    with (
        Sidecar(tmp_path, {"thresholds": thresholds, "roots": [root]}) as sidecar,
        Prometheus(tmp_path, sidecar.port) as prometheus,
        Crew(tmp_path) as crew,
    ):
        eventually(lambda: prometheus.has("up == 1"), "the first scrape")
        began = time.monotonic()
        fill(crew, cache.path)
        crew.dismiss()
        eventually(lambda: is_at_rest(sidecar), "all is settled")
        time.sleep(2 * SCRAPE_SECONDS + 1)
        gone, uses, span = evictions(sidecar), crew.uses(), f"{time.monotonic() - began + 5:.0f}s"
        report(sidecar, prometheus, gone, uses, span)

        assert len(gone) > 50, "it has to be filled several times over"
        assert not sidecar.events("eviction-failed")
        assert [use for use in uses if not use.went_well] == []
        assert evicted_while_leased(gone, uses) == []
        assert evicted_out_of_order(gone, uses, set(crew.missed())) == []
        assert {one.folder for one in gone}.isdisjoint(os.listdir(cache.path))

        assert_scrapes_went_well(prometheus, span)
        assert_prometheus_has_what_the_log_has(prometheus, gone, span, cache.reason)
        assert_figures_are_real(prometheus, cache, gone, uses, span)
        assert_metrics_are_clean(sidecar)


def fill(crew: Crew, path: Path) -> None:
    """Until the minute is over. Who holds on all the time has the oldest folder of all."""
    crew.hire(Work(str(path), "holder", 0, FILES, FILE_BYTES, hold_seconds=10 * SECONDS))
    eventually((path / "holder-0/MANIFEST").exists, "the holder has its folder")
    for number in range(WRITERS):
        work = Work(str(path), f"job{number}", number, FILES, FILE_BYTES, BYTES_PER_SECOND, 0.25, 0.2)
        crew.hire(work)
    time.sleep(SECONDS)


def is_at_rest(sidecar: Sidecar) -> bool:
    """Nothing is leased, all is measured, and what was evicted is deleted."""
    return (
        sidecar.metric("gcsidecar_root_folders", state="leased") == 0
        and sidecar.metric("gcsidecar_root_unmeasured_folders") == 0
        and sidecar.metric("gcsidecar_root_condemned_folders") == 0
    )


def evicted_while_leased(gone: Sequence[Evicted], uses: Sequence[Use]) -> list[str]:
    """Folders that went between the moment when somebody had a lease for sure and the one when he gave it back."""
    return [
        one.folder
        for one in gone
        for use in uses
        if use.folder == one.folder and use.took < one.began and one.ended < use.releasing
    ]


def evicted_out_of_order(gone: Sequence[Evicted], uses: Sequence[Use], missed: set[str]) -> list[str]:
    """Evictions at whose time another folder lay there unleased that had not been used for longer.

    Whose state was not the same for a while before and after is no evidence, nor who was missed: a lease that its
    holder gave up stays in the folder for a moment.
    """
    wrong = []
    # One goes after the other, several within one tick of the log's clock.
    turns = {one.folder: turn for turn, one in enumerate(gone)}
    for turn, one in enumerate(gone):
        used = max(use.releasing for use in uses if use.folder == one.folder)
        for other in {use.folder for use in uses} - missed - {one.folder}:
            if turns.get(other, len(gone)) < turn:
                continue
            idle_since = idle_before(one.began, [use for use in uses if use.folder == other])
            if idle_since is not None and idle_since < used - SAME_MOMENT_SECONDS:
                wrong.append(f"{one.folder}, used at {used}, went before {other}, used at {idle_since}")
    return wrong


def idle_before(at: float, uses: Sequence[Use]) -> float | None:
    """When a folder was last used, if it was there and surely in no use about then."""
    if any(use.began < at + TOLERANCE_SECONDS and at - TOLERANCE_SECONDS < use.released for use in uses):
        return None
    return max((use.released for use in uses if use.released < at), default=None)


def assert_scrapes_went_well(prometheus: Prometheus, span: str) -> None:
    assert prometheus.value(f"min_over_time(up[{span}])") == 1
    assert prometheus.value(f"count_over_time(up[{span}])") > 0.9 * SECONDS / SCRAPE_SECONDS
    assert prometheus.value(f"quantile_over_time(0.9, scrape_duration_seconds[{span}])") < SLOW_SCRAPE_SECONDS
    assert prometheus.value(_age(span)) < OLDEST_MEASUREMENT_SECONDS
    assert prometheus.value(f"min_over_time(gcsidecar_filesystem_last_measurement_successful[{span}])") == 1


def _age(span: str) -> str:
    return f"max_over_time((time() - gcsidecar_filesystem_last_measurement_timestamp_seconds)[{span}:1s])"


def assert_prometheus_has_what_the_log_has(
    prometheus: Prometheus, gone: Sequence[Evicted], span: str, reason: str
) -> None:
    counted = f'gcsidecar_evictions_total{{root="jobs",reason="{reason}"}}'
    assert {one.reasons for one in gone} == {reason}
    assert prometheus.value(counted) == prometheus.value("sum(gcsidecar_evictions_total)") == len(gone)
    # It goes on to the edges of the span as if more had happened there: half a scrape at each end at most.
    assert len(gone) <= round(prometheus.value(f"increase({counted}[{span}])"), 6) < 1.05 * len(gone)
    assert prometheus.value("gcsidecar_eviction_expected_bytes_total") == sum(one.expected_bytes for one in gone)
    assert prometheus.value("gcsidecar_eviction_reclaimed_bytes_total") == sum(one.reclaimed_bytes for one in gone)
    assert prometheus.value("gcsidecar_eviction_duration_seconds_count") == len(gone)
    assert prometheus.value("gcsidecar_eviction_idle_seconds_count") == len(gone)
    assert prometheus.value("gcsidecar_eviction_failures_total") == 0


def assert_figures_are_real(
    prometheus: Prometheus, cache: Cache, gone: Sequence[Evicted], uses: Sequence[Use], span: str
) -> None:
    there = {name for name in os.listdir(cache.path) if not name.startswith(".")}
    shown = {series["metric"]["folder"] for series in prometheus.query("gcsidecar_folder_size_bytes")}
    assert shown
    assert shown <= there
    assert prometheus.value("sum(gcsidecar_root_folders)") == len(there)
    wrote_bytes = dict.fromkeys([*there, *(one.folder for one in gone)], 0)
    for use in uses:
        wrote_bytes[use.folder] += use.wrote_bytes
    evicted_bytes = sum(wrote_bytes[one.folder] for one in gone)
    assert prometheus.value("gcsidecar_eviction_expected_bytes_total") == pytest.approx(evicted_bytes, rel=0.05)
    # What others write while a folder is deleted is not to be told from what came back.
    assert 0.7 < prometheus.value("gcsidecar_eviction_reclaimed_bytes_total") / evicted_bytes < 1.05
    assert 0.95 < prometheus.value(f"max_over_time({cache.pressure}[{span}])") < 1.2
    if cache.reason == "disk":
        assert prometheus.value("gcsidecar_filesystem_disk_capacity_bytes") == CAPACITY_BYTES
        free, trigger = os.statvfs(cache.path), prometheus.value("gcsidecar_filesystem_disk_trigger_bytes")
        used_bytes = (free.f_blocks - free.f_bavail) * free.f_frsize
        assert prometheus.value(cache.pressure) == pytest.approx(used_bytes / (CAPACITY_BYTES - trigger))


def assert_metrics_are_clean(sidecar: Sidecar) -> None:
    _, text = sidecar.get("/metrics")
    promtool = [needs.program("promtool", "prometheus"), "check", "metrics"]
    check = subprocess.run(promtool, input=text, text=True, capture_output=True, check=False)
    assert (check.returncode, check.stdout + check.stderr) == (0, "")


def report(sidecar: Sidecar, prometheus: Prometheus, gone: Sequence[Evicted], uses: Sequence[Use], span: str) -> None:
    """Figures for people: pytest shows them where the test fails, and with `-s`."""
    planned = [_seconds(event) for event in sidecar.events("planned")]
    first = [min((one.ended - at for one in gone if one.ended >= at), default=0.0) for at in planned]
    longest_scrape = prometheus.value(f"max_over_time(scrape_duration_seconds[{span}])")
    print(f"{len(uses)} uses, {len(gone)} evictions in {len(planned)} collections, {len(sidecar.events('kept'))} kept")
    print(f"from plan to the first bytes freed: {max(first, default=0):.3f} s at most")
    print(f"longest scrape {longest_scrape:.4f} s, oldest measurement {prometheus.value(_age(span)):.2f} s")
    for metric in ("evictions_of_unknown_size_total", "evictions_clamped_total"):
        print(f"{metric} {prometheus.value(f'gcsidecar_{metric}')}")

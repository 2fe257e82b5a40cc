"""Gauges for memory, on directories that look like a cgroup, and on a real one."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from gcsidecar import Level, MeasurementError, Resource
from gcsidecar.gc.memory import CgroupMemoryGauge, HostMemoryGauge
from needs import unavailable

MIB = 1 << 20
V1_ROOT = Path("/sys/fs/cgroup/memory")


def v2(path: Path, limit: object, usage: int, inactive: int = 0) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "memory.max").write_text(f"{limit}\n")
    (path / "memory.current").write_text(f"{usage}\n")
    (path / "memory.stat").write_text(f"anon 7\ninactive_file {inactive}\n")
    return path


def v1(path: Path, limit: int, usage: int, inactive: int = 0) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (path / "memory.usage_in_bytes").write_text(f"{usage}\n")
    (path / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {inactive}\n")
    return path


def test_the_machine_has_what_psutil_says_and_its_threshold_is_in_bytes() -> None:
    gauge = HostMemoryGauge(Level(share=0.1), Level(share=0.2))
    found = gauge.measure()
    assert (found.resource, found.capacity) == (Resource.MEMORY, psutil.virtual_memory().total)
    assert 0 < found.free < found.capacity
    threshold = gauge.threshold(found)
    assert threshold.target == pytest.approx(found.capacity * 0.2, abs=1)


@pytest.mark.parametrize("make", [v1, v2])
def test_of_a_cgroup_inactive_file_pages_count_as_available(tmp_path: Path, make: object) -> None:
    assert callable(make)
    path = make(tmp_path / "jobs", 100 * MIB, 80 * MIB, 30 * MIB)
    found = CgroupMemoryGauge(str(path), Level(10 * MIB)).measure()
    assert (found.capacity, found.free) == (100 * MIB, 50 * MIB)


def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    v2(tmp_path / "pods", 200 * MIB, 190 * MIB)
    path = v2(tmp_path / "pods/jobs", 100 * MIB, 50 * MIB)
    found = CgroupMemoryGauge(str(path), Level(1)).measure()
    assert (found.capacity, found.free) == (200 * MIB, 10 * MIB)


@pytest.mark.parametrize("limit", ["max", 1 << 62])
def test_without_a_limit_the_machine_is_the_limit(tmp_path: Path, limit: object) -> None:
    found = CgroupMemoryGauge(str(v2(tmp_path / "jobs", limit, 5)), Level(1)).measure()
    assert found.capacity == psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: (path / "memory.current").unlink(), "memory.current"),
        (lambda path: (path / "memory.current").write_text("many"), "not an amount"),
        (lambda path: (path / "memory.current").write_text("max"), "not an amount"),
        (lambda path: (path / "memory.stat").write_text("anon 7"), "inactive_file"),
        (lambda path: (path / "memory.max").unlink(), "no cgroup"),
    ],
)
def test_a_cgroup_that_cannot_be_read_is_an_error_with_its_file(tmp_path: Path, spoil: object, says: str) -> None:
    path = v2(tmp_path / "jobs", 100 * MIB, 5)
    assert callable(spoil)
    spoil(path)
    with pytest.raises(MeasurementError, match=says):
        CgroupMemoryGauge(str(path), Level(1)).measure()


def test_a_real_cgroup_with_a_limit_is_measured() -> None:
    child = V1_ROOT / f"gcsidecar-test-{os.getpid()}"
    if os.geteuid() != 0 or not (V1_ROOT / "memory.limit_in_bytes").exists():
        unavailable("there is no cgroup v1 tree here that we may add to")
    try:
        child.mkdir()
    except OSError as error:
        unavailable(f"no cgroup can be made here: {error}")
    try:
        (child / "memory.limit_in_bytes").write_text(str(64 * MIB))
        found = CgroupMemoryGauge(str(child), Level(MIB)).measure()
        assert found.capacity == 64 * MIB
        assert found.free <= 64 * MIB
    finally:
        child.rmdir()

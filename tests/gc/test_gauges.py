"""Space as an ordinary user has it: what `df` shows is what is measured."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

import needs
from gcsidecar import Level, Measurement, MeasurementError, Resource, Threshold
from gcsidecar.gc.gauges import SpaceGauge, strictest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes import FakeClock

MIB = 1024**2


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A filesystem in memory of 8 MiB and 100 inodes."""
    where = tmp_path / "tmpfs"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={8 * MIB},nr_inodes=100", "tmpfs", str(where)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        needs.unavailable(f"can't mount a tmpfs: {mounted.stderr.strip()}")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def df(where: Path) -> dict[Resource, tuple[int, int]]:
    """What `df` calls used and available together, and available."""
    columns = "used,avail,iused,iavail"
    shown = subprocess.check_output(["df", "-B1", f"--output={columns}", str(where)], text=True).splitlines()[1]
    used, free, used_inodes, free_inodes = (0 if figure == "-" else int(figure) for figure in shown.split())
    return {Resource.DISK: (used + free, free), Resource.INODES: (used_inodes + free_inodes, free_inodes)}


def measured(where: Path) -> dict[Resource, tuple[int, int]]:
    found = [SpaceGauge(resource, str(where)).measure() for resource in (Resource.DISK, Resource.INODES)]
    return {reading.resource: (reading.capacity, reading.free) for reading in found}


def test_the_figures_are_those_of_df(tmp_path: Path) -> None:
    found, shown = measured(tmp_path), df(tmp_path)
    for resource, figures in shown.items():  # others write here, too; on a filesystem of our own it is exact
        assert list(found[resource]) == pytest.approx(list(figures), rel=0.01)


@pytest.mark.root
def test_on_a_tmpfs_they_follow_what_is_written(tmpfs: Path) -> None:
    empty = measured(tmpfs)
    assert empty == {Resource.DISK: (8 * MIB, 8 * MIB), Resource.INODES: (100, 99)}
    (tmpfs / "file").write_bytes(bytes(3 * MIB))
    assert measured(tmpfs) == df(tmpfs) == {Resource.DISK: (8 * MIB, 5 * MIB), Resource.INODES: (100, 98)}


def _statvfs(**fields: int) -> os.statvfs_result:
    names = ["bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "flag", "namemax"]
    return os.statvfs_result([fields.get(name, 0) for name in names])


def test_what_is_reserved_for_root_is_neither_capacity_nor_free(clock: FakeClock) -> None:
    ext4 = _statvfs(bsize=1, frsize=4096, blocks=100, bfree=40, bavail=35, files=50, ffree=30, favail=28)
    found = {
        resource: SpaceGauge(resource, "/", clock=clock, statvfs=lambda _: ext4).measure()
        for resource in (Resource.DISK, Resource.INODES)
    }
    assert found[Resource.DISK] == Measurement(Resource.DISK, 95 * 4096, 35 * 4096, clock.time())
    assert found[Resource.INODES] == Measurement(Resource.INODES, 48, 28, clock.time())


def test_a_filesystem_that_counts_no_inodes_has_no_threshold_for_them() -> None:
    btrfs = _statvfs(bsize=4096, frsize=4096, blocks=100, bfree=10, bavail=10)
    gauge = SpaceGauge(Resource.INODES, "/", [(Level(10), Level(20))], statvfs=lambda _: btrfs)
    assert gauge.threshold(gauge.measure()) is None


def test_an_open_folder_is_measured_wherever_it_is_moved(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        folder.rename(tmp_path / "elsewhere")
        assert SpaceGauge(Resource.DISK, descriptor).measure().capacity > 0
    finally:
        os.close(descriptor)


def test_what_is_not_there_says_which_path_and_what_to_look_at(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(MeasurementError) as caught:
        SpaceGauge(Resource.DISK, str(gone)).measure()
    assert str(caught.value) == f"can't measure disk of {gone}: No such file or directory; is it still mounted?"
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.mark.parametrize(
    ("levels", "trigger", "target"),
    [
        pytest.param([(Level(100), Level(200))], 100, 200, id="one pair"),
        pytest.param([(Level(share=0.2), Level(share=0.25))], 200, 250, id="shares of the capacity"),
        pytest.param([(Level(100), Level(share=0.3)), (Level(share=0.15), Level(200))], 150, 300, id="of each field"),
        pytest.param([(Level(100), Level(share=0.05))], 100, 100, id="a share that comes out below the trigger"),
    ],
)
def test_of_several_levels_the_strictest_of_each_field_holds(
    levels: list[tuple[Level, Level]], trigger: int, target: int
) -> None:
    found = Measurement(Resource.DISK, 1000, 500, 0.0)
    assert strictest(levels, found) == Threshold(Resource.DISK, trigger, target)
    assert SpaceGauge(Resource.DISK, "/", levels).threshold(found) == Threshold(Resource.DISK, trigger, target)


def test_without_levels_it_is_only_watched() -> None:
    assert SpaceGauge(Resource.DISK, "/").threshold(Measurement(Resource.DISK, 1000, 0, 0.0)) is None

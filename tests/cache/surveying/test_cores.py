"""A quota of the processor is found wherever the kernel has it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gcsidecar.cache.surveying.cores import cores, quota

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/", {}, None),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "50000 100000"}, 0.5),
        ("0::/pod/box", {"pod/box/cpu.max": "max 100000", "pod/cpu.max": "150000 100000"}, 1.5),
        ("0::/pod/box", {"pod/box/cpu.max": "100000 100000", "pod/cpu.max": "300000 100000"}, 1.0),
        ("0::/elsewhere", {"cpu.max": "200000 100000"}, 2.0),
        ("3:cpu,cpuacct:/pod", {"cpu,cpuacct/pod/cpu.cfs_quota_us": "-1"}, None),
        (
            "7:memory:/\n3:cpu,cpuacct:/pod",
            {"cpu,cpuacct/pod/cpu.cfs_quota_us": "20000", "cpu,cpuacct/pod/cpu.cfs_period_us": "100000"},
            0.2,
        ),
        ("0::/", {"cpu.max": "nonsense"}, None),
    ],
)
def test_the_smallest_on_the_way_up_counts(
    tmp_path: Path, own: str, files: dict[str, str], expected: float | None
) -> None:
    (tmp_path / "own").write_text(f"{own}\n")
    for name, text in files.items():
        (tmp_path / "mount" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mount" / name).write_text(f"{text}\n")
    assert quota(str(tmp_path / "own"), str(tmp_path / "mount")) == expected


def test_without_cgroups_there_is_none(tmp_path: Path) -> None:
    assert quota(str(tmp_path / "none"), str(tmp_path)) is None
    assert cores() == len(os.sched_getaffinity(0))

"""A filesystem that gives back late: what came at once and what came later are told apart, and add up."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

import needs
from e2e.harness import Sidecar, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from cache.conftest import Mounts

pytestmark = pytest.mark.e2e

MIB = 1 << 20


@pytest.fixture
def btrfs(mounts: Mounts, tmp_path: Path) -> Path:
    """One that commits each second, which is when it gives back; else that takes half a minute."""
    image = tmp_path / "btrfs.img"
    with image.open("wb") as file:
        file.truncate(200 * MIB)
    make = [needs.program("mkfs.btrfs", "btrfs-progs"), "-q", "-m", "single", str(image)]
    subprocess.run(make, check=True, capture_output=True)
    return mounts.mount(tmp_path / "btrfs", "-o", "loop,commit=1", str(image))


def test_what_btrfs_gives_back_late_is_counted_beside_what_came_at_once(tmp_path: Path, btrfs: Path) -> None:
    for name in ("a", "b", "c", "d"):
        (btrfs / name).mkdir()
        (btrfs / name / "data").write_bytes(os.urandom(8 * MIB))
    os.sync()
    caps = {"name": "jobs", "path": str(btrfs), "min_age": 0, "max_folders": 4}
    with Sidecar(tmp_path, {"roots": [caps]}) as sidecar:
        eventually(lambda: sidecar.metric("gcsidecar_root_unmeasured_folders") == 0, "sizes are known")
        (btrfs / "e").mkdir()
        (btrfs / "f").mkdir()
        eventually(lambda: len(sidecar.events("evicted")) == 2, "two go")
        at_once = sum(event["reclaimed_disk"] for event in sidecar.events("evicted"))
        assert at_once < 15 * MIB, "this btrfs gives back all at once, and shows nothing of what comes late"

        def late() -> float:
            return sidecar.metric("gcsidecar_eviction_reclaimed_late_bytes_total") or 0

        eventually(lambda: at_once + late() >= 15 * MIB, "the rest comes back")
        assert late() <= (sidecar.metric("gcsidecar_eviction_expected_bytes_total") or 0) == 16 * MIB

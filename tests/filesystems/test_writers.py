"""A writer at full speed, with the thresholds left as they are: it never meets a full disk, and keeps what it holds.

How long that goes well at which speed is for `make bench`; here it goes on for seconds only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.harness import Sidecar
from filesystems.full_speed import MIB, run

if TYPE_CHECKING:
    from pathlib import Path

    from cache.conftest import MakeFilesystem

pytestmark = pytest.mark.e2e

SECONDS = 1.0
# Of the filesystem, and of each folder. A disk that is written to for real takes longer.
SIZES_MIB = {"tmpfs": (2048, 64), "ext4": (768, 32), "xfs": (1024, 32)}


@pytest.mark.parametrize("kind", SIZES_MIB)
def test_a_writer_at_full_speed_meets_no_full_disk_and_what_it_holds_is_not_touched(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    make: MakeFilesystem = request.getfixturevalue(kind)
    size_bytes, folder_bytes = (size * MIB for size in SIZES_MIB[kind])
    root = make(size_bytes)
    with Sidecar(tmp_path, {"roots": [{"name": "jobs", "path": str(root), "min_age": 0}]}) as sidecar:
        # The first that it makes it holds to the end: of all it is the least recently used.
        made = run(root, SECONDS, folder_bytes=folder_bytes, least_bytes=size_bytes * 5 // 4)
        assert sidecar.events("evicted")
    assert (made.full, made.touched) == (0, ())
    assert made.wrote_bytes > size_bytes, "nothing had to go"

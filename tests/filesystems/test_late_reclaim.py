"""Filesystems that give back late, for real: nothing more goes for what is on its way."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from e2e.harness import Sidecar, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from cache.conftest import MakeFilesystem

pytestmark = pytest.mark.e2e

MIB = 1 << 20
FOLDER_BYTES = 32 * MIB
BLOCK_BYTES = 4096


def free_bytes(root: Path) -> int:
    found = os.statvfs(root)
    return found.f_bavail * found.f_frsize


def make_folder(root: Path, name: str, *, in_pieces: bool) -> None:
    """One of one file, allocated first: who only writes has an xfs take more for a while, for what may come.

    An xfs gives back in the background, piece by piece: one piece so soon that nobody sees it come late, but a file in
    8,192 of them after some 50 ms.
    """
    (root / name).mkdir()
    with (root / name / "data").open("wb") as file:
        piece_bytes = BLOCK_BYTES if in_pieces else FOLDER_BYTES
        for number in range(FOLDER_BYTES // piece_bytes):
            os.posix_fallocate(file.fileno(), 2 * number * piece_bytes, piece_bytes)
        if not in_pieces:
            file.write(bytes(FOLDER_BYTES))
            file.flush()
        os.fsync(file.fileno())


@pytest.mark.parametrize("kind", ["tmpfs", "ext4", "xfs", "btrfs"])
def test_so_many_go_as_are_needed_and_no_more_for_what_comes_late(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The btrfs gives back all at once after some seconds, and shows the old figures until then."""
    make: MakeFilesystem = request.getfixturevalue(kind)
    root = make(700 * MIB, "commit=5") if kind == "btrfs" else make(700 * MIB)
    for number in range(8):
        make_folder(root, f"folder-{number}", in_pieces=kind == "xfs")
    os.sync()
    # The next folder crosses the first, and then three have to go: a btrfs takes some MiB more or less for itself.
    space = {"min_free": free_bytes(root) - FOLDER_BYTES // 2, "target_free": free_bytes(root) + 3 * FOLDER_BYTES // 2}
    caps = {"name": "jobs", "path": str(root), "min_age": 0}
    with Sidecar(tmp_path, {"roots": [caps], "thresholds": {"disk": space}}) as sidecar:
        eventually(lambda: sidecar.metric("gcsidecar_root_unmeasured_folders") == 0, "sizes are known")
        assert sidecar.events("evicted") == []
        make_folder(root, "last", in_pieces=False)
        eventually(lambda: len(sidecar.events("evicted")) >= 3, "it reaches its target")
        eventually(lambda: free_bytes(root) >= space["target_free"], "all came back")
        time.sleep(0.5)  # a look each 20 ms would have found more to do
        assert [event["folder"] for event in sidecar.events("evicted")] == ["folder-0", "folder-1", "folder-2"]
        assert sidecar.metric("gcsidecar_filesystem_paused") == 0

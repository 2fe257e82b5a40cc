"""A root with a budget of its own: one leased folder grows deep inside, where nothing but a walk shows it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from e2e.harness import Sidecar, eventually
from filesystems.overrun import LEASED, MIB, furnish, overruns, used_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from cache.conftest import MakeFilesystem

pytestmark = pytest.mark.e2e

CAP_BYTES = 160 * MIB
# A pod is evicted by kubelet, which looks every 10 s or so, when its volume is over the limit.
KUBELET_SECONDS = 10.0


def test_what_grows_deep_in_a_leased_folder_is_made_up_for_by_what_is_idle(
    tmp_path: Path, tmpfs: MakeFilesystem
) -> None:
    root = tmpfs(1024 * MIB, "nr_inodes=100000")
    furnish(root, files=25_000, idle=4)
    with Sidecar(tmp_path, {"roots": [{"name": "jobs", "path": str(root), "min_age": 0, "max_size": CAP_BYTES}]}) as it:
        eventually(lambda: it.metric("gcsidecar_root_unmeasured_folders") == 0, "sizes are known")
        found = overruns(root, CAP_BYTES, bytes_per_second=50e6, patience_seconds=KUBELET_SECONDS)
        assert all(over.seconds < KUBELET_SECONDS for over in itertools.islice(found, 2))
        assert used_bytes(root) <= CAP_BYTES
        evicted = [event["folder"] for event in it.events("evicted")]
        assert evicted == sorted(evicted)
        assert LEASED not in evicted
    assert (root / LEASED / ".lease").exists()

"""A Hugging Face hub that is filled by the real tool, from a hub on this machine, and evicted from."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import needs
from cache.helpers import opened, reconcile
from gcsidecar.gc.errors import DisposableInUseError
from presets.hub import COMMIT, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gcsidecar.cache.root import Root
    from presets.hub import Hub

FILES = {"config.json": b"{}", "model.bin": b"x" * 100_000}
MODEL = "models--org--name"
DOWNLOAD = "import huggingface_hub; print(huggingface_hub.snapshot_download('org/name', max_workers=1))"


@contextmanager
def downloading(hub: Hub, home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that downloads the model, a file after the other."""
    needs.module("huggingface_hub")
    environ = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_SHARED_BLOBS": "1"}
    environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_TOKEN": ""}
    process = subprocess.Popen([sys.executable, "-c", DOWNLOAD], env=environ, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        hub.held.set()
        process.communicate(timeout=60)


def download(hub: Hub, home: Path) -> dict[str, bytes]:
    """Download the model, and read it as who uses it does."""
    with downloading(hub, home) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    snapshot = output.strip()
    assert snapshot == str(home / "hub" / MODEL / "snapshots" / COMMIT)
    return {name: (home / "hub" / MODEL / "snapshots" / COMMIT / name).read_bytes() for name in FILES}


def evict(root: Root, name: str) -> None:
    reconcile(root)
    folder = root.census.get(name)
    assert folder is not None
    folder.dispose()


def test_a_model_that_was_evicted_comes_back_whole_and_the_locks_stay(tmp_path: Path) -> None:
    with serving(FILES) as hub:
        assert download(hub, tmp_path) == FILES
        locks = sorted((tmp_path / "hub/.locks" / MODEL).iterdir())
        with opened(tmp_path / "hub", folders="*--*") as root:
            assert [folder.name for folder in root.census.folders()] == [MODEL]
            evict(root, MODEL)
            assert not (tmp_path / "hub" / MODEL).exists()
            assert len(locks) == len(FILES)
            assert sorted((tmp_path / "hub/.locks" / MODEL).iterdir()) == locks
        hub.asked.clear()
        assert download(hub, tmp_path) == FILES
        assert sorted(hub.asked) == sorted(FILES)


def test_a_lease_in_the_folder_of_a_model_that_is_still_to_come_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "hub" / MODEL).mkdir(parents=True)
    (tmp_path / "hub" / MODEL / ".lease.1").touch()
    with serving(FILES) as hub, opened(tmp_path / "hub", folders="*--*") as root:
        assert download(hub, tmp_path) == FILES
        with pytest.raises(DisposableInUseError) as kept:
            evict(root, MODEL)
        assert kept.value.reason == "leased"

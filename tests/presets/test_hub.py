"""A Hugging Face hub that is filled by the real tool, from a hub on this machine, and evicted from."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import needs
from cache.helpers import opened, reconcile
from fakes import FakeClock
from gcsidecar.cache.spec import LeaseSpec, Seconds
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
    command = [sys.executable, "-c", DOWNLOAD]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            hub.go_on()


def download(hub: Hub, home: Path) -> dict[str, bytes]:
    """Download the model, and read it as who uses it does."""
    with downloading(hub, home) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    snapshot = output.strip()
    assert snapshot == str(home / "hub" / MODEL / "snapshots" / COMMIT)
    return {name: (home / "hub" / MODEL / "snapshots" / COMMIT / name).read_bytes() for name in FILES}


@contextmanager
def root_at(path: Path, **keys: Any) -> Iterator[Root]:
    path.mkdir(exist_ok=True)
    with opened(path, folders="*--*", **keys) as root:
        yield root


def evict(root: Root) -> None:
    reconcile(root)
    folder = root.census.get(MODEL)
    assert folder is not None
    folder.dispose()


def test_a_model_that_was_evicted_comes_back_whole_and_the_locks_stay(tmp_path: Path) -> None:
    with serving(FILES) as hub:
        assert download(hub, tmp_path) == FILES
        locks = sorted((tmp_path / "hub/.locks" / MODEL).iterdir())
        with root_at(tmp_path / "hub") as root:
            assert [folder.name for folder in root.census.folders()] == [MODEL]
            evict(root)
            assert not (tmp_path / "hub" / MODEL).exists()
            assert len(locks) == len(FILES)
            assert sorted((tmp_path / "hub/.locks" / MODEL).iterdir()) == locks
        hub.asked.clear()
        assert download(hub, tmp_path) == FILES
        assert {f"GET {name}" for name in FILES} <= set(hub.asked)


def test_a_lease_in_the_folder_of_a_model_that_is_still_to_come_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "hub" / MODEL).mkdir(parents=True)
    (tmp_path / "hub" / MODEL / ".lease.1").touch()
    with serving(FILES) as hub, root_at(tmp_path / "hub") as root:
        assert download(hub, tmp_path) == FILES
        assert kept_for(root) == "leased"


def kept_for(root: Root) -> str:
    with pytest.raises(DisposableInUseError) as kept:
        evict(root)
    return kept.value.reason


def locks(grace_seconds: float) -> LeaseSpec:
    return LeaseSpec(locks=(".locks/{folder}/*.lock",), lock_grace=Seconds(grace_seconds))


def test_a_download_keeps_its_folder_also_in_the_gap_between_two_files(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    with serving(FILES) as hub, root_at(tmp_path / "hub", lease=locks(120), clock=clock) as root:
        amid, between = hub.stop_at("GET config.json"), hub.stop_at("HEAD model.bin")
        with downloading(hub, tmp_path) as process:
            hub.wait_for("GET config.json")
            assert kept_for(root) == "locked"
            amid.set()
            hub.wait_for("HEAD model.bin")
            assert kept_for(root) == "locked"
            between.set()
            assert process.wait(60) == 0
        clock.now = time.time()
        assert kept_for(root) == "locked"
        clock.advance(121)
        evict(root)


def test_without_the_grace_it_would_go_in_that_gap(tmp_path: Path) -> None:
    with serving(FILES) as hub, root_at(tmp_path / "hub", lease=locks(0)) as root:
        between = hub.stop_at("HEAD model.bin")
        with downloading(hub, tmp_path):
            hub.wait_for("HEAD model.bin")
            evict(root)
            between.set()

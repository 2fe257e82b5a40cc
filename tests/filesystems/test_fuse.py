"""On a FUSE mount: leases hold without locks, and what goes is looked at once more when others had time to be seen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cache.helpers import make_folder
from e2e.harness import Sidecar, eventually
from filesystems.holders import held
from filesystems.roots import MEASURED_OFTEN, config, names, root

if TYPE_CHECKING:
    from pathlib import Path

    from filesystems.conftest import MakeFilesystem, Serve, Server

pytestmark = pytest.mark.e2e


def settling(path: Path, seconds: float, **keys: Any) -> dict[str, Any]:
    return config(root(path, max_folders=1, lease={"settle": f"{seconds}s"}, **keys), **MEASURED_OFTEN)


def test_what_has_no_lease_goes_whole_and_what_has_one_stays_though_no_lock_says_so(
    server: Server, tmp_path: Path
) -> None:
    cache = server.mount
    for name in ("idle", "bare", "beating"):
        make_folder(cache, f"{name}/deep/deeper")
    (cache / "bare/.lease.1").touch()
    with held(cache / "beating"), Sidecar(tmp_path, settling(cache, 0.5)) as sidecar:
        eventually(lambda: sidecar.metric("gcsidecar_leases", root="jobs", state="live") == 2, "both leases are seen")
        [lease] = (cache / "beating").glob(".lease.*")
        said = json.loads(lease.read_text())
        assert (said["locked"], said["ttl_seconds"]) == (False, 300)
        [event] = eventually(lambda: sidecar.events("evicted"), "what has no lease goes")
        assert event["folder"] == "idle"
        assert event["seconds"] >= 0.5
        assert names(cache) == {"bare", "beating"}
        assert not list((cache / ".gcsidecar").glob("*/*/*"))
        (cache / "bare/.lease.1").unlink()
        eventually(lambda: names(cache) == {"beating"}, "and the other once its lease has ended")
        assert {event["kind"] for event in sidecar.events("opened")} == {"fuse"}
        assert not sidecar.events("eviction-failed")
    assert (cache / "beating/deep/deeper/data").exists()


def test_a_lease_that_another_host_took_just_then_brings_the_folder_back(
    tmpfs: MakeFilesystem, fuse: Serve, tmp_path: Path
) -> None:
    """Who comes by another way to the files is as another host."""
    there = tmpfs()
    cache = fuse(tmp_path / "cache", "bindfs", "-f", str(there)).mount
    for name in ("a", "b"):
        make_folder(cache, name, used_at=1e9 + ord(name))
    (cache / "b/.lease").touch()
    with Sidecar(tmp_path, settling(cache, 1.5)) as sidecar:
        [moved] = eventually(lambda: list((there / ".gcsidecar/evicting").glob("*/a%-*")), "it is moved out")
        (moved / ".lease.late").touch()
        eventually((cache / "a").exists, "it is back")
        assert (cache / "a/data").exists()
        eventually(lambda: [event for event in sidecar.events("kept") if event["reason"] == "leased"], "it is said why")
        assert not sidecar.events("evicted")

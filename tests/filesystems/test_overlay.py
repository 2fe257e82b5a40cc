"""An overlay, as a container's own root is: what was written goes; what lies below can't, and stays whole."""

from __future__ import annotations

import os
from stat import S_ISCHR
from typing import TYPE_CHECKING, Any

import pytest

from cache.helpers import make_folder
from cache.trees import snapshot
from e2e.harness import Sidecar, eventually
from filesystems.conftest import Overlay
from filesystems.roots import config, names, root

if TYPE_CHECKING:
    from pathlib import Path

    from filesystems.conftest import MakeFilesystem, MakeOverlay

pytestmark = pytest.mark.e2e


@pytest.fixture(params=["one filesystem", "two filesystems"])
def layers(request: pytest.FixtureRequest, tmpfs: MakeFilesystem, ext4: MakeFilesystem) -> Overlay:
    """With two, files have other device numbers than directories."""
    above = tmpfs()
    return Overlay(ext4() if request.param == "two filesystems" else above, above)


def fill(layers: Overlay, mounted: Path) -> None:
    """Three folders: in the lower layer, in the upper, and in both."""
    make_folder(mounted, "above", used_at=1e9)
    (mounted / "both/written").write_bytes(bytes(4096))
    os.utime(mounted / "both", (1e9 + 1, 1e9 + 1))
    assert names(layers.upper) == {"above", "both"}
    assert names(mounted) == {"above", "below", "both"}


def made(mounted: Path) -> dict[str, Any]:
    return config(root(mounted, max_folders=1))


def test_what_was_written_goes_and_what_lies_below_is_kept_and_named(
    layers: Overlay, overlay: MakeOverlay, tmp_path: Path
) -> None:
    for name in ("below", "both"):
        make_folder(layers.lower, name, used_at=1e9)
    before = snapshot(layers.lower)
    mounted = overlay(layers, "redirect_dir=nofollow")
    fill(layers, mounted)
    with Sidecar(tmp_path, made(mounted)) as sidecar:
        eventually(lambda: names(mounted) == {"below", "both"}, "what is in the upper layer alone goes")
        eventually(lambda: sidecar.events("nothing-to-evict"), "then nothing can")
        kept = {name for event in sidecar.events("kept") for name in event["named"].split(",")}
        assert {event["reason"] for event in sidecar.events("kept")} == {"immovable"}
        assert kept == {"below", "both"}
        assert "below/.: it can't be moved: it lies in a lower" in sidecar.events("nothing-to-evict")[0]["obstacles"]
        assert sidecar.metric("gcsidecar_kept_total", root="jobs", reason="obstacle")
        assert not sidecar.events("eviction-failed")
    assert sorted(os.listdir(mounted / "both")) == ["data", "written"]
    assert os.listdir(layers.upper / "both") == ["written"]
    assert snapshot(layers.lower) == before


def test_where_directories_may_be_redirected_all_goes_and_the_lower_layer_keeps_what_it_has(
    layers: Overlay, overlay: MakeOverlay, tmp_path: Path
) -> None:
    for name in ("below", "both"):
        make_folder(layers.lower, name, used_at=1e9)
    before = snapshot(layers.lower)
    mounted = overlay(layers, "redirect_dir=on")
    fill(layers, mounted)
    with Sidecar(tmp_path, made(mounted)) as sidecar:
        make_folder(mounted, "newest")
        eventually(lambda: names(mounted) == {"newest"}, "all others go")
        eventually(lambda: len(sidecar.events("evicted")) == 3, "whole")
        assert not sidecar.events("eviction-failed")
        assert not list((mounted / ".gcsidecar").glob("*/*/*"))
    for name in ("below", "both"):
        assert S_ISCHR((layers.upper / name).lstat().st_mode), "a whiteout hides it"
    assert snapshot(layers.lower) == before

"""The real process among hostile trees: what it logs and exports stays readable, and it says what it can't do."""

from __future__ import annotations

import functools
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

import needs
from cache.helpers import make_folder
from e2e.harness import Sidecar, eventually
from hostile.place import NOBODY, Place, flagged
from hostile.test_shapes import ODD_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cache.conftest import MakeFilesystem

pytestmark = pytest.mark.e2e


def config(root: Path, **keys: Any) -> dict[str, Any]:
    """A limit of folders, so that something is to go at all times."""
    return {"roots": [{"name": "jobs", "path": str(root), "min_age": "0s", "max_folders": 2, "history": None} | keys]}


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    """Starts sidecars that need not become ready, and ends them."""
    running: list[Sidecar] = []

    def start(root: Path, **keys: Any) -> Sidecar:
        running.append(Sidecar(tmp_path, config(root, **keys)).start())
        return running[-1]

    yield start
    for sidecar in running:
        sidecar.__exit__()


def role(sidecar: Sidecar) -> str | None:
    roles = ("active", "blocked", "missing", "standby")
    return next((role for role in roles if sidecar.metric("gcsidecar_root_role", root="jobs", role=role)), None)


def test_folders_of_any_name_are_evicted_and_each_event_stays_one_line_of_plain_text(
    place: Place, tmp_path: Path
) -> None:
    for name in ODD_NAMES:
        make_folder(place.root, name)
    with Sidecar(tmp_path, config(place.root, max_folders=1)) as sidecar:
        eventually(lambda: len(sidecar.events("evicted")) == len(ODD_NAMES), "all are evicted")
        assert sidecar.metric("gcsidecar_evictions_total", root="jobs", reason="folders") == len(ODD_NAMES)
        lines = sidecar.log_path.read_text().splitlines()
        assert all(line.startswith('{"time"') and line.endswith("}") and line.isprintable() for line in lines)
    assert {path.name for path in place.root.iterdir()} == {".gcsidecar", "neighbour"}


def test_names_as_labels_are_escaped_and_can_be_read_back(place: Place, tmp_path: Path) -> None:
    for name in ODD_NAMES:
        make_folder(place.root, name)
    with Sidecar(tmp_path, config(place.root, max_folders=100)) as sidecar:
        sizes = functools.partial(sidecar.metric, "gcsidecar_folder_size_bytes", root="jobs")
        for shown in ("caf\\xe9\\x0a\\x09 ", "two\\x0alines", "\\x0d\\x1b[2J", "\\xe2\\x80\\xaegpj", "\\xff" * 255):
            eventually(functools.partial(sizes, folder=shown), f"{shown} is there")


def test_somebody_elses_link_in_the_roots_place_is_not_followed_until_the_root_is_back(
    place: Place, started: Any
) -> None:
    needs.root()
    for name in ("a", "b", "c"):
        make_folder(place.outside, name)
    place.root.rename(place.root.parent / "away")
    place.root.symlink_to(place.outside)
    os.chown(place.root, NOBODY, NOBODY, follow_symlinks=False)
    sidecar = started(place.root)
    eventually(lambda: sidecar.events("root-unavailable"), "it says so")
    assert f"is a link that user {NOBODY} made" in sidecar.events("root-unavailable")[0]["problem"]
    assert role(sidecar) == "missing"
    place.root.unlink()
    (place.root.parent / "away").rename(place.root)
    eventually(lambda: role(sidecar) == "active", "it acts")
    for name in ("a", "b", "c"):
        shutil.rmtree(place.outside / name)


def test_a_link_in_the_place_of_its_own_directory_blocks_the_root_until_it_is_moved_away(
    place: Place, started: Any
) -> None:
    for name in ("a", "b", "c"):
        make_folder(place.root, name)
    (place.root / ".gcsidecar").symlink_to(place.outside)
    sidecar = started(place.root)
    eventually(lambda: sidecar.events("blocked"), "it says so")
    assert "something else has that name: move it away" in sidecar.events("blocked")[0]["problem"]
    assert role(sidecar) == "blocked"
    place.expect_unharmed()
    (place.root / ".gcsidecar").unlink()
    eventually(lambda: sidecar.events("evicted"), "it acts")


def test_what_cannot_be_deleted_whole_is_kept_and_named_in_the_log(ext4: MakeFilesystem, started: Any) -> None:
    with Place(ext4()) as place:
        for name in ("a", "b"):
            make_folder(place.root, f"{name}/sub")
        with flagged(place.root / "a" / "sub", "i"), flagged(place.root / "b" / "sub", "i"):
            sidecar = started(place.root, max_folders=3)
            eventually(sidecar.is_ready, "it is ready")
            eventually(lambda: sidecar.metric("gcsidecar_root_unmeasured_folders", root="jobs") == 0, "all is measured")
            (make_folder(place.root, ".c") / ".lease").touch()
            (place.root / ".c").rename(place.root / "c")
            event = eventually(lambda: [e for e in sidecar.events() if "obstacles" in e], "it says what is in the way")
            assert "a/sub: it is immutable or append-only (chattr)" in event[0]["obstacles"]
            assert not sidecar.events("eviction-failed")
            assert (place.root / "a/sub/data").exists()

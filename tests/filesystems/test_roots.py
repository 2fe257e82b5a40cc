"""A root that is taken away, covered or replaced while the sidecar runs: nothing goes that isn't in its place."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder
from e2e.harness import Sidecar, eventually
from filesystems.holders import held
from filesystems.roots import MEASURED_OFTEN, config, names, root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filesystems.conftest import MakeFilesystem, Mounts

pytestmark = pytest.mark.e2e


@contextmanager
def covered(place: Path, over: Path) -> Iterator[None]:
    """What lies in `place` is out of sight, and `over` is in its place."""
    subprocess.run(["mount", "--bind", str(over), str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def unmounted(place: Path, disk: Path) -> Iterator[None]:
    """`disk`, which is mounted there, is not."""
    subprocess.run(["umount", "--lazy", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "--bind", str(disk), str(place)], check=True)


def lost(sidecar: Sidecar) -> int:
    return len(sidecar.events("root-lost"))


def is_active(sidecar: Sidecar) -> bool:
    return bool(sidecar.metric("gcsidecar_root_role", root="jobs", role="active"))


class Filled:
    """A root with a folder that somebody has a lease on and one that was evicted, and how to tell that it is untouched.

    Attributes:
        path: Where it is now.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path, "gone")
        eventually(lambda: names(path) == {"leased"}, "what has no lease goes")
        eventually((path / ".gcsidecar/history.sqlite").exists, "it keeps a history")
        self._data = path / "leased/data"
        self._before = self._data.stat()

    def expect_untouched(self) -> None:
        assert names(self.path) == {"leased", "extra"}
        found = (self.path / "leased/data").stat()
        assert (found.st_ino, found.st_mtime) == (self._before.st_ino, self._before.st_mtime)
        assert not [
            entry for side in ("evicting", "condemned") for entry in (self.path / ".gcsidecar" / side).glob("*/*")
        ]


def expect_taken_up(sidecar: Sidecar, filled: Filled) -> None:
    """It is kept again, and it is known what went from it before."""
    eventually(lambda: names(filled.path) == {"leased"}, "what is too much goes now")
    make_folder(filled.path, "gone")
    eventually(lambda: "gone" in {event["folder"] for event in sidecar.events("regretted")}, "its history is taken up")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the config has the root."""
    path = tmp_path / "cache"
    path.mkdir()
    return path


def test_a_root_that_was_unmounted_is_found_again_and_its_history_with_it(
    ext4: MakeFilesystem, mounts: Mounts, place: Path, tmp_path: Path
) -> None:
    disk = ext4()
    make_folder(place, "below")
    mounts.mount_over(place, "--bind", str(disk))
    make_folder(place, "leased")
    with Sidecar(tmp_path, config(root(place, max_folders=1), **MEASURED_OFTEN)) as sidecar, held(place / "leased"):
        filled = Filled(place)
        with unmounted(place, disk):
            make_folder(disk, "extra")
            filled.path = disk
            eventually(lambda: lost(sidecar) == 1, "it is missed")
            make_folder(place, "below, newer")
            eventually(lambda: names(place) == {"below, newer"}, "what is there now is the root")
            filled.expect_untouched()
        eventually(lambda: lost(sidecar) == 2, "it is found")
        filled.path = place
        expect_taken_up(sidecar, filled)
    assert names(disk) >= {"leased"}


def test_what_is_mounted_over_a_root_is_the_root_until_it_is_taken_off(
    tmpfs: MakeFilesystem, ext4: MakeFilesystem, tmp_path: Path
) -> None:
    place = ext4()
    make_folder(place, "leased")
    below = os.open(place, os.O_RDONLY)
    with Sidecar(tmp_path, config(root(place, max_folders=1), **MEASURED_OFTEN)) as sidecar, held(place / "leased"):
        filled = Filled(place)
        make_folder(place, ".extra")
        over = tmpfs()
        for name in ("a", "b", "leased"):
            make_folder(over, name)
        with covered(place, over):
            os.rename(".extra", "extra", src_dir_fd=below, dst_dir_fd=below)
            eventually(lambda: names(over) == {"leased"}, "what came is kept")
            assert sidecar.metric("gcsidecar_leases", root="jobs", state="live") == 0
        # It was there all the while, under what covered it.
        assert lost(sidecar) == 1
        expect_taken_up(sidecar, filled)
        assert {event["kind"] for event in sidecar.events("opened")} == {"ext4", "tmpfs"}
        assert filled.path == place
    os.close(below)


@pytest.mark.parametrize("by", ["nothing", "a directory"])
def test_a_root_that_was_renamed_away_is_left_alone_until_it_is_back(
    tmpfs: MakeFilesystem, tmp_path: Path, by: str
) -> None:
    above = tmpfs()
    place, away = above / "cache", above / "away"
    make_folder(place, "leased")
    with Sidecar(tmp_path, config(root(place, max_folders=1), **MEASURED_OFTEN)) as sidecar, held(place / "leased"):
        filled = Filled(place)
        place.rename(away)
        if by == "a directory":
            for name in ("a", "b"):
                make_folder(place, name)
        make_folder(away, "extra")
        filled.path = away
        eventually(lambda: lost(sidecar) == 1, "it is missed")
        if by == "a directory":
            eventually(lambda: names(place) == {"b"}, "what took its place is kept")
        else:
            assert sidecar.metric("gcsidecar_root_role", root="jobs", role="missing") == 1
        filled.expect_untouched()
        shutil.rmtree(place, ignore_errors=True)
        away.rename(place)
        filled.path = place
        expect_taken_up(sidecar, filled)


def test_a_root_that_was_deleted_and_made_anew_begins_anew(tmpfs: MakeFilesystem, tmp_path: Path) -> None:
    place = tmpfs() / "cache"
    make_folder(place, "leased")
    with Sidecar(tmp_path, config(root(place, max_folders=1), **MEASURED_OFTEN)) as sidecar:
        (place / "leased/.lease").touch()
        Filled(place)
        shutil.rmtree(place)
        for name in ("a", "gone"):
            make_folder(place, name)
        eventually(lambda: names(place) == {"gone"}, "what is there now is kept")
        assert lost(sidecar) == 1
        assert is_active(sidecar)
        assert not sidecar.events("regretted"), "that another root had such a folder is none of its history"
        assert (place / ".gcsidecar/history.sqlite").exists()
        assert not sidecar.events("history-set-aside")

"""What `.gcsidecar/` takes of a budget: all of it, what lies parked or condemned in it, too."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder, opened
from cache.measuring.surveying import MIB, Surveyor, measure_all
from fakes import FakeClock
from gcsidecar.cache.walking.sizes import measure
from gcsidecar.gc.errors import DisposableInUseError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcsidecar.cache.root import Root


def taken(path: Path) -> int:
    """What `du` says of a root's `.gcsidecar/`."""
    said = subprocess.run(["du", "-s", "-B1", path / ".gcsidecar"], check=True, capture_output=True)
    return int(said.stdout.split()[0])


def evict(root: Root, name: str) -> None:
    folder = root.census.get(name)
    assert folder is not None
    folder.dispose()


def parking(path: Path) -> Callable[[str], None]:
    """Makes a folder, while it is being evicted, one that is leased and can't go back."""

    def step(name: str) -> None:
        if name == "moved out" and not (path / "a").exists():
            (next((path / ".gcsidecar/evicting").glob("*/a*")) / ".lease").touch()
            make_folder(path, "a")

    return step


def test_what_lies_parked_counts_with_what_it_was_known_to_take_and_is_not_walked(disk: Path) -> None:
    surveyor = Surveyor()
    make_folder(disk, "a", size=3 * MIB)
    with opened(disk, step=parking(disk), watch=surveyor) as root:
        measure_all(root)
        before = root.used_bytes()
        with pytest.raises(DisposableInUseError):
            evict(root, "a")
        assert root.used_bytes() == pytest.approx(before, abs=MIB)
        assert surveyor.names == []
        root.custody.recover()
        assert surveyor.names == []
        assert root.tally().own_bytes == taken(disk)


def test_after_a_restart_what_lies_parked_is_measured_once(disk: Path) -> None:
    make_folder(disk, ".gcsidecar/evicting/dead-1/a", size=3 * MIB)
    (disk / ".gcsidecar/evicting/dead-1/a/.lease").touch()
    make_folder(disk, "a")
    surveyor = Surveyor()
    with opened(disk, watch=surveyor) as root:
        assert surveyor.names == [".gcsidecar/evicting/dead-1/a"]
        surveyor.answer(root)
        assert root.tally().own_bytes == taken(disk)
        root.custody.recover()
        assert surveyor.names == []
        assert root.tally().own_bytes == taken(disk)
        shutil.rmtree(disk / "a")
        assert root.custody.recover().restored == ["a"]
        assert root.tally().own_bytes == taken(disk) < MIB


def test_what_grows_where_it_lies_parked_is_among_what_a_cap_has_measured(tmp_path: Path) -> None:
    surveyor = Surveyor()
    make_folder(tmp_path, "a", size=MIB)
    with opened(tmp_path, step=parking(tmp_path), watch=surveyor) as root:
        measure_all(root)
        with pytest.raises(DisposableInUseError):
            evict(root, "a")
        (parked,) = root.custody.growing_apart()
        (tmp_path / parked / "more").write_bytes(b"x" * 2 * MIB)
        root.want_sizes([parked])
        version = root.census.version
        surveyor.answer(root)
        assert root.tally().own_bytes == taken(tmp_path)
        assert root.census.version > version, "what a plan depends on has changed"


def test_of_what_could_not_be_deleted_whole_the_rest_counts(disk: Path) -> None:
    surveyor, asked = Surveyor(), itertools.count()
    folder, deleting = make_folder(disk, "a"), threading.Event()
    for number in range(200):
        (folder / str(number)).write_bytes(b"x" * 16384)

    def step(name: str) -> None:
        if name == "delete":
            deleting.set()

    def stop() -> bool:
        return deleting.is_set() and next(asked) > 1

    with opened(disk, watch=surveyor, step=step, stop=stop) as root:
        measure_all(root)
        evict(root, "a")
        assert root.census.known_bytes == 0
        (path,) = surveyor.names
        assert path.startswith(".gcsidecar/condemned/")
        surveyor.answer(root)
        assert root.tally().own_bytes == taken(disk) > MIB


def test_what_is_left_of_a_deletion_is_measured_anew_after_the_next_try(
    tmp_path: Path, immutable: Callable[[Path, str], None]
) -> None:
    folder = make_folder(tmp_path, ".gcsidecar/condemned/dead-1/a", size=2 * MIB)
    goes_later = folder / "later"
    goes_later.write_bytes(b"x" * MIB)
    immutable(folder / "data", "i")
    subprocess.run(["chattr", "+i", goes_later], check=True)
    clock, surveyor = FakeClock(), Surveyor()
    with opened(tmp_path, watch=surveyor, clock=clock) as root:
        surveyor.answer(root)
        subprocess.run(["chattr", "-i", goes_later], check=True)
        before = root.tally().own_bytes
        root.custody.recover()
        assert surveyor.names == [], "it waits for its next try"
        assert root.tally().own_bytes == before == taken(tmp_path)
        clock.advance(3600)
        root.custody.recover()
        surveyor.answer(root)
        assert root.tally().own_bytes == taken(tmp_path) == before - MIB


def test_an_empty_state_directory_counts_as_du_has_it(disk: Path) -> None:
    make_folder(disk, "a")
    with opened(disk) as root:
        measure_all(root)
        assert root.tally().own_bytes == taken(disk)
        assert root.used_bytes() == taken(disk) + measure(root.fd, "a").disk_bytes
        assert os.listdir(disk / ".gcsidecar/evicting")

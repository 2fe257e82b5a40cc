"""Trees whose shape is the attack: deep, wide, with names and things that programs trip over."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import needs
from cache.helpers import make_folder
from cache.trees import NOT_UTF8, chain, few_descriptors, fill, opened
from gcsidecar.cache.descent import MOST_LEVELS, SHOWN_PATH
from gcsidecar.cache.errors import EvictionError, RemovalError
from hostile.place import Place, evict, evict_measured, flagged, kept_for

if TYPE_CHECKING:
    from cache.conftest import MakeFilesystem

MANY = 1_000_000
ODD_NAMES = [
    NOT_UTF8, "two\nlines", "\r\x1b[2J", "n" * 255, "\udcff" * 255, "-rf", " ", "*", "\u202egpj", "a%2Fb", "$(id)"
]  # fmt: skip


def test_a_folder_5000_deep_is_measured_and_evicted_with_few_descriptors(either: Place) -> None:
    with chain(either.root / "a", 5000), either.opened() as root, few_descriptors():
        assert evict_measured(root, "a") is None
        assert either.leftovers() == []


def test_what_lies_deeper_than_is_kept_in_memory_is_evicted_too(tmpfs: MakeFilesystem) -> None:
    with Place(tmpfs()) as place, chain(place.root / "a", 4 * MOST_LEVELS), place.opened() as root:
        forget_peak()
        before = peak_bytes()
        assert evict_measured(root, "a") is None
        assert peak_bytes() - before < 8 << 20
        assert place.leftovers() == []


def peak_bytes() -> int:
    """The most memory that this process has had since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        needs.unavailable(f"the peak of memory can't be told here: {error.strerror}")


def test_a_million_entries_in_one_folder_are_measured_and_evicted_in_bounded_memory(tmpfs: MakeFilesystem) -> None:
    with Place(tmpfs(64 << 20, f"nr_inodes={MANY + 1000}")) as place:
        fill(place.root / "a", files=MANY)
        with place.opened() as root:
            forget_peak()
            before = peak_bytes()
            assert evict_measured(root, "a") is None
            assert peak_bytes() - before < 4 << 20
            assert place.leftovers() == []


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_a_folder_of_any_name_comes_back_under_that_name_and_goes(place: Place, name: str) -> None:
    (make_folder(place.root, name) / name).touch()
    stops = True
    with place.opened(stop=lambda: stops) as root:
        assert kept_for(root, name) == "stopped"  # told to stop when it was moved out already
        assert sorted(os.listdir(place.root / name)) == sorted(["data", name])
        stops = False
        evict(root, name)
        assert not (place.root / name).exists()
        assert place.leftovers() == []


@pytest.mark.parametrize(("glob", "name"), [("*", "%" * 255), ("*/*", f"{'a' * 200}/{'b' * 200}")])
def test_a_name_too_long_for_a_slot_is_kept_whole_and_reported(place: Place, glob: str, name: str) -> None:
    make_folder(place.root, name)
    with place.opened(folders=glob) as root:
        with pytest.raises(EvictionError, match="File name too long; it is kept"):
            evict(root, name)
        assert os.listdir(place.root / name) == ["data"]
        assert place.leftovers() == []


def test_what_stands_in_the_way_far_below_is_told_in_few_words(ext4: MakeFilesystem) -> None:
    with Place(ext4()) as place:
        deep = place.root / "a" / "/".join(["d" * 200] * 15)
        fill(deep, files=3)
        with flagged(deep, "a"), place.opened() as root:
            with pytest.raises(RemovalError) as error:
                evict(root, "a")
            assert "3 entries can't be deleted" in str(error.value)
            assert len(str(error.value)) < SHOWN_PATH + 300


def test_links_fifos_sockets_and_devices_go_and_what_they_lead_to_stays(either: Place) -> None:
    needs.root()
    top = either.root / "a"
    (top / "sub").mkdir(parents=True)
    for name, target in (("root", "/"), ("canary", either.outside), ("neighbour", either.neighbour), ("loop", ".")):
        (top / f"to {name}").symlink_to(target)
        (top / "sub" / f"to {name}").symlink_to(target)
    for folder in (either.outside, either.neighbour / "sub"):
        (top / f"hard {folder.name}").hardlink_to(folder / "canary")
    os.mkfifo(top / "fifo")
    os.mknod(top / "null", 0o600 | 0o020000, os.makedev(1, 3))
    os.mknod(top / "disk", 0o600 | 0o060000, os.makedev(7, 200))
    with opened(top) as top_fd, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{top_fd}/socket")
    with either.opened() as root:
        assert evict_measured(root, "a") is None
        assert either.leftovers() == []
    assert (either.outside / "canary").stat().st_nlink == 1


@pytest.mark.parametrize("kind", ["link to canary", "link to /", "fifo", "file"])
def test_only_directories_are_folders(place: Place, kind: str) -> None:
    path = place.root / "a"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "file":
        path.touch()
    else:
        path.symlink_to("/" if kind == "link to /" else place.outside)
    with place.opened() as root:
        assert [folder.name for folder in root.census.folders()] == ["neighbour"]


@pytest.mark.parametrize("glob", ["*", ".*", ".gc*", "*/*", "*/.*", ".*/*", ".gcsidecar/*"])
def test_nothing_that_has_our_own_name_is_ever_a_folder(place: Place, glob: str) -> None:
    make_folder(place.root, "x/.gcsidecar/y")
    with place.opened(folders=glob) as root:
        assert not [folder.name for folder in root.census.folders() if ".gcsidecar" in folder.name]
        for name in (".gcsidecar", "x/.gcsidecar", ".gcsidecar/evicting", ".gcsidecar/condemned"):
            root.finder.refresh(name)  # as a hint would have it
            assert root.census.get(name) is None


def test_a_folder_with_something_of_our_name_in_it_goes_whole(place: Place) -> None:
    make_folder(place.root, "a/.gcsidecar/condemned")
    with place.opened() as root:
        evict(root, "a")
        assert not (place.root / "a").exists()


@pytest.mark.parametrize(
    "entry", ["..%2F..%2Foutside", "%2F..", "x%2F..", "..", ".gcsidecar", "%2Fneighbour", "%2Ftmp"]
)
def test_what_somebody_laid_into_our_slots_never_gets_out_of_the_root(place: Place, entry: str) -> None:
    (place.root / "x").mkdir()
    with place.opened():
        slots = [next((place.root / ".gcsidecar" / side).iterdir()) for side in ("evicting", "condemned")]
    for slot in slots:
        if entry != "..":
            make_folder(slot, entry)
        (slot / "link").symlink_to(place.outside)
    before = set(os.listdir(place.root.parent))
    with place.opened() as root:
        root.custody.recover()
        place.expect_unharmed()
        assert set(os.listdir(place.root.parent)) == before
        assert set(os.listdir(place.root)) <= {".gcsidecar", "neighbour", "x", "tmp"}

"""Whatever happens to folders between two runs: a start finds what a look into each of them would have found."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from cache.helpers import Tracker, make_folder, reconcile, spec
from cache.history.starting import clock_later, measured_once, run
from gcsidecar.cache.root import Root
from gcsidecar.cache.spec import LeaseSpec
from gcsidecar.cache.walking.sizes import measure

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = "abcd"


def nothing(_folder: Path) -> None:
    pass


def enter(folder: Path) -> None:
    (folder / "new").write_bytes(b"x" * 9000)


def leave(folder: Path) -> None:
    (folder / "data").unlink(missing_ok=True)


def write_deep(folder: Path) -> None:
    with (folder / "data").open("ab") as file:
        file.write(b"x" * 50_000)


def take_lease(folder: Path) -> None:
    (folder / ".lease.x").touch()


def end_lease(folder: Path) -> None:
    (folder / ".lease.x").unlink(missing_ok=True)


def take_lease_beside(folder: Path) -> None:
    folder.with_name(f"{folder.name}.lease").touch()


def end_lease_beside(folder: Path) -> None:
    folder.with_name(f"{folder.name}.lease").unlink(missing_ok=True)


def set_mtime_back(folder: Path) -> None:
    os.utime(folder, (1000, 1000))


def change_mode(folder: Path) -> None:
    folder.chmod(folder.stat().st_mode ^ 0o010)


def move_away(folder: Path) -> None:
    folder.rename(folder.with_name(f".{folder.name}{os.urandom(4).hex()}"))


def make_again(folder: Path) -> None:
    shutil.rmtree(folder)
    make_folder(folder.parent, folder.name, size=123)


deeds = st.sampled_from(
    [
        *(nothing, enter, leave, write_deep, take_lease, end_lease, take_lease_beside, end_lease_beside),
        *(set_mtime_back, change_mode, move_away, make_again),
    ]
)
files = st.sampled_from([LeaseSpec(), LeaseSpec(files=("{folder}/new",)), LeaseSpec(files=("{folder}/in/*",))])
# What happens between the runs, to which folder, and the lease patterns of the run that follows.
stories = st.lists(st.tuples(st.lists(st.tuples(st.sampled_from(NAMES), deeds), max_size=4), files), max_size=3)


@given(stories)
@settings(max_examples=60)
def test_leases_are_those_that_are_there_and_no_size_is_kept_that_shows_to_be_wrong(
    story: list[tuple[list[tuple[str, Callable[[Path], None]]], LeaseSpec]],
) -> None:
    path, clock = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)), clock_later()
    try:
        for name in NAMES:
            make_folder(path, name, used_at=1000)
        measured_once(path, clock)
        deep = set[str]()
        for things, lease in story:
            for name, deed in things:
                if (path / name).exists():
                    deed(path / name)
                    deep = deep | {name} if deed is write_deep else deep
            with run(path, clock, lease=lease) as again:
                scanned = Root(spec(path, lease=lease), Tracker(), clock=clock)
                reconcile(scanned)
                assert {folder.name: folder.leases for folder in again.root.census.folders()} == {
                    folder.name: folder.leases for folder in scanned.census.folders()
                }
                assert not any(folder.unreadable for folder in again.root.census.folders())
                scanned.close()
                for folder in again.root.census.folders():
                    if folder.name not in again.watch.to_be_measured | deep:
                        assert folder.disk_bytes == measure(again.root.fd, folder.name).disk_bytes
                if again.watch.to_be_measured:
                    again.measure_all()
                    deep = set()
    finally:
        shutil.rmtree(path)

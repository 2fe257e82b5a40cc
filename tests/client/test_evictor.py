"""The client and the real evictor on one folder: whichever step of either the other comes in at."""

from __future__ import annotations

import shutil
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import gcsidecar
from cache.helpers import make_folder, opened, reconcile
from children import in_child
from client.helpers import leases
from gcsidecar.gc.errors import DisposableInUseError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcsidecar.cache.root import Root

STEPS = ["open", "locked", "move out", "moved out", "looked again", "mark", "condemn", "delete", "deleted"]


def evict(root: Root, name: str) -> None:
    folder = root.census.get(name)
    assert folder is not None
    folder.dispose()


def evict_whatever_comes(root: Root, name: str) -> bool:
    """Whether it went."""
    reconcile(root)
    if root.census.get(name) is None:
        return False
    with suppress(DisposableInUseError):
        evict(root, name)
        return True
    return False


def is_whole(folder: Path, *, created: bool) -> bool:
    """A new folder has nothing in it but leases, and one that was there has all it had."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".lease.")) == (
        [] if created else ["data"]
    )


def test_a_leased_folder_is_kept_and_goes_when_it_is_released(disk: Path) -> None:
    make_folder(disk, "a")
    with opened(disk) as root:
        folder = gcsidecar.lease(disk / "a")
        with pytest.raises(DisposableInUseError) as error:
            evict(root, "a")
        assert error.value.reason == "leased"
        folder.release()
        evict(root, "a")
    assert not (disk / "a").exists()


def test_of_two_leases_each_one_keeps_the_folder(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path) as root:
        one, other = gcsidecar.lease(tmp_path / "a"), gcsidecar.lease(tmp_path / "a")
        one.release()
        with pytest.raises(DisposableInUseError):
            evict(root, "a")
        other.release()
        evict(root, "a")


def test_a_lease_that_loses_its_file_is_one_still(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path) as root, gcsidecar.lease(tmp_path / "a"):
        leases(tmp_path / "a")[0].unlink()
        with pytest.raises(DisposableInUseError):
            evict(root, "a")


def test_who_comes_while_the_evictor_has_the_folder_locked_waits_and_makes_a_new_one(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    held: list[gcsidecar.Lease] = []
    client = threading.Thread(target=lambda: held.append(gcsidecar.lease(tmp_path / "a")))
    waited = []

    def come_by(step: str) -> None:
        if step == "locked":
            client.start()
        if step == "move out":
            client.join(0.1)
            waited.append(not held)

    with opened(tmp_path, step=come_by) as root:
        evict(root, "a")
        client.join()
        with held[0] as folder:
            assert waited == [True]
            assert folder.created
            assert (tmp_path / "a").exists()
            assert not (tmp_path / "a/data").exists()


@pytest.mark.parametrize("name", ["a", "a/b"])
@pytest.mark.parametrize("at", STEPS)
def test_at_whichever_step_of_an_eviction_a_client_comes_it_gets_a_whole_folder_that_stays(
    tmp_path: Path, at: str, name: str
) -> None:
    make_folder(tmp_path, name)
    held: list[gcsidecar.Lease] = []
    client = threading.Thread(target=lambda: held.append(gcsidecar.lease(tmp_path / name)))

    def come_by(step: str) -> None:
        if step == at and client.ident is None:
            client.start()
            client.join(0.05)  # it waits for us, or it is through

    with opened(tmp_path, step=come_by, folders="/".join("*" for _ in name.split("/"))) as root:
        evict_whatever_comes(root, name)
        client.join()
        with held[0] as folder:
            assert leases(tmp_path / name) == [tmp_path / name / folder.file.rpartition("/")[2]]
            assert is_whole(tmp_path / name, created=folder.created)
            assert not evict_whatever_comes(root, name)
        assert evict_whatever_comes(root, name)


# What Python tells of before it makes a system call, as far as our client makes them on a folder (sys.addaudithook).
CALLS = {"open", "fcntl.flock", "os.mkdir", "os.link", "os.chmod", "os.remove", "os.rename"}


class Intruder:
    """Does something before the call with a number, once it is armed, in the very thread that makes it."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self._left, self._act = number, act
        self.armed = False

    def __call__(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if not self.armed or event not in CALLS:
            return
        self._left -= 1
        if self._left < 0:
            self.armed = False  # what it does makes such calls, too
            self._act()


def replace(folder: Path) -> None:
    """As its owner may: he moves it away, and makes a new one."""
    if folder.exists() and not folder.with_name("old").exists():
        folder.rename(folder.with_name("old"))
        folder.mkdir()


def lease_with_a_replacement(path: Path, number: int) -> bool:
    """As `lease_with_an_eviction`, with a replacement by the owner instead."""
    folder = path / f"{number}/a"
    folder.mkdir(parents=True)
    intruder = Intruder(number, partial(replace, folder))
    gcsidecar.lease(path / "first").release()  # by which modules are opened
    sys.addaudithook(intruder)
    intruder.armed = True
    with gcsidecar.lease(folder):
        came, intruder.armed = not intruder.armed, False
        assert len(leases(folder)) == 1
        assert leases(folder.with_name("old")) == []
    return came


def test_at_whichever_call_of_a_client_the_folder_is_replaced_the_lease_is_in_the_one_that_has_its_name(
    tmp_path: Path,
) -> None:
    number = 0
    while in_child(partial(lease_with_a_replacement, tmp_path, number)):
        number += 1
    assert number > 5


def lease_with_a_deletion(path: Path, number: int) -> bool:
    """As `lease_with_an_eviction`, with somebody who deletes what is there."""
    folder = path / f"{number}/a"
    folder.mkdir(parents=True)
    intruder = Intruder(number, lambda: shutil.rmtree(folder, ignore_errors=True))
    gcsidecar.lease(path / "first").release()  # by which modules are opened
    sys.addaudithook(intruder)
    intruder.armed = True
    with gcsidecar.lease(folder):
        came, intruder.armed = not intruder.armed, False
        assert len(leases(folder)) == 1
    return came


def test_at_whichever_call_of_a_client_the_folder_is_deleted_it_gets_a_new_one(disk: Path) -> None:
    number = 0
    while in_child(partial(lease_with_a_deletion, disk, number)):
        number += 1
    assert number > 5


def lease_with_an_eviction(path: Path, name: str, number: int, *, there: bool) -> bool:
    """Lease a folder, with a whole eviction of it before the client's call with that number.

    Returns:
        Whether the client made so many calls.
    """
    root_path = path / f"{number}"
    root_path.mkdir()
    if there:
        make_folder(root_path, name)
    with opened(root_path, folders="/".join("*" for _ in name.split("/"))) as root:
        intruder = Intruder(number, lambda: evict_whatever_comes(root, name))
        gcsidecar.lease(path / "first").release()  # by which modules are opened
        sys.addaudithook(intruder)
        intruder.armed = True
        folder = gcsidecar.lease(root_path / name)
        came, intruder.armed = not intruder.armed, False
        with folder:
            assert len(leases(root_path / name)) == 1
            assert is_whole(root_path / name, created=folder.created)
            assert not evict_whatever_comes(root, name)
        assert evict_whatever_comes(root, name)
    return came


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("name", ["a", "a/b"])
def test_at_whichever_call_of_a_client_an_eviction_takes_place_it_gets_a_whole_folder_that_stays(
    tmp_path: Path, name: str, *, there: bool
) -> None:
    number = 0
    # In a child: a hook can't be taken off.
    while in_child(partial(lease_with_an_eviction, tmp_path, name, number, there=there)):
        number += 1
    assert number > 5

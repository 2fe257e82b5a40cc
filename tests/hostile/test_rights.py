"""What an ordinary user, or uid 0 without capabilities, can't delete: it is kept whole, where that can be known."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cache.helpers import make_folder, opened
from cache.trees import fill
from gcsidecar.cache.errors import RemovalError
from hostile.place import NOBODY, Place, evict, evict_measured, flagged, kept_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from cache.conftest import MakeFilesystem
    from gcsidecar.cache.root import Root

    AsNobody = Callable[[Callable[[], Any]], Any]

FOREIGN = NOBODY - 1


def own(*paths: Path, uid: int = NOBODY) -> None:
    for path in paths:
        os.chown(path, uid, uid, follow_symlinks=False)


def give(top: Path, uid: int = NOBODY) -> None:
    """All of a tree."""
    own(top, *top.rglob("*"), uid=uid)


def as_user(place: Place, as_nobody: AsNobody, act: Callable[[Root], Any]) -> Any:
    """What comes of something done with the root by an ordinary user, whose root it is."""
    own(place.root)
    fd = os.open(place.root, os.O_RDONLY)

    def acting() -> Any:
        with opened(Path(f"/proc/self/fd/{fd}")) as root:
            return act(root)

    try:
        return as_nobody(acting)
    finally:
        os.close(fd)


@pytest.mark.parametrize("mode", [0, 0o555, 0o111, 0o444])
def test_own_trees_without_permissions_go_whole(place: Place, as_nobody: AsNobody, mode: int) -> None:
    fill(place.root / "a" / "module@v1" / "pkg", files=3, folders=2)
    give(place.root / "a")
    for folder in sorted((place.root / "a").rglob("*"), reverse=True):
        folder.chmod(0o444 if folder.is_file() else mode)
    assert as_user(place, as_nobody, lambda root: evict_measured(root, "a")) is None
    assert not (place.root / "a").exists()


def test_an_own_folder_of_mode_0555_goes_and_one_of_mode_000_is_in_use_as_its_leases_cannot_be_read(
    place: Place, as_nobody: AsNobody
) -> None:
    for name, mode in (("gomodcache", 0o555), ("locked", 0)):
        fill(place.root / name, files=3)
        give(place.root / name)
        (place.root / name).chmod(mode)
    reasons = as_user(place, as_nobody, lambda root: (evict_measured(root, "gomodcache"), kept_for(root, "locked")))
    assert reasons == (None, "unreadable")
    assert sorted(os.listdir(place.root)) == [".gcsidecar", "locked", "neighbour"]
    assert (place.root / "locked").stat().st_mode & 0o777 == 0


def test_another_users_folder_is_kept_before_and_after_it_was_measured(place: Place, as_nobody: AsNobody) -> None:
    make_folder(place.root, "a")
    give(place.root / "a", FOREIGN)
    reasons = as_user(place, as_nobody, lambda root: (kept_for(root, "a"), evict_measured(root, "a")))
    assert reasons == ("obstacle", "obstacle")
    assert (place.root / "a/data").stat().st_size == 4096


def test_in_a_sticky_root_that_is_not_ours_another_users_folder_stays_even_if_all_may_write_in_it(
    place: Place, as_nobody: AsNobody
) -> None:
    make_folder(place.root, "a").chmod(0o777)
    (place.root / ".gcsidecar").mkdir()
    own(place.root / ".gcsidecar")
    place.root.chmod(0o1777)
    fd = os.open(place.root, os.O_RDONLY)

    def acting() -> str:
        with opened(Path(f"/proc/self/fd/{fd}")) as root:
            try:
                evict(root, "a")
            except Exception as error:  # noqa: BLE001 whatever it is
                return str(error)
        return "gone"

    assert "it is kept" in as_nobody(acting)
    os.close(fd)
    assert (place.root / "a/data").exists()


def test_what_others_own_inside_is_known_from_measuring_and_the_folder_not_moved(
    place: Place, as_nobody: AsNobody
) -> None:
    fill(place.root / "a" / "theirs", files=2)
    fill(place.root / "a" / "ours", files=2)
    give(place.root / "a")
    give(place.root / "a" / "theirs", FOREIGN)
    assert as_user(place, as_nobody, lambda root: evict_measured(root, "a")) == "obstacle"
    assert len(list((place.root / "a").rglob("*"))) == 6


def evicted_unmeasured(root: Root) -> str:
    try:
        evict(root, "a")
    except RemovalError as error:
        return str(error)
    return "gone"


def test_where_it_was_not_measured_what_may_be_deleted_goes_and_the_rest_is_reported(
    place: Place, as_nobody: AsNobody
) -> None:
    fill(place.root / "a" / "theirs", files=2)
    fill(place.root / "a" / "ours", files=2)
    give(place.root / "a")
    give(place.root / "a" / "theirs", FOREIGN)
    said = as_user(place, as_nobody, evicted_unmeasured)
    assert "2 entries can't be deleted, the first is theirs/file-" in said
    assert "Permission denied; what is left lies in .gcsidecar/condemned/ and is tried again" in said
    left = next((place.root / ".gcsidecar/condemned").glob("*/a%-*"))
    assert sorted(str(path.relative_to(left)) for path in left.rglob("*")) == [
        "theirs", "theirs/file-0", "theirs/file-1",
    ]  # fmt: skip


def without_capabilities(function: Callable[[], Any]) -> Callable[[], Any]:
    """Runs it as uid 0 with no capability at all, in a child."""

    def act() -> Any:
        # <linux/capability.h>: version 3, this process; effective, permitted and inheritable sets, twice 32 bits each.
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)())
        return function()

    return act


@pytest.mark.parametrize(("mode", "reason"), [(0o755, "obstacle"), (0o1777, "obstacle"), (0o777, None)])
def test_uid_0_without_capabilities_is_a_user_like_any_other(
    place: Place, as_uid_0: AsNobody, mode: int, reason: str | None
) -> None:
    fill(place.root / "a" / "theirs", files=2)
    give(place.root / "a" / "theirs", FOREIGN)
    (place.root / "a" / "theirs").chmod(mode)

    def act() -> str | None:
        with place.opened() as root:
            return evict_measured(root, "a")

    assert as_uid_0(without_capabilities(act)) == reason
    assert (place.root / "a").exists() == (reason is not None)


@pytest.mark.parametrize("flag", ["i", "a"])
@pytest.mark.parametrize("what", [".", "sub", "sub/file-1"])
def test_what_is_immutable_keeps_a_folder_that_was_measured_whole(ext4: MakeFilesystem, what: str, flag: str) -> None:
    with Place(ext4()) as place:
        fill(place.root / "a" / "sub", files=3)
        with flagged(place.root / "a" / what, flag), place.opened() as root:
            assert evict_measured(root, "a") == "obstacle"
            assert len(os.listdir(place.root / "a" / "sub")) == 3


@pytest.mark.parametrize("flag", ["i", "a"])
def test_an_immutable_folder_is_not_moved_even_if_it_was_not_measured(ext4: MakeFilesystem, flag: str) -> None:
    with Place(ext4()) as place:
        fill(place.root / "a", files=3)
        with flagged(place.root / "a", flag), place.opened() as root:
            assert kept_for(root, "a") == "obstacle"
        with place.opened() as root:
            evict(root, "a")


def test_what_became_immutable_since_stays_condemned_is_reported_and_goes_when_it_can(ext4: MakeFilesystem) -> None:
    with Place(ext4()) as place:
        fill(place.root / "a" / "sub", files=3)
        with flagged(place.root / "a/sub/file-1", "i"), place.opened() as root:
            with pytest.raises(RemovalError, match=r"1 entries can't be deleted, the first is sub/file-1: Operation"):
                evict(root, "a")
            assert root.custody.condemned == 1
            assert place.leftovers() == ["a"]
            assert [name for name, _ in root.custody.recover().failures] == ["a"]
        with place.opened():
            assert place.leftovers() == []

"""`.gcsidecar/`: whose it is, who acts, and room in it when there is none left on the disk."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cache.helpers import make_folder, opened
from gcsidecar.cache.errors import StateDirectoryError
from gcsidecar.cache.eviction.slots import SPARE_SLOTS, decode, encode, entry_of
from gcsidecar.cache.eviction.state import BALLAST_BYTES, StateDirectory
from gcsidecar.gc.errors import DisposableInUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cache.conftest import MakeFilesystem, Mounts
    from gcsidecar.cache.eviction.slots import Side
    from gcsidecar.cache.root import Root

SIDES = ["evicting", "condemned"]


@contextmanager
def state_of(path: Path) -> Iterator[StateDirectory]:
    fd = os.open(path, os.O_RDONLY)
    try:
        state = StateDirectory(fd, {"holder": "test"})
        try:
            yield state
        finally:
            state.close()
    finally:
        os.close(fd)


def slots(path: Path, side: str) -> list[str]:
    return sorted(os.listdir(path / ".gcsidecar" / side))


def leave_behind(side: Side, name: str) -> None:
    """As an eviction that finds, when it has moved a folder out, that it can neither go nor go back."""
    with contextlib.suppress(DisposableInUseError), side.room_for(name) as slot:
        assert slot is not None
        os.mkdir(slot.entry, dir_fd=slot.fd)
        raise DisposableInUseError(name)


def evict(root: Root, name: str) -> None:
    folder = root.census.get(name)
    assert folder is not None
    folder.dispose()


@given(st.binary(min_size=1).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"%"))))
@example("a%-1/50%25")
def test_an_entry_says_where_it_belongs_whatever_the_name_is(name: str) -> None:
    assert decode(encode(name)) == name
    assert "/" not in encode(name)
    assert decode(entry_of(name)) == name
    assert "/" not in entry_of(name)


def test_no_two_entries_are_called_the_same_but_where_a_name_leaves_no_room_for_more() -> None:
    assert entry_of("a") != entry_of("a")
    assert len(entry_of("a" * 245)) == 255
    assert entry_of("a" * 246) == "a" * 246


def test_it_is_for_us_only_and_the_lock_is_for_all_to_read(tmp_path: Path) -> None:
    with opened(tmp_path):
        state = tmp_path / ".gcsidecar"
        modes = {name: (state / name).stat().st_mode & 0o777 for name in (*SIDES, "lock", "ballast")}
        said = json.loads((state / "lock").read_text())
    assert modes == {"evicting": 0o700, "condemned": 0o700, "lock": 0o644, "ballast": 0o600}
    assert said["contract"] == 1
    assert (said["holder"], said["folders"]) == ("test", "*")
    assert "{folder}/.lease" in said["lease_files"]


def test_empty_slots_and_ballast_are_made_beforehand(tmp_path: Path) -> None:
    with opened(tmp_path) as root:
        assert [len(slots(tmp_path, side)) for side in SIDES] == [SPARE_SLOTS] * 2
        assert (tmp_path / ".gcsidecar/ballast").stat().st_blocks * 512 >= BALLAST_BYTES
        assert root.used_bytes() >= BALLAST_BYTES


def test_who_stands_by_makes_no_slots(tmp_path: Path) -> None:
    with opened(tmp_path):
        before = [slots(tmp_path, side) for side in SIDES]
        with opened(tmp_path) as second:
            assert not second.custody.active
            assert [slots(tmp_path, side) for side in SIDES] == before


def test_the_slots_of_the_dead_are_claimed_not_added_to(tmp_path: Path) -> None:
    for _ in range(5):
        with opened(tmp_path):
            made = slots(tmp_path, "condemned")
            assert len(made) == SPARE_SLOTS
    with opened(tmp_path) as root:
        claimed = slots(tmp_path, "condemned")
        assert not set(claimed) & set(made)
        root.custody.recover()
        assert slots(tmp_path, "condemned") == claimed


def test_a_slot_in_use_is_not_handed_out_again(tmp_path: Path) -> None:
    with state_of(tmp_path) as state, ExitStack() as held:
        assert state.lock()
        for number in range(SPARE_SLOTS + 2):  # more than there were
            slot = held.enter_context(state.evicting.empty(f"f{number}"))
            os.mkdir(slot.entry, dir_fd=slot.fd)
        assert sorted(state.evicting.entries()) == [f"f{number}" for number in range(SPARE_SLOTS + 2)]
        state.prepare()
        assert len(slots(tmp_path, "evicting")) == 2 * SPARE_SLOTS + 2


def test_the_slot_that_was_handed_out_last_is_looked_at_first_and_never_handed_out_unless_it_is_empty_and_there(
    tmp_path: Path,
) -> None:
    with state_of(tmp_path) as state:
        assert state.lock()
        side = state.condemned
        with side.empty("f") as first:
            pass
        (tmp_path / ".gcsidecar/condemned" / first.name.replace(first.name[-8:], "00000000")).mkdir()
        with side.empty("f") as again:
            assert again.name == first.name
            os.mkdir("f", dir_fd=again.fd)
        with side.empty("f") as other:
            assert other.name != first.name
        (tmp_path / ".gcsidecar/condemned" / other.name).rmdir()
        with side.empty("f") as third:
            assert third.name not in {first.name, other.name}
            assert not os.listdir(third.fd)


def test_what_lies_apart_is_looked_for_again_once_something_stayed_behind_or_was_moved_in_there(tmp_path: Path) -> None:
    with state_of(tmp_path) as state:
        assert state.lock()
        side = state.evicting
        with side.room_for("f") as first, side.room_for("g"):
            assert first is not None
        leave_behind(side, "f")
        with side.room_for("f") as none, side.room_for("g") as other:
            assert none is None
            assert other is not None
            assert os.listdir(other.fd) == []
        with side.room_for("h"):
            pass
        with side.occupied() as found:  # as a recovery does, which moves what it finds
            for parked in found:
                os.rename(parked.entry, encode("k"), src_dir_fd=parked.fd, dst_dir_fd=parked.fd)
        with side.room_for("k") as none, side.room_for("f") as free:
            assert none is None
            assert free is not None


def test_while_nobody_else_acts_on_it_an_empty_slot_is_handed_out_again_and_again_without_a_look_at_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[object] = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))  # type: ignore[func-returns-value]
    with state_of(tmp_path) as state:
        assert state.lock()
        listed.clear()
        for number in range(100):
            with state.evicting.room_for(f"f{number}"):
                pass
        assert len(listed) <= SPARE_SLOTS + 1


def test_where_another_may_act_too_what_lies_apart_is_looked_for_each_time(tmp_path: Path) -> None:
    with state_of(tmp_path) as state, state_of(tmp_path) as another:
        another.prepare()  # as on a filesystem without locks: nobody is refused one, and nobody has it
        for side in (state.evicting, another.evicting):
            with side.room_for("f") as slot:
                assert slot is not None
        leave_behind(another.evicting, "f")
        with state.evicting.room_for("f") as none:
            assert none is None


def test_and_so_it_is_once_the_lock_file_was_deleted_since_another_may_hold_a_new_one(tmp_path: Path) -> None:
    with state_of(tmp_path) as state:
        assert state.lock()
        with state.evicting.room_for("e"):
            pass
        (tmp_path / ".gcsidecar/lock").unlink()
        with state_of(tmp_path) as another:
            assert another.lock()
            leave_behind(another.evicting, "f")
            with state.evicting.room_for("f") as none:
                assert none is None


def test_slots_that_are_more_than_enough_are_removed(tmp_path: Path) -> None:
    with opened(tmp_path) as root:
        owner = slots(tmp_path, "evicting")[0].rpartition("-")[0]
        for number in range(20):
            (tmp_path / f".gcsidecar/evicting/{owner}-{number}").mkdir()
        root.custody.recover()
        assert SPARE_SLOTS <= len(slots(tmp_path, "evicting")) <= 2 * SPARE_SLOTS


def test_all_descriptors_are_let_go(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with state_of(tmp_path) as state:
        state.lock()
        state.prepare()
        with state.evicting.empty("f"), state.condemned.occupied() as found:
            assert list(found) == []
    (tmp_path / ".gcsidecar/condemned").rename(tmp_path / "away")
    (tmp_path / ".gcsidecar/condemned").touch()
    with pytest.raises(StateDirectoryError), state_of(tmp_path):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


# Not ours


@pytest.mark.parametrize("name", SIDES)
def test_where_something_of_it_was_replaced_nothing_goes_until_it_is_opened_anew(tmp_path: Path, name: str) -> None:
    make_folder(tmp_path, "a")
    with opened(tmp_path) as root:
        folder = root.census.get("a")
        assert folder is not None
        (tmp_path / ".gcsidecar" / name).rename(tmp_path / "elsewhere")
        (tmp_path / ".gcsidecar" / name).mkdir()
        with pytest.raises(DisposableInUseError, match="not what it was"):
            folder.dispose()
        with pytest.raises(StateDirectoryError, match="opened anew"):
            root.custody.recover()
        assert root.custody.activate({})
        folder.dispose()
        assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", [".gcsidecar", ".gcsidecar/lock", ".gcsidecar/evicting", ".gcsidecar/condemned"])
@pytest.mark.parametrize("dangling", [False, True])
def test_nothing_of_it_is_ever_a_link(tmp_path: Path, name: str, *, dangling: bool) -> None:
    elsewhere = tmp_path / "elsewhere"
    if not dangling:
        elsewhere.touch() if name.endswith("lock") else elsewhere.mkdir()
    root = tmp_path / "root"
    (root / name).parent.mkdir(parents=True)
    (root / name).symlink_to(elsewhere)
    with pytest.raises(StateDirectoryError, match="something else has that name: move it away"), opened(root):
        pass
    assert elsewhere.exists() != dangling
    assert dangling or elsewhere.is_file() or list(elsewhere.iterdir()) == []


def test_a_file_of_that_name_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / ".gcsidecar").touch()
    with pytest.raises(StateDirectoryError, match="move it away"), opened(tmp_path):
        pass


def in_root_of(path: Path) -> Callable[[], str]:
    """Becomes active there, as whoever calls it; what went wrong comes back as a text."""
    fd = os.open(path, os.O_RDONLY)

    def activate() -> str:
        try:
            with opened(Path(f"/proc/self/fd/{fd}")):
                return "active"
        except StateDirectoryError as error:
            return str(error)

    return activate


@pytest.mark.parametrize(("owner", "said"), [(65533, "it belongs to user 65533"), (65534, "active")])
def test_one_that_belongs_to_another_user_is_not_used(
    tmp_path: Path, as_nobody: Callable[[Callable[[], str]], str], owner: int, said: str
) -> None:
    root = tmp_path / "root"
    (root / ".gcsidecar").mkdir(parents=True)
    root.chmod(0o777)
    os.chown(root / ".gcsidecar", owner, owner)
    (root / ".gcsidecar").chmod(0o777)
    assert said in as_nobody(in_root_of(root))


def test_a_root_that_we_may_not_write_in_is_an_error_with_its_remedy(
    tmp_path: Path, as_nobody: Callable[[Callable[[], str]], str]
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    assert "let the sidecar run as the user who owns the cache" in as_nobody(in_root_of(root))


def test_a_read_only_mount_is_an_error_with_its_remedy_and_fit_for_a_dry_run(tmp_path: Path, mounts: Mounts) -> None:
    path = mounts.mount(tmp_path / "ro", "-t", "tmpfs", "tmpfs")
    make_folder(path, "a")
    subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)
    with pytest.raises(StateDirectoryError, match="mounted read-only: mount it writable, or set dry_run"), opened(path):
        pass
    with opened(path, dry_run=True) as root:
        assert [folder.name for folder in root.census.folders()] == ["a"]


# No room


def fill(path: Path) -> None:
    """Leave 0 bytes and 0 inodes; the inodes first, since they take room in their directory."""
    (path / "filler").touch()
    with until_full():
        for number in range(100_000):
            os.close(os.open(path / f"i{number}", os.O_CREAT))
    for size in (65536, 512):
        with until_full(), open(path / "filler", "ab", buffering=0) as file:
            while True:
                file.write(b"x" * size)
        os.sync()


@contextmanager
def until_full() -> Iterator[None]:
    """Until there is no room left."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@pytest.fixture
def small(ext4: MakeFilesystem) -> Path:
    return ext4(8 << 20, "-b", "1024", "-N", "64")


def test_on_a_disk_with_no_byte_and_no_inode_left_eviction_works(small: Path) -> None:
    names = [f"{letter}{'x' * 200}" for letter in "abcdef"]
    for name in names:
        make_folder(small, name)
    with opened(small) as root:
        for name in names:
            fill(small)
            status = os.statvfs(small)
            assert (status.f_bavail, status.f_favail) == (0, 0)
            evict(root, name)
            assert not (small / name).exists()
            root.custody.recover()


def test_on_a_full_disk_a_restart_evicts_with_the_slots_of_the_dead(small: Path) -> None:
    for name in "ab":
        make_folder(small, name)
    with opened(small):
        pass
    fill(small)
    with opened(small) as root:
        evict(root, "a")
        evict(root, "b")
        root.custody.recover()
        assert [len(slots(small, side)) for side in SIDES] == [SPARE_SLOTS] * 2


def test_a_first_start_on_a_full_disk_is_an_error_with_its_remedy_that_may_be_tried_again(small: Path) -> None:
    make_folder(small, "a")
    fill(small)
    with opened(small, active=False) as root:
        for _ in range(2):
            with pytest.raises(StateDirectoryError, match="delete something by hand once"):
                root.custody.activate({})
        for path in list(small.glob("i*"))[:20]:
            path.unlink()
        (small / "filler").unlink()
        assert root.custody.activate({})
        evict(root, "a")


def test_the_ballast_is_given_up_for_a_rename_that_finds_no_room(small: Path) -> None:
    """A folder goes back into a directory that has no room for its name any more."""
    name = "a" * 200
    make_folder(small, name)
    (small / "lease").touch()

    def leave_no_room(step: str) -> None:
        if step == "moved out" and (small / "lease").exists():
            (small / "lease").rename(small / f"{name}.lease")
            with until_full():
                for number in range(1000):
                    os.link(small / "filler", small / f"{number}{'l' * 40}")

    with opened(small, step=leave_no_room) as root:
        fill(small)
        with pytest.raises(DisposableInUseError, match="leased"):
            evict(root, name)
        assert (small / name / "data").exists()
        assert not (small / ".gcsidecar/ballast").exists()
        (small / "filler").unlink()
        for path in small.glob("*l"):
            path.unlink()
        make_folder(small, "b")
        root.finder.refresh("b")
        evict(root, "b")
        assert (small / ".gcsidecar/ballast").exists(), "it is taken again before others take the room"

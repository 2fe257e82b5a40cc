from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import needs
from cache.conftest import hung_mount
from gcsidecar.cache.watching.inotify import Instance, Voice, new_reader
from gcsidecar.cache.watching.reader import GATHER_SECONDS, Reader
from gcsidecar.cache.watching.watcher import Change, ChangeKind, Watcher, WatchingUnavailableError, WatchState
from gcsidecar.cache.watching.watches import OVERFLOW, Watches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SYSCTL = Path("/proc/sys/fs/inotify")
NOBODY = 65534


class Heard:
    """A listener that remembers, and can wait for what it should hear."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._news = threading.Condition()

    def __call__(self, change: Change) -> None:
        with self._news:
            self.changes.append(change)
            self._news.notify_all()

    def hears(self, *expected: Change, within_seconds: float = 5.0) -> bool:
        with self._news:
            return self._news.wait_for(lambda: set(expected) <= set(self.changes), within_seconds)

    def kinds(self, name: str) -> list[ChangeKind]:
        return [change.kind for change in self.changes if change.name == name]


class MortalReader(Reader):
    """A real one whose thread can be made to end without a word and without closing anything, as an exception does."""

    dies = False

    def should_keep_running(self) -> bool:
        return not self.dies and super().should_keep_running()


def watch(
    watcher: Watcher,
    path: Path,
    listener: Callable[[Change], None],
    interesting: Callable[[bytes], object] | None = None,
) -> Watches:
    """Watch a directory, by its name."""
    watches = watcher.listen(str(path.parent), listener, interesting)
    assert watcher.add(watches, path.name)
    return watches


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    watcher = Watcher()
    yield watcher
    watcher.close()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def open_descriptors() -> set[int]:
    names = [path.name for path in Path("/proc/self/fd").iterdir()]
    return {int(name) for name in names if Path("/proc/self/fd", name).is_symlink()}  # without that of the listing


def kernel_watches() -> int:
    """How many the kernel has for this process."""
    links = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    inotify = [path.name for path in links if "inotify" in os.readlink(path)]
    return sum(Path("/proc/self/fdinfo", name).read_text().count("inotify wd:") for name in inotify)


def eventually(is_so: Callable[[], bool], within_seconds: float = 2.0) -> bool:
    until = time.monotonic() + within_seconds
    while not is_so():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def settle(watcher: Watcher, path: Path) -> None:
    """Wait until all that was queued for a directory has been heard."""
    last = Heard()
    name = f"last-{time.monotonic_ns()}"
    watches = watch(watcher, path, last)
    (path / name).touch()
    assert last.hears(Change(path.name, name, ChangeKind.APPEARED), within_seconds=20)
    watcher.end(watches)


@contextlib.contextmanager
def sysctl(name: str, value: int) -> Iterator[None]:
    # Others on this machine feel it, too: only as long as needed.
    before = (SYSCTL / name).read_text()
    (SYSCTL / name).write_text(str(value))
    try:
        yield
    finally:
        (SYSCTL / name).write_text(before)


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def _make(folder: Path) -> None:
    (folder / "new").touch()


def _move_in(folder: Path) -> None:
    (folder.parent / "new").touch()
    (folder.parent / "new").rename(folder / "new")


def _make_directory(folder: Path) -> None:
    (folder / "new").mkdir()


def _remove(folder: Path) -> None:
    (folder / "old").unlink()


def _move_out(folder: Path) -> None:
    (folder / "old").rename(folder.parent / "old")


def _utime(folder: Path) -> None:
    os.utime(folder / "old")


def _write(folder: Path) -> None:
    (folder / "old").write_text("alive")


def _utime_of_the_folder(folder: Path) -> None:
    os.utime(folder)


def _move_away(folder: Path) -> None:
    folder.rename(folder.parent / "elsewhere")


def _delete(folder: Path) -> None:
    (folder / "old").unlink()
    folder.rmdir()


@pytest.mark.parametrize(
    ("act", "name", "kind"),
    [
        (_make, "new", ChangeKind.APPEARED),
        (_move_in, "new", ChangeKind.APPEARED),
        (_make_directory, "new", ChangeKind.APPEARED),
        (_remove, "old", ChangeKind.VANISHED),
        (_move_out, "old", ChangeKind.VANISHED),
        (_utime, "old", ChangeKind.MODIFIED),
        (_write, "old", ChangeKind.MODIFIED),
        (_utime_of_the_folder, "", ChangeKind.MODIFIED),
        (_move_away, "", ChangeKind.GONE),
        (_delete, "", ChangeKind.GONE),
    ],
)
def test_a_change_is_heard_within_a_second(
    watcher: Watcher, heard: Heard, folder: Path, act: Callable[[Path], None], name: str, kind: ChangeKind
) -> None:
    (folder / "old").touch()
    watch(watcher, folder, heard)
    act(folder)
    assert heard.hears(Change("folder", name, kind), within_seconds=1)


def test_reading_tells_nothing(watcher: Watcher, heard: Heard, folder: Path) -> None:
    (folder / "old").write_text("x")
    watch(watcher, folder, heard)
    (folder / "old").read_text()
    list(folder.iterdir())
    settle(watcher, folder)
    assert not heard.kinds("old")


def test_a_subfolder_is_not_watched(watcher: Watcher, heard: Heard, folder: Path) -> None:
    (folder / "sub").mkdir()
    watch(watcher, folder, heard)
    (folder / "sub" / "deep").touch()
    settle(watcher, folder)
    assert not heard.kinds("deep")


def test_an_unlinked_file_that_is_still_written_tells_nothing_more(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    with (folder / "old").open("w") as file:
        (folder / "old").unlink()
        watch(watcher, folder, heard)
        file.write("x")
    settle(watcher, folder)
    assert not heard.kinds("old")


def test_only_interesting_names_are_told(watcher: Watcher, heard: Heard, folder: Path) -> None:
    watch(watcher, folder, heard, lambda name: name.endswith(b".lease"))
    (folder / "wheel.whl").touch()
    (folder / "a.lease").touch()
    assert heard.hears(Change("folder", "a.lease", ChangeKind.MODIFIED))
    assert {change.name for change in heard.changes} == {"a.lease"}


def test_the_directory_itself_is_always_of_interest(watcher: Watcher, heard: Heard, folder: Path) -> None:
    watch(watcher, folder, heard, lambda _name: False)
    os.utime(folder)
    assert heard.hears(Change("folder", "", ChangeKind.MODIFIED))


def test_of_20000_uninteresting_files_none_is_told_and_none_overflows(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    watch(watcher, folder, heard, lambda name: name.startswith(b".lease"))
    for number in range(20_000):
        os.close(os.open(folder / f"file-{number}", os.O_CREAT | os.O_WRONLY))
    (folder / ".lease").touch()
    assert heard.hears(Change("folder", ".lease", ChangeKind.APPEARED), within_seconds=10)
    assert {change.name for change in heard.changes} == {".lease"}
    assert watcher.overflows == 0


def test_under_a_stream_of_events_it_is_not_woken_by_each(heard: Heard, folder: Path) -> None:
    read: list[int] = []

    class Counting(Reader):
        def _read_event_buffer(self, event_buffer_size: int) -> bytes:
            told = super()._read_event_buffer(event_buffer_size)
            read.append(len(told))
            return told

    watcher = Watcher(make_reader=Counting)
    try:
        watch(watcher, folder, heard)
        began = time.monotonic()
        for number in range(300):
            (folder / f"{number}").mkdir()
            time.sleep(GATHER_SECONDS / 20)
        assert heard.hears(Change("folder", "299", ChangeKind.APPEARED))
        assert len(read) <= (time.monotonic() - began) / GATHER_SECONDS + 2
    finally:
        watcher.close()


def test_a_name_that_is_not_utf8_comes_as_fsdecode_gives_it(watcher: Watcher, heard: Heard, folder: Path) -> None:
    watch(watcher, folder, heard)
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9")).touch()
    assert heard.hears(Change("folder", "caf\udce9", ChangeKind.APPEARED))


def test_after_remove_nothing_is_told(watcher: Watcher, heard: Heard, folder: Path, tmp_path: Path) -> None:
    watcher.remove(watch(watcher, folder, heard), "folder")
    (folder / "new").touch()
    settle(watcher, tmp_path)
    assert heard.changes == []
    assert watcher.watches == 0


def test_removing_twice_or_what_was_never_added_is_fine(watcher: Watcher, heard: Heard, folder: Path) -> None:
    watches = watch(watcher, folder, heard)
    for name in ("folder", "folder", "unknown"):
        watcher.remove(watches, name)
    watcher.end(watches)
    watcher.end(watches)


def test_removing_what_is_not_watched_waits_for_nobody(heard: Heard, folder: Path) -> None:
    """What goes is removed before its eviction, and once more when it is gone."""
    opening, may_open = threading.Event(), threading.Event()

    def make() -> Reader:
        opening.set()
        assert may_open.wait(20)
        return new_reader()

    watcher = Watcher(make_reader=make)
    watches = watcher.listen(str(folder.parent), heard)
    adding = threading.Thread(target=watcher.add, args=(watches, "folder"))
    removing = threading.Thread(target=watcher.remove, args=(watches, "unknown"))
    adding.start()
    try:
        assert opening.wait(20)
        removing.start()
        removing.join(5)
        assert not removing.is_alive()
    finally:
        may_open.set()
        adding.join()
        removing.join()
        watcher.close()


def test_removing_while_events_come_is_followed_by_one_late_hint_at_most(watcher: Watcher, folder: Path) -> None:
    stop = threading.Event()

    def keep_touching() -> None:
        while not stop.is_set():
            os.utime(folder / "file")

    (folder / "file").touch()
    toucher = threading.Thread(target=keep_touching)
    toucher.start()
    try:
        for _ in range(50):
            heard = Heard()
            watches = watch(watcher, folder, heard)
            assert heard.hears(Change("folder", "file", ChangeKind.MODIFIED))
            watcher.remove(watches, "folder")
            told = len(heard.changes)
            time.sleep(2 * GATHER_SECONDS)
            assert len(heard.changes) <= told + 1
    finally:
        stop.set()
        toucher.join()


def test_a_name_added_again_goes_to_the_directory_that_has_it_now(
    watcher: Watcher, heard: Heard, folder: Path, tmp_path: Path
) -> None:
    watches = watch(watcher, folder, heard)
    folder.rename(tmp_path / "renamed")
    folder.mkdir()
    assert heard.hears(Change("folder", "", ChangeKind.GONE))
    assert watcher.add(watches, "folder")
    (folder / "new").touch()
    (tmp_path / "renamed" / "other").touch()
    assert heard.hears(Change("folder", "new", ChangeKind.APPEARED))
    assert watcher.watches == kernel_watches() == 1
    settle(watcher, tmp_path / "renamed")
    assert not heard.kinds("other")


def test_a_directory_added_again_under_the_same_name_misses_nothing(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    watches = watcher.listen(str(folder.parent), heard)
    for number in range(200):
        assert watcher.add(watches, "folder")
        (folder / f"{number}").touch()
        assert watcher.add(watches, "folder")
    assert heard.hears(*(Change("folder", f"{number}", ChangeKind.APPEARED) for number in range(200)))
    assert len([change for change in heard.changes if change.kind is ChangeKind.APPEARED]) == 200


@pytest.mark.parametrize("removed_first", [True, False])
def test_a_renamed_folder_is_heard_under_its_new_name_whichever_comes_first(
    watcher: Watcher, heard: Heard, folder: Path, tmp_path: Path, *, removed_first: bool
) -> None:
    watches = watch(watcher, folder, heard)
    folder.rename(tmp_path / "renamed")
    if removed_first:
        watcher.remove(watches, "folder")
    assert watcher.add(watches, "renamed")
    watcher.remove(watches, "folder")
    (tmp_path / "renamed" / "lease").touch()
    assert heard.hears(Change("renamed", "lease", ChangeKind.APPEARED))
    assert {change.directory for change in heard.changes if change.name == "lease"} == {"renamed"}
    assert watcher.watches == 1


def test_a_directory_under_two_names_or_of_two_listeners_is_told_once_to_each(watcher: Watcher, folder: Path) -> None:
    first, second = Heard(), Heard()
    watches = watch(watcher, folder, first)
    assert watcher.add(watches, "folder/")
    watch(watcher, folder, second)
    (folder / "new").touch()
    settle(watcher, folder)
    once = [ChangeKind.APPEARED, ChangeKind.MODIFIED]
    assert second.kinds("new") == once
    for name in ("folder", "folder/"):
        assert [change.kind for change in first.changes if change[:2] == (name, "new")] == once


def test_of_a_directory_with_a_slash_at_its_end_all_is_of_interest(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    watches = watcher.listen(str(folder), heard, lambda _name: False)
    (folder / "above").mkdir()
    for name in ("", "above/", "above"):
        assert watcher.add(watches, name)
    (folder / "above" / "new").mkdir()
    (folder / "new").mkdir()
    settle(watcher, folder)
    assert [change.directory for change in heard.changes if change.name == "new"] == ["above/", ""]


@pytest.mark.parametrize("names", [("folder", "folder/"), ("folder/", "folder")])
def test_a_directory_that_loses_one_of_its_names_is_watched_under_the_other(
    watcher: Watcher, heard: Heard, folder: Path, names: tuple[str, str]
) -> None:
    watches = watch(watcher, folder, heard)
    assert watcher.add(watches, "folder/")
    watcher.remove(watches, names[0])
    (folder / "new").mkdir()
    assert heard.hears(Change(names[1], "new", ChangeKind.APPEARED))
    assert watcher.watches == 1


def test_a_directory_that_one_listener_has_removed_is_watched_for_the_other(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    watch(watcher, folder, heard)
    other = watch(watcher, folder, Heard())
    watcher.end(other)
    assert not watcher.add(other, "folder"), "nobody is there to hear of it"
    (folder / "new").mkdir()
    assert heard.hears(Change("folder", "new", ChangeKind.APPEARED))
    assert watcher.watches == 1


def test_a_listener_that_removes_another_name_of_the_directory_keeps_it_from_being_told(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    def removing(change: Change) -> None:
        heard(change)
        watcher.remove(watches, "folder/")

    watches = watch(watcher, folder, removing)
    assert watcher.add(watches, "folder/")
    (folder / "new").mkdir()
    settle(watcher, folder)
    assert [change.directory for change in heard.changes if change.name == "new"] == ["folder"]


def test_what_happens_while_a_directory_is_being_added_is_heard(heard: Heard, folder: Path) -> None:
    class Slow(Reader):
        def add(self, path: bytes, mask: int) -> int:
            descriptor = super().add(path, mask)
            (folder / "new").mkdir()
            time.sleep(0.1)  # meanwhile its event has come, and nobody knows yet what its descriptor stands for
            return descriptor

    watcher = Watcher(make_reader=Slow)
    try:
        watch(watcher, folder, heard)
        assert heard.hears(Change("folder", "new", ChangeKind.APPEARED))
    finally:
        watcher.close()


def test_where_adding_one_hangs_others_are_added_removed_and_heard_of(heard: Heard, folder: Path) -> None:
    hangs, go_on = threading.Event(), threading.Event()

    class Hanging(Reader):
        def add(self, path: bytes, mask: int) -> int:
            if path.endswith(b"/hangs"):
                hangs.set()
                go_on.wait(20)
            return super().add(path, mask)

    other = folder.with_name("hangs")
    other.mkdir()
    watcher = Watcher(make_reader=Hanging)
    adding = threading.Thread(target=watch, args=(watcher, other, Heard()))
    try:
        adding.start()
        assert hangs.wait(5)
        watches = watch(watcher, folder, heard)
        (folder / "new").mkdir()
        assert heard.hears(Change("folder", "new", ChangeKind.APPEARED))
        watcher.remove(watches, "folder")
        assert (watcher.check(), watcher.watches) == (True, 0)
        go_on.set()
        adding.join(5)
        assert watcher.watches == 1
    finally:
        go_on.set()
        watcher.close()


def test_a_directory_that_goes_while_it_is_being_added_is_forgotten(heard: Heard, folder: Path) -> None:
    class Slow(Reader):
        def add(self, path: bytes, mask: int) -> int:
            descriptor = super().add(path, mask)
            folder.rmdir()
            time.sleep(0.1)
            return descriptor

    watcher = Watcher(make_reader=Slow)
    try:
        watch(watcher, folder, heard)
        assert heard.hears(Change("folder", "", ChangeKind.GONE))
        assert watcher.watches == 0
    finally:
        watcher.close()


def test_a_deleted_directory_is_forgotten_under_all_its_names(watcher: Watcher, folder: Path) -> None:
    first, second = Heard(), Heard()
    assert watcher.add(watch(watcher, folder, first), "folder/")
    watch(watcher, folder, second)
    folder.rmdir()
    assert first.hears(Change("folder", "", ChangeKind.GONE), Change("folder/", "", ChangeKind.GONE))
    assert second.hears(Change("folder", "", ChangeKind.GONE))
    assert (len(first.changes), len(second.changes)) == (2, 1)
    assert watcher.watches == 0


def test_a_folder_made_anew_under_its_old_name_is_watched_when_added_again(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    watches = watch(watcher, folder, heard)
    folder.rmdir()
    folder.mkdir()
    assert watcher.add(watches, "folder")
    (folder / "new").touch()
    assert heard.hears(Change("folder", "new", ChangeKind.APPEARED))
    settle(watcher, folder)
    assert watcher.watches == 1


@pytest.mark.root
def test_an_unmounted_directory_is_gone(watcher: Watcher, heard: Heard, folder: Path) -> None:
    needs.root()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    try:
        watch(watcher, folder, heard)
    finally:
        subprocess.run(["umount", folder], check=True)
    assert heard.hears(Change("folder", "", ChangeKind.GONE))
    assert watcher.watches == 0


@pytest.mark.parametrize("what", ["missing", "file", "link", "missing/deeper", "x" * 300])
def test_what_is_no_directory_is_not_watched_and_nothing_is_wrong(
    watcher: Watcher, heard: Heard, folder: Path, what: str
) -> None:
    (folder / "file").touch()
    (folder / "link").symlink_to(folder)
    assert not watcher.add(watcher.listen(str(folder), heard), what)
    assert (watcher.watches, watcher.refused, watcher.state) == (0, 0, WatchState.OK)


def test_a_directory_that_may_not_be_read_is_refused_until_it_is_removed(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    watches = watcher.listen(str(folder.parent), heard)
    folder.chmod(0)
    with without_rights():
        assert not watcher.add(watches, "folder")
    assert (watcher.watches, watcher.refused, watcher.state) == (0, 1, WatchState.OK)
    with without_rights():
        assert list(watcher.try_again(watches)) == []
    assert watcher.refused == 1
    watcher.remove(watches, "folder")
    assert watcher.refused == 0
    folder.chmod(0o700)


def test_a_directory_that_may_be_read_again_is_watched_when_it_is_tried_again(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    watches = watcher.listen(str(folder.parent), heard)
    folder.chmod(0)
    with without_rights():
        assert not watcher.add(watches, "folder")
    folder.chmod(0o700)
    list(watcher.try_again(watches))
    assert (watcher.watches, watcher.refused) == (1, 0)


def test_a_refusal_of_the_kernel_itself_is_a_refusal_and_stays_in_no_table(heard: Heard, folder: Path) -> None:
    # The right may go between our look and the kernel's, so this is reached below the watcher's own look.
    watches = Watches(str(folder.parent), heard)
    instance = Instance(new_reader(), threading.Lock(), lambda: (watches,), Voice(logging.getLogger("test")))
    folder.chmod(0)
    try:
        with without_rights(), pytest.raises(PermissionError):
            instance.place(watches, "folder")
        assert watches.names() == []
    finally:
        folder.chmod(0o700)
        instance.close()
        instance.join(1)


@pytest.mark.root
def test_a_mount_that_hangs_holds_up_only_who_adds_a_directory_in_it(
    watcher: Watcher, heard: Heard, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "mount").mkdir()
    watch(watcher, folder, heard)
    with hung_mount(tmp_path / "mount"):
        adding = threading.Thread(target=watcher.add, args=(watcher.listen(str(tmp_path), heard), "mount/folder"))
        adding.start()
        adding.join(0.2)
        assert adding.is_alive()
        (folder / "new").mkdir()
        assert heard.hears(Change("folder", "new", ChangeKind.APPEARED))
        others = threading.Thread(target=watcher.add, args=(watcher.listen(str(tmp_path), heard), ""))
        others.start()
        others.join(1)
        assert not others.is_alive()
    adding.join(5)
    assert not adding.is_alive()


@pytest.mark.root
def test_out_of_watches_is_said_once_and_ends_when_there_are_more(
    heard: Heard, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needs.root()
    asked: list[bytes] = []

    class Counting(Reader):
        def add(self, path: bytes, mask: int) -> int:
            asked.append(path)
            return super().add(path, mask)

    watcher = Watcher(make_reader=Counting)
    names = [f"{number}" for number in range(200)]
    for name in names:
        (tmp_path / name).mkdir()
    try:
        watches = watch(watcher, folder, heard)
        with sysctl("max_user_watches", 1):
            added = [watcher.add(watches, name) for name in names]
            again = watcher.add(watches, "folder")
            asked.clear()
            list(watcher.try_again(watches))
        assert not any(added)
        assert again, "what is watched already takes no further watch"
        assert len(asked) == 1, "where there is no watch for one of them there is none for the others"
        assert (watcher.watches, watcher.refused, watcher.state) == (1, 200, WatchState.DEGRADED)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "fs.inotify.max_user_watches" in caplog.text
        watcher.remove(watches, names[0])
        assert len(list(watcher.try_again(watches))) == 3, "it gives others a turn"
        assert (watcher.watches, watcher.refused, watcher.state) == (200, 0, WatchState.OK)
    finally:
        watcher.close()


def test_out_of_instances_is_degraded_until_a_check_finds_one(
    heard: Heard, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = 0

    def make() -> Reader:
        nonlocal asked
        asked += 1
        if asked <= 2:
            raise OSError(errno.EMFILE, "inotify instance limit reached")
        return new_reader()

    watcher = Watcher(make_reader=make)
    watches = watcher.listen(str(folder.parent), heard)
    try:
        assert not watcher.add(watches, "folder")
        assert not watcher.add(watches, "folder/")
        assert asked == 1, "each add would ask again"
        assert (watcher.watches, watcher.refused, watcher.state) == (0, 2, WatchState.DEGRADED)
        assert not watcher.check()
        assert watcher.check()
        assert (watcher.watches, watcher.refused, watcher.state) == (2, 0, WatchState.OK)
        assert len(caplog.records) == 1
        (folder / "new").touch()
        assert heard.hears(*(Change(name, "new", ChangeKind.APPEARED) for name in ("folder", "folder/")))
    finally:
        watcher.close()


@pytest.mark.parametrize("left", range(4))
def test_with_hardly_a_descriptor_left_there_is_no_instance_and_no_leak(left: int) -> None:
    before = open_descriptors()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers = [os.dup(0)]
    while fillers[-1] < max(before):
        fillers.append(os.dup(0))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (fillers[-1] + 1 + left, limits[1]))
        if left >= 3:
            reader = new_reader()
            reader.hear = lambda _told: None
            reader.start()
            reader.stop()
            reader.join()
        else:
            with pytest.raises(OSError, match="Too many open files"):
                new_reader()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in fillers:
            os.close(descriptor)
    assert open_descriptors() == before


def test_a_thread_that_can_not_be_started_is_degraded_and_leaks_nothing(heard: Heard, folder: Path) -> None:
    class Threadless(Reader):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    before = open_descriptors()
    watcher = Watcher(make_reader=Threadless)
    assert not watcher.add(watcher.listen(str(folder.parent), heard), "folder")
    assert not watcher.check()
    assert (watcher.watches, watcher.refused, watcher.state) == (0, 1, WatchState.DEGRADED)
    assert open_descriptors() == before


def test_a_started_program_inherits_no_inotify(watcher: Watcher, heard: Heard, folder: Path) -> None:
    watch(watcher, folder, heard)
    listed = subprocess.run(["ls", "-l", "/proc/self/fd"], check=True, close_fds=False, capture_output=True, text=True)
    assert "inotify" not in listed.stdout


def test_a_listener_that_raises_is_logged_and_counted_and_heard_no_less(
    watcher: Watcher, heard: Heard, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_change: Change) -> None:
        raise ZeroDivisionError

    watch(watcher, folder, broken)
    watch(watcher, folder, heard)
    (folder / "first").mkdir()
    (folder / "second").mkdir()
    assert heard.hears(Change("folder", "first", ChangeKind.APPEARED), Change("folder", "second", ChangeKind.APPEARED))
    assert watcher.failures == 2
    assert watcher.state is WatchState.OK
    assert [record.exc_info is not None for record in caplog.records] == [True], "a traceback once, not at each event"


def test_a_filter_that_raises_is_survived(watcher: Watcher, heard: Heard, folder: Path) -> None:
    watch(watcher, folder, heard, lambda name: 1 // (name != b"bad"))
    (folder / "bad").mkdir()
    (folder / "good").mkdir()
    assert heard.hears(Change("folder", "good", ChangeKind.APPEARED))
    assert (watcher.failures, heard.kinds("bad")) == (1, [])


def test_a_listener_may_add_remove_check_and_close(watcher: Watcher, heard: Heard, folder: Path) -> None:
    done = threading.Event()
    within = watcher.listen(str(folder), heard)

    def busy(change: Change) -> None:
        if change.name == "sub":
            watcher.add(within, "sub")
            watcher.check()
            watcher.remove(watches, "folder")
            done.set()

    watches = watch(watcher, folder, busy)
    (folder / "sub").mkdir()
    assert done.wait(1)
    (folder / "sub" / "new").mkdir()
    assert heard.hears(Change("sub", "new", ChangeKind.APPEARED))

    closed = threading.Event()

    def closing(_change: Change) -> None:
        watcher.close()
        closed.set()

    watch(watcher, folder, closing)
    (folder / "other").mkdir()
    assert closed.wait(1)
    assert eventually(lambda: "gcsidecar-watch" not in {thread.name for thread in threading.enumerate()})


def test_an_overflow_is_told_once_to_each_listener_and_counted(
    heard: Heard, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lowered = sysctl("max_queued_events", 64) if os.geteuid() == 0 else contextlib.nullcontext()
    reached, go_on = threading.Event(), threading.Event()
    watcher = Watcher()
    other = tmp_path / "other"
    other.mkdir()

    def stalled(change: Change) -> None:
        heard(change)
        reached.set()
        go_on.wait(20)

    try:
        with lowered:  # the kernel looks at it when the instance is made
            watch(watcher, folder, stalled)
        quiet = Heard()
        for _ in range(2):
            watch(watcher, other, quiet)
        (folder / "first").mkdir()
        assert reached.wait(1)
        for number in range(int((SYSCTL / "max_queued_events").read_text()) + 1 if os.geteuid() else 65):
            (folder / f"{number}").mkdir()
        go_on.set()
        assert heard.hears(OVERFLOW, within_seconds=10)
        assert eventually(lambda: len(quiet.changes) == 1)
        assert quiet.changes == [OVERFLOW]
        assert watcher.overflows == 1
        assert watcher.state is WatchState.OK
        assert [record.name for record in caplog.records] == ["gcsidecar.watch"], "watchdog's own warning is left out"
        assert "fs.inotify.max_queued_events" in caplog.text
        (other / "new").mkdir()
        assert quiet.hears(Change("other", "new", ChangeKind.APPEARED)), "it goes on after an overflow"
    finally:
        go_on.set()
        watcher.close()


def kill(reader: MortalReader, path: Path) -> None:
    reader.dies = True
    (path / f"kill-{time.monotonic_ns()}").mkdir()
    assert eventually(lambda: not reader.is_alive())


def mortal_watcher(then: Callable[[], MortalReader | None] = MortalReader) -> tuple[Watcher, list[MortalReader]]:
    """A watcher with the readers that it has got so far; from the second one on they are made by `then`."""
    made: list[MortalReader] = []

    def make() -> Reader:
        reader = then() if made else MortalReader()
        if reader is None:
            raise OSError(errno.EMFILE, "inotify instance limit reached")
        made.append(reader)
        return reader

    return Watcher(make_reader=make), made


def test_a_dead_thread_is_revived_by_check_and_every_listener_is_told(
    heard: Heard, folder: Path, tmp_path: Path
) -> None:
    watcher, made = mortal_watcher()
    other, second = tmp_path / "other", Heard()
    other.mkdir()
    try:
        watches, others = watch(watcher, folder, heard), watch(watcher, other, second)
        assert watcher.check()
        kill(made[0], folder)
        assert watcher.state is WatchState.DEGRADED
        assert watcher.check()
        assert (watcher.state, watcher.watches, watcher.restarts) == (WatchState.OK, 2, 1)
        assert heard.hears(OVERFLOW)
        assert second.hears(OVERFLOW)
        (folder / "new").mkdir()
        assert heard.hears(Change("folder", "new", ChangeKind.APPEARED))
        watcher.remove(watches, "folder")
        watcher.remove(others, "other")
        assert watcher.watches == 0
    finally:
        watcher.close()


def test_what_is_gone_when_the_thread_is_revived_is_forgotten(heard: Heard, folder: Path, tmp_path: Path) -> None:
    watcher, made = mortal_watcher()
    (tmp_path / "other").mkdir()
    try:
        watch(watcher, folder, heard)
        watch(watcher, tmp_path / "other", heard)
        kill(made[0], folder)
        (tmp_path / "other").rmdir()
        assert watcher.check()
        assert (watcher.watches, watcher.refused) == (1, 0)
    finally:
        watcher.close()


def test_a_dead_thread_is_revived_even_when_nothing_is_watched_any_more(heard: Heard, folder: Path) -> None:
    watcher, made = mortal_watcher()
    try:
        watches = watch(watcher, folder, heard)
        kill(made[0], folder)
        watcher.remove(watches, "folder")
        assert watcher.check()
        watch(watcher, folder, heard)
        (folder / "new").mkdir()
        assert heard.hears(Change("folder", "new", ChangeKind.APPEARED))
    finally:
        watcher.close()


def test_where_no_second_instance_is_to_be_had_all_is_refused_until_there_is_one(heard: Heard, folder: Path) -> None:
    answers = [None, MortalReader()]
    watcher, made = mortal_watcher(lambda: answers.pop(0))
    try:
        watch(watcher, folder, heard)
        kill(made[0], folder)
        assert not watcher.check()
        assert (watcher.state, watcher.watches, watcher.refused) == (WatchState.DEGRADED, 0, 1)
        assert watcher.check()
        assert (watcher.state, watcher.watches, watcher.refused) == (WatchState.OK, 1, 0)
        assert watcher.restarts == 1
    finally:
        watcher.close()


def test_one_that_is_refused_when_the_thread_is_revived_does_not_take_away_the_watch_of_another(
    heard: Heard, folder: Path, tmp_path: Path
) -> None:
    class Refusing(MortalReader):
        def add(self, path: bytes, mask: int) -> int:
            if path.endswith(b"refused"):
                raise OSError(errno.ENOSPC, "inotify watch limit reached")
            return super().add(path, mask)

    watcher, made = mortal_watcher(Refusing)
    (tmp_path / "refused").mkdir()
    try:
        watches = watch(watcher, tmp_path / "refused", heard)
        assert watcher.add(watches, "folder")
        kill(made[0], folder)
        assert watcher.check()
        assert (watcher.watches, watcher.refused) == (1, 1)
        watcher.remove(watches, "refused")
        (folder / "new").mkdir()
        assert heard.hears(Change("folder", "new", ChangeKind.APPEARED))
    finally:
        watcher.close()


def test_what_is_removed_while_the_thread_is_revived_does_not_come_back(heard: Heard, tmp_path: Path) -> None:
    watcher, made = mortal_watcher()
    watches = watcher.listen(str(tmp_path), heard)
    names = [f"{number}" for number in range(1000)]
    for name in names:
        (tmp_path / name).mkdir()
        watcher.add(watches, name)
    try:
        kill(made[0], tmp_path / names[0])
        checking = threading.Thread(target=watcher.check)
        checking.start()
        for name in reversed(names):
            watcher.remove(watches, name)
        checking.join()
        assert (watcher.watches, watcher.refused) == (0, 0)
    finally:
        watcher.close()


def test_when_the_last_listener_ends_so_does_the_thread_and_the_next_one_gets_another(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    """It takes no call of the kernel for each directory, of which there may be 100,000."""
    descriptors = open_descriptors()
    watcher.end(watch(watcher, folder, heard))
    assert eventually(lambda: "gcsidecar-watch" not in {thread.name for thread in threading.enumerate()})
    assert open_descriptors() == descriptors
    assert (watcher.state, watcher.watches, watcher.refused) == (WatchState.OK, 0, 0)
    assert watcher.check()
    watch(watcher, folder, heard)
    (folder / "new").mkdir()
    assert heard.hears(Change("folder", "new", ChangeKind.APPEARED))
    assert watcher.restarts == 0


def test_a_thread_that_dies_again_and_again_is_given_up(
    heard: Heard, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watcher, made = mortal_watcher()
    descriptors = open_descriptors()
    watch(watcher, folder, heard)
    for _ in range(10):
        kill(made[-1], folder)
        assert watcher.check()
    kill(made[-1], folder)
    assert not watcher.check()
    assert watcher.state is WatchState.OFF
    assert "dies again and again" in caplog.text
    assert open_descriptors() == descriptors, "none of the eleven instances has left a descriptor"


def missing_module() -> Reader:
    raise WatchingUnavailableError("No module named 'watchdog.observers.inotify_c'")


def missing_name() -> Reader:
    raise AttributeError("module has no attribute 'InotifyFD'")


def other_arguments() -> Reader:
    reader = new_reader()
    vars(reader)["add"] = lambda path: path
    return reader


@pytest.mark.parametrize("make", [missing_module, missing_name, other_arguments])
def test_where_watchdog_has_changed_it_is_off_says_so_once_and_raises_nothing(
    heard: Heard, folder: Path, make: Callable[[], Reader], caplog: pytest.LogCaptureFixture
) -> None:
    watcher = Watcher(make_reader=make)
    watches = watcher.listen(str(folder.parent), heard)
    assert not watcher.add(watches, "folder")
    assert not watcher.add(watches, "other")
    assert not watcher.check()
    watcher.remove(watches, "folder")
    assert (watcher.state, watcher.watches, watcher.refused) == (WatchState.OFF, 0, 0)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    watcher.close()


def test_without_watchdog_the_module_can_be_imported_and_is_off(folder: Path) -> None:
    script = (
        "import sys; sys.modules['watchdog'] = None\n"
        "from gcsidecar.cache.watching.watcher import Watcher\n"
        "watcher = Watcher()\n"
        f"print(watcher.add(watcher.listen({str(folder.parent)!r}, print), 'folder'), watcher.state)"
    )
    shown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "False off"


def test_close_ends_the_thread_within_a_second_and_all_that_follows_is_harmless(heard: Heard, folder: Path) -> None:
    descriptors = open_descriptors()
    watcher = Watcher()
    watches = watch(watcher, folder, heard)
    begun = time.monotonic()
    watcher.close()
    watcher.close()
    assert time.monotonic() - begun < 1
    assert "gcsidecar-watch" not in {thread.name for thread in threading.enumerate()}
    assert open_descriptors() == descriptors
    assert (watcher.state, watcher.watches, watcher.refused) == (WatchState.OFF, 0, 0)
    watcher.remove(watches, "folder")
    assert not watcher.add(watches, "folder")
    assert not watcher.check()
    assert watcher.state is WatchState.OFF
    assert heard.changes == []


def test_close_does_not_wait_for_ever_for_a_listener_that_stalls(folder: Path) -> None:
    reached, go_on = threading.Event(), threading.Event()
    watcher = Watcher()

    def stalled(_change: Change) -> None:
        reached.set()
        go_on.wait(20)

    watch(watcher, folder, stalled)
    (folder / "new").mkdir()
    assert reached.wait(1)
    begun = time.monotonic()
    watcher.close()
    took = time.monotonic() - begun
    go_on.set()
    assert took < 1.5


def test_a_watcher_that_watches_nothing_has_no_thread_and_is_fine(watcher: Watcher) -> None:
    before = threading.active_count()
    assert watcher.check()
    assert watcher.state is WatchState.OK
    assert threading.active_count() == before


def test_5000_watches_take_one_thread(watcher: Watcher, heard: Heard, tmp_path: Path) -> None:
    before = threading.active_count()
    watches = watcher.listen(str(tmp_path), heard)
    for number in range(5_000):
        (tmp_path / f"{number}").mkdir()
        assert watcher.add(watches, f"{number}")
    assert threading.active_count() <= before + 1
    assert watcher.watches == 5_000
    (tmp_path / "4321" / "new").mkdir()
    assert heard.hears(Change("4321", "new", ChangeKind.APPEARED))

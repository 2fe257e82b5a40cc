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
from watchdog.observers.inotify_c import InotifyFD

import needs
from cache.conftest import hung_mount
from gcsidecar.cache.watching.inotify import Instance, Voice, Watch, independent_inotify
from gcsidecar.cache.watching.watcher import Change, ChangeKind, Watcher, WatchingUnavailableError, WatchState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watchdog.observers.inotify_c import CallbackId, Mask, WatchCallback, WatchDescriptor

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


class MortalInotify(InotifyFD):
    """A real one whose thread can be made to end without a word and without closing anything, as an exception does."""

    dies = False

    def should_keep_running(self) -> bool:
        return not self.dies and super().should_keep_running()


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
    assert watcher.add(os.fsencode(path), name, last)
    (path / name).touch()
    assert last.hears(Change(name, name, ChangeKind.APPEARED), within_seconds=20)
    watcher.remove(name)


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
    assert watcher.add(str(folder), "key", heard)
    act(folder)
    assert heard.hears(Change("key", name, kind), within_seconds=1)


def test_reading_tells_nothing(watcher: Watcher, heard: Heard, folder: Path) -> None:
    (folder / "old").write_text("x")
    watcher.add(str(folder), "key", heard)
    (folder / "old").read_text()
    list(folder.iterdir())
    settle(watcher, folder)
    assert not heard.kinds("old")


def test_a_subfolder_is_not_watched(watcher: Watcher, heard: Heard, folder: Path) -> None:
    (folder / "sub").mkdir()
    watcher.add(str(folder), "key", heard)
    (folder / "sub" / "deep").touch()
    settle(watcher, folder)
    assert not heard.kinds("deep")


def test_an_unlinked_file_that_is_still_written_tells_nothing_more(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    with (folder / "old").open("w") as file:
        (folder / "old").unlink()
        watcher.add(str(folder), "key", heard)
        file.write("x")
    settle(watcher, folder)
    assert not heard.kinds("old")


def test_only_interesting_names_are_told(watcher: Watcher, heard: Heard, folder: Path) -> None:
    watcher.add(str(folder), "key", heard, interesting=lambda name: name.endswith(".lease"))
    (folder / "wheel.whl").touch()
    (folder / "a.lease").touch()
    assert heard.hears(Change("key", "a.lease", ChangeKind.MODIFIED))
    assert {change.name for change in heard.changes} == {"a.lease"}


def test_the_directory_itself_is_always_of_interest(watcher: Watcher, heard: Heard, folder: Path) -> None:
    watcher.add(str(folder), "key", heard, interesting=lambda _name: False)
    os.utime(folder)
    assert heard.hears(Change("key", "", ChangeKind.MODIFIED))


def test_of_20000_uninteresting_files_none_is_told_and_none_overflows(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    watcher.add(str(folder), "key", heard, interesting=lambda name: name.startswith(".lease"))
    for number in range(20_000):
        os.close(os.open(folder / f"file-{number}", os.O_CREAT | os.O_WRONLY))
    (folder / ".lease").touch()
    assert heard.hears(Change("key", ".lease", ChangeKind.APPEARED), within_seconds=10)
    assert {change.name for change in heard.changes} == {".lease"}
    assert watcher.overflows == 0


def test_a_name_that_is_not_utf8_comes_as_fsdecode_gives_it(watcher: Watcher, heard: Heard, folder: Path) -> None:
    watcher.add(os.fsencode(folder), "key", heard)
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9")).touch()
    assert heard.hears(Change("key", "caf\udce9", ChangeKind.APPEARED))


def test_after_remove_nothing_is_told(watcher: Watcher, heard: Heard, folder: Path, tmp_path: Path) -> None:
    watcher.add(str(folder), "key", heard)
    watcher.remove("key")
    (folder / "new").touch()
    settle(watcher, tmp_path)
    assert heard.changes == []
    assert watcher.watches == 0


def test_removing_twice_or_what_was_never_added_is_fine(watcher: Watcher, heard: Heard, folder: Path) -> None:
    watcher.add(str(folder), "key", heard)
    for key in ("key", "key", "unknown"):
        watcher.remove(key)


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
            watcher.add(str(folder), "key", heard)
            assert heard.hears(Change("key", "file", ChangeKind.MODIFIED))
            watcher.remove("key")
            told = len(heard.changes)
            time.sleep(0.002)
            assert len(heard.changes) <= told + 1
    finally:
        stop.set()
        toucher.join()


def test_a_key_added_again_goes_to_the_new_directory_and_listener(
    watcher: Watcher, heard: Heard, folder: Path, tmp_path: Path
) -> None:
    other, second = tmp_path / "other", Heard()
    other.mkdir()
    watcher.add(str(folder), "key", heard)
    watcher.add(str(other), "key", second)
    (folder / "new").touch()
    (other / "new").touch()
    assert second.hears(Change("key", "new", ChangeKind.APPEARED))
    settle(watcher, folder)
    assert heard.changes == []
    assert watcher.watches == 1


def test_a_directory_added_again_under_the_same_key_misses_nothing(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    for number in range(200):
        assert watcher.add(str(folder), "key", heard)
        (folder / f"{number}").touch()
        assert watcher.add(str(folder), "key", heard)
    assert heard.hears(*(Change("key", f"{number}", ChangeKind.APPEARED) for number in range(200)))
    assert len([change for change in heard.changes if change.kind is ChangeKind.APPEARED]) == 200


@pytest.mark.parametrize("removed_first", [True, False])
def test_a_renamed_folder_is_heard_under_its_new_key_whichever_comes_first(
    watcher: Watcher, heard: Heard, folder: Path, tmp_path: Path, *, removed_first: bool
) -> None:
    old = Heard()
    watcher.add(str(folder), "old", old)
    folder.rename(tmp_path / "renamed")
    if removed_first:
        watcher.remove("old")
    assert watcher.add(str(tmp_path / "renamed"), "new", heard)
    watcher.remove("old")
    (tmp_path / "renamed" / "lease").touch()
    assert heard.hears(Change("new", "lease", ChangeKind.APPEARED))
    assert not old.kinds("lease")
    assert watcher.watches == 1


def test_a_directory_under_two_keys_is_told_once_to_each(watcher: Watcher, folder: Path) -> None:
    first, second = Heard(), Heard()
    watcher.add(str(folder), 1, first)
    watcher.add(str(folder), 2, second)
    (folder / "new").touch()
    settle(watcher, folder)
    assert first.kinds("new") == second.kinds("new") == [ChangeKind.APPEARED, ChangeKind.MODIFIED]


def test_a_listener_that_removes_another_key_of_the_directory_keeps_it_from_hearing(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    watcher.add(str(folder), 1, lambda _change: watcher.remove(2))
    watcher.add(str(folder), 2, heard)
    (folder / "new").mkdir()
    settle(watcher, folder)
    assert not heard.kinds("new")


def test_what_happens_while_a_directory_is_being_added_is_heard(heard: Heard, folder: Path) -> None:
    class Slow(InotifyFD):
        def add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
            descriptor = super().add_callback(path, mask, callback, id_)
            (folder / "new").mkdir()
            time.sleep(0.1)  # meanwhile its event has come, and nobody knows yet what its descriptor stands for
            return descriptor

    watcher = Watcher(make_inotify=Slow)
    try:
        watcher.add(str(folder), "key", heard)
        assert heard.hears(Change("key", "new", ChangeKind.APPEARED))
    finally:
        watcher.close()


def test_a_deleted_directory_is_forgotten_under_all_its_keys(watcher: Watcher, folder: Path) -> None:
    first, second = Heard(), Heard()
    watcher.add(str(folder), 1, first)
    watcher.add(str(folder), 2, second)
    folder.rmdir()
    assert first.hears(Change(1, "", ChangeKind.GONE))
    assert second.hears(Change(2, "", ChangeKind.GONE))
    assert first.kinds("") == second.kinds("") == [ChangeKind.GONE]
    assert watcher.watches == 0


def test_a_folder_made_anew_under_its_old_name_is_watched_when_added_again(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    watcher.add(str(folder), "key", heard)
    folder.rmdir()
    folder.mkdir()
    assert watcher.add(str(folder), "key", heard)
    (folder / "new").touch()
    assert heard.hears(Change("key", "new", ChangeKind.APPEARED))
    settle(watcher, folder)
    assert watcher.watches == 1


@pytest.mark.root
def test_an_unmounted_directory_is_gone(watcher: Watcher, heard: Heard, folder: Path) -> None:
    needs.root()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    try:
        watcher.add(str(folder), "key", heard)
    finally:
        subprocess.run(["umount", folder], check=True)
    assert heard.hears(Change("key", "", ChangeKind.GONE))
    assert watcher.watches == 0


@pytest.mark.parametrize("what", ["missing", "file", "link", "missing/deeper", "x" * 300])
def test_what_is_no_directory_is_not_watched_and_nothing_is_wrong(
    watcher: Watcher, heard: Heard, folder: Path, what: str
) -> None:
    (folder / "file").touch()
    (folder / "link").symlink_to(folder)
    assert not watcher.add(str(folder / what), "key", heard)
    assert (watcher.watches, watcher.refused, watcher.state) == (0, 0, WatchState.OK)


def test_a_directory_that_may_not_be_read_is_refused_until_it_is_removed(
    watcher: Watcher, heard: Heard, folder: Path
) -> None:
    folder.chmod(0)
    with without_rights():
        assert not watcher.add(str(folder), "key", heard)
    assert (watcher.watches, watcher.refused, watcher.state) == (0, 1, WatchState.OK)
    watcher.remove("key")
    assert watcher.refused == 0
    folder.chmod(0o700)


def test_a_refusal_that_watchdog_passes_over_is_a_refusal_and_stays_in_no_table(heard: Heard, folder: Path) -> None:
    # The right may go between our look and the kernel's, so this is reached below the watcher's own look.
    inotify = independent_inotify()
    instance = Instance(inotify, threading.Lock(), {}, Voice(logging.getLogger("test")))
    folder.chmod(0)
    try:
        with without_rights(), pytest.raises(PermissionError):
            instance.place(Watch(os.fsencode(folder), "key", heard, None))
        assert inotify._watch_for_wd == {}
    finally:
        folder.chmod(0o700)
        instance.close()
        instance.join(1)


@pytest.mark.root
def test_a_mount_that_hangs_holds_up_only_who_adds_a_directory_in_it(
    watcher: Watcher, heard: Heard, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "mount").mkdir()
    watcher.add(str(folder), "key", heard)
    with hung_mount(tmp_path / "mount"):
        adding = threading.Thread(target=watcher.add, args=(str(tmp_path / "mount" / "folder"), "hung", heard))
        adding.start()
        adding.join(0.2)
        assert adding.is_alive()
        (folder / "new").mkdir()
        assert heard.hears(Change("key", "new", ChangeKind.APPEARED))
        others = threading.Thread(target=watcher.add, args=(str(tmp_path), "other", heard))
        others.start()
        others.join(1)
        assert not others.is_alive()
    adding.join(5)
    assert not adding.is_alive()


@pytest.mark.root
def test_out_of_watches_is_said_once_and_ends_when_there_are_more(
    watcher: Watcher, heard: Heard, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needs.root()
    others = [tmp_path / f"{number}" for number in range(3)]
    for other in others:
        other.mkdir()
    assert watcher.add(str(folder), "key", heard)
    with sysctl("max_user_watches", 1):
        added = [watcher.add(str(other), other.name, heard) for other in others]
        again = watcher.add(str(folder), "key", heard)
    assert added == [False] * 3
    assert again, "what is watched already takes no further watch"
    assert (watcher.watches, watcher.refused, watcher.state) == (1, 3, WatchState.DEGRADED)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "fs.inotify.max_user_watches" in caplog.text
    for other in others[1:]:
        assert watcher.add(str(other), other.name, heard)
    watcher.remove(others[0].name)
    assert (watcher.watches, watcher.refused, watcher.state) == (3, 0, WatchState.OK)


def test_out_of_instances_is_degraded_until_a_check_finds_one(
    heard: Heard, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = 0

    def make() -> InotifyFD:
        nonlocal asked
        asked += 1
        if asked <= 2:
            raise OSError(errno.EMFILE, "inotify instance limit reached")
        return independent_inotify()

    watcher = Watcher(make_inotify=make)
    try:
        assert not watcher.add(str(folder), "key", heard)
        assert not watcher.add(str(folder), "key2", heard)
        assert asked == 1, "each add would ask again"
        assert (watcher.watches, watcher.refused, watcher.state) == (0, 2, WatchState.DEGRADED)
        assert not watcher.check()
        assert watcher.check()
        assert (watcher.watches, watcher.refused, watcher.state) == (2, 0, WatchState.OK)
        assert len(caplog.records) == 1
        (folder / "new").touch()
        assert heard.hears(Change("key", "new", ChangeKind.APPEARED), Change("key2", "new", ChangeKind.APPEARED))
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
            inotify = independent_inotify()
            inotify.start()
            inotify.stop()
            inotify.join()
        else:
            with pytest.raises(OSError, match="Too many open files"):
                independent_inotify()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in fillers:
            os.close(descriptor)
    assert open_descriptors() == before


def test_a_thread_that_can_not_be_started_is_degraded_and_leaks_nothing(heard: Heard, folder: Path) -> None:
    class Threadless(InotifyFD):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    before = open_descriptors()
    watcher = Watcher(make_inotify=Threadless)
    assert not watcher.add(str(folder), "key", heard)
    assert not watcher.check()
    assert (watcher.watches, watcher.refused, watcher.state) == (0, 1, WatchState.DEGRADED)
    assert open_descriptors() == before


def test_a_started_program_inherits_no_inotify(watcher: Watcher, heard: Heard, folder: Path) -> None:
    watcher.add(str(folder), "key", heard)
    listed = subprocess.run(["ls", "-l", "/proc/self/fd"], check=True, close_fds=False, capture_output=True, text=True)
    assert "inotify" not in listed.stdout


def test_a_listener_that_raises_is_logged_and_counted_and_heard_no_less(
    watcher: Watcher, heard: Heard, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_change: Change) -> None:
        raise ZeroDivisionError

    watcher.add(str(folder), "broken", broken)
    watcher.add(str(folder), "key", heard)
    (folder / "first").mkdir()
    (folder / "second").mkdir()
    assert heard.hears(Change("key", "first", ChangeKind.APPEARED), Change("key", "second", ChangeKind.APPEARED))
    assert watcher.failures == 2
    assert watcher.state is WatchState.OK
    assert [record.exc_info is not None for record in caplog.records] == [True], "a traceback once, not at each event"


def test_a_filter_that_raises_is_survived(watcher: Watcher, heard: Heard, folder: Path) -> None:
    watcher.add(str(folder), "key", heard, interesting=lambda name: bool(1 // (name != "bad")))
    (folder / "bad").mkdir()
    (folder / "good").mkdir()
    assert heard.hears(Change("key", "good", ChangeKind.APPEARED))
    assert (watcher.failures, heard.kinds("bad")) == (1, [])


def test_a_listener_may_add_remove_check_and_close(watcher: Watcher, heard: Heard, folder: Path) -> None:
    done = threading.Event()

    def busy(change: Change) -> None:
        if change.name == "sub":
            watcher.add(str(folder / "sub"), "sub", heard)
            watcher.check()
            watcher.remove("key")
            done.set()

    watcher.add(str(folder), "key", busy)
    (folder / "sub").mkdir()
    assert done.wait(1)
    (folder / "sub" / "new").mkdir()
    assert heard.hears(Change("sub", "new", ChangeKind.APPEARED))

    closed = threading.Event()

    def closing(_change: Change) -> None:
        watcher.close()
        closed.set()

    watcher.add(str(folder), "key", closing)
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
            watcher.add(str(folder), "key", stalled)
        quiet = Heard()
        for key in ("quiet", "quiet too"):
            watcher.add(str(other), key, quiet)
        (folder / "first").mkdir()
        assert reached.wait(1)
        for number in range(int((SYSCTL / "max_queued_events").read_text()) + 1 if os.geteuid() else 65):
            (folder / f"{number}").mkdir()
        go_on.set()
        assert heard.hears(Change(None, "", ChangeKind.OVERFLOW), within_seconds=10)
        assert eventually(lambda: len(quiet.changes) == 1)
        assert quiet.changes == [Change(None, "", ChangeKind.OVERFLOW)]
        assert watcher.overflows == 1
        assert watcher.state is WatchState.OK
        assert [record.name for record in caplog.records] == ["gcsidecar.watch"], "watchdog's own warning is left out"
        assert "fs.inotify.max_queued_events" in caplog.text
        (other / "new").mkdir()
        assert quiet.hears(Change("quiet", "new", ChangeKind.APPEARED)), "it goes on after an overflow"
    finally:
        go_on.set()
        watcher.close()


def kill(inotify: MortalInotify, path: Path) -> None:
    inotify.dies = True
    (path / f"kill-{time.monotonic_ns()}").mkdir()
    assert eventually(lambda: not inotify.is_alive())


def mortal_watcher(
    then: Callable[[], MortalInotify | None] = MortalInotify,
) -> tuple[Watcher, list[MortalInotify]]:
    """A watcher with the instances that it has got so far; from the second one on they are made by `then`."""
    made: list[MortalInotify] = []

    def make() -> InotifyFD:
        inotify = then() if made else MortalInotify()
        if inotify is None:
            raise OSError(errno.EMFILE, "inotify instance limit reached")
        made.append(inotify)
        return inotify

    return Watcher(make_inotify=make), made


def test_a_dead_thread_is_revived_by_check_and_every_listener_is_told(
    heard: Heard, folder: Path, tmp_path: Path
) -> None:
    watcher, made = mortal_watcher()
    other, second = tmp_path / "other", Heard()
    other.mkdir()
    try:
        watcher.add(str(folder), "key", heard)
        watcher.add(str(other), "other", second)
        assert watcher.check()
        kill(made[0], folder)
        assert watcher.state is WatchState.DEGRADED
        assert watcher.check()
        assert (watcher.state, watcher.watches, watcher.restarts) == (WatchState.OK, 2, 1)
        assert heard.hears(Change(None, "", ChangeKind.OVERFLOW))
        assert second.hears(Change(None, "", ChangeKind.OVERFLOW))
        (folder / "new").mkdir()
        assert heard.hears(Change("key", "new", ChangeKind.APPEARED))
        watcher.remove("key")
        watcher.remove("other")
        assert watcher.watches == 0
    finally:
        watcher.close()


def test_what_is_gone_when_the_thread_is_revived_is_forgotten(heard: Heard, folder: Path, tmp_path: Path) -> None:
    watcher, made = mortal_watcher()
    (tmp_path / "other").mkdir()
    try:
        watcher.add(str(folder), "key", heard)
        watcher.add(str(tmp_path / "other"), "other", heard)
        kill(made[0], folder)
        (tmp_path / "other").rmdir()
        assert watcher.check()
        assert (watcher.watches, watcher.refused) == (1, 0)
    finally:
        watcher.close()


def test_a_dead_thread_is_revived_even_when_nothing_is_watched_any_more(heard: Heard, folder: Path) -> None:
    watcher, made = mortal_watcher()
    try:
        watcher.add(str(folder), "key", heard)
        kill(made[0], folder)
        watcher.remove("key")
        assert watcher.check()
        watcher.add(str(folder), "key", heard)
        (folder / "new").mkdir()
        assert heard.hears(Change("key", "new", ChangeKind.APPEARED))
    finally:
        watcher.close()


def test_where_no_second_instance_is_to_be_had_all_is_refused_until_there_is_one(heard: Heard, folder: Path) -> None:
    answers = [None, MortalInotify()]
    watcher, made = mortal_watcher(lambda: answers.pop(0))
    try:
        watcher.add(str(folder), "key", heard)
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
    class Refusing(MortalInotify):
        def add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
            if path.endswith(b"refused"):
                raise OSError(errno.ENOSPC, "inotify watch limit reached")
            return super().add_callback(path, mask, callback, id_)

    watcher, made = mortal_watcher(Refusing)
    (tmp_path / "refused").mkdir()
    try:
        watcher.add(str(tmp_path / "refused"), "refused", heard)
        watcher.add(str(folder), "key", heard)
        kill(made[0], folder)
        assert watcher.check()
        assert (watcher.watches, watcher.refused) == (1, 1)
        watcher.remove("refused")
        (folder / "new").mkdir()
        assert heard.hears(Change("key", "new", ChangeKind.APPEARED))
    finally:
        watcher.close()


def test_what_is_removed_while_the_thread_is_revived_does_not_come_back(heard: Heard, tmp_path: Path) -> None:
    watcher, made = mortal_watcher()
    folders = [tmp_path / f"{number}" for number in range(1000)]
    for folder in folders:
        folder.mkdir()
        watcher.add(str(folder), folder, heard)
    try:
        kill(made[0], folders[0])
        checking = threading.Thread(target=watcher.check)
        checking.start()
        for folder in reversed(folders):
            watcher.remove(folder)
        checking.join()
        assert (watcher.watches, watcher.refused) == (0, 0)
    finally:
        watcher.close()


def test_a_thread_that_dies_again_and_again_is_given_up(
    heard: Heard, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watcher, made = mortal_watcher()
    descriptors = open_descriptors()
    watcher.add(str(folder), "key", heard)
    for _ in range(10):
        kill(made[-1], folder)
        assert watcher.check()
    kill(made[-1], folder)
    assert not watcher.check()
    assert watcher.state is WatchState.OFF
    assert "dies again and again" in caplog.text
    assert open_descriptors() == descriptors, "none of the eleven instances has left a descriptor"


def missing_module() -> InotifyFD:
    raise WatchingUnavailableError("No module named 'watchdog.observers.inotify_c'")


def missing_name() -> InotifyFD:
    raise AttributeError("module has no attribute 'InotifyFD'")


def other_arguments() -> InotifyFD:
    inotify = independent_inotify()
    vars(inotify)["add_callback"] = lambda path: path
    return inotify


@pytest.mark.parametrize("make", [missing_module, missing_name, other_arguments])
def test_where_watchdog_has_changed_it_is_off_says_so_once_and_raises_nothing(
    heard: Heard, folder: Path, make: Callable[[], InotifyFD], caplog: pytest.LogCaptureFixture
) -> None:
    watcher = Watcher(make_inotify=make)
    assert not watcher.add(str(folder), "key", heard)
    assert not watcher.add(str(folder), "key2", heard)
    assert not watcher.check()
    watcher.remove("key")
    assert (watcher.state, watcher.watches, watcher.refused) == (WatchState.OFF, 0, 0)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    watcher.close()


def test_without_watchdog_the_module_can_be_imported_and_is_off(folder: Path) -> None:
    script = (
        "import sys; sys.modules['watchdog'] = None\n"
        "from gcsidecar.cache.watching.watcher import Watcher\n"
        "watcher = Watcher()\n"
        f"print(watcher.add({str(folder)!r}, 1, print), watcher.state)"
    )
    shown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "False off"


def test_close_ends_the_thread_within_a_second_and_all_that_follows_is_harmless(heard: Heard, folder: Path) -> None:
    descriptors = open_descriptors()
    watcher = Watcher()
    watcher.add(str(folder), "key", heard)
    begun = time.monotonic()
    watcher.close()
    watcher.close()
    assert time.monotonic() - begun < 1
    assert "gcsidecar-watch" not in {thread.name for thread in threading.enumerate()}
    assert open_descriptors() == descriptors
    assert (watcher.state, watcher.watches, watcher.refused) == (WatchState.OFF, 0, 0)
    watcher.remove("key")
    assert not watcher.add(str(folder), "key", heard)
    assert not watcher.check()
    assert watcher.state is WatchState.OFF
    assert heard.changes == []


def test_close_does_not_wait_for_ever_for_a_listener_that_stalls(folder: Path) -> None:
    reached, go_on = threading.Event(), threading.Event()
    watcher = Watcher()

    def stalled(_change: Change) -> None:
        reached.set()
        go_on.wait(20)

    watcher.add(str(folder), "key", stalled)
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
    for number in range(5_000):
        (tmp_path / f"{number}").mkdir()
        assert watcher.add(str(tmp_path / f"{number}"), number, heard)
    assert threading.active_count() <= before + 1
    assert watcher.watches == 5_000
    (tmp_path / "4321" / "new").mkdir()
    assert heard.hears(Change(4321, "new", ChangeKind.APPEARED))

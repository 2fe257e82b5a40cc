"""What gcsidecar/cache/watching/inotify.py relies on in watchdog, outside its documented interface.

Where one of these fails after an upgrade, read watchdog/observers/inotify_c.py again and mend inotify.py, or bound the
dependency in pyproject.toml; until then the process goes on with watching off.
"""

from __future__ import annotations

import errno
import importlib
import inspect
import os
import queue
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gcsidecar.cache.watching import inotify as ours

if TYPE_CHECKING:
    from collections.abc import Iterator

theirs: Any = importlib.import_module("watchdog.observers.inotify_c")


class Calls:
    """A callback that notes which method was called with what, and may fail."""

    def __init__(self) -> None:
        self.made: queue.Queue[tuple[str, Any]] = queue.Queue()

    def on_event(self, event: Any) -> None:
        self.made.put(("on_event", event))

    def on_watch_deleted(self, wd: int) -> None:
        self.made.put(("on_watch_deleted", wd))

    def on_queue_overflow(self) -> None:
        self.made.put(("on_queue_overflow", None))


@pytest.fixture
def inotify() -> Iterator[Any]:
    inotify = theirs.InotifyFD()
    inotify.start()
    yield inotify
    inotify.stop()
    inotify.join(1)


def open_descriptors() -> set[int]:
    names = [path.name for path in Path("/proc/self/fd").iterdir()]
    return {int(name) for name in names if Path("/proc/self/fd", name).is_symlink()}  # without that of the listing


def added(inotify: Any, path: Path, callback: Any, identity: int = 1) -> int:
    descriptor: int = inotify.add_callback(os.fsencode(path), ours.MASK, callback, identity)
    return descriptor


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("__init__", ["self"]),
        ("add_callback", ["self", "path", "mask", "callback", "id_"]),
        ("remove_callbacks", ["self", "callbacks"]),
        ("start", ["self"]),
        ("stop", ["self"]),
    ],
)
def test_the_methods_we_call_take_what_we_give(method: str, parameters: list[str]) -> None:
    found = list(inspect.signature(getattr(theirs.InotifyFD, method)).parameters)
    assert found == parameters, f"InotifyFD.{method} takes other arguments now: {found}"


def test_it_calls_no_method_of_a_callback_but_the_three_we_have() -> None:
    called = {name for name in vars(theirs.WatchCallback) if name.startswith("on_")}
    assert called == {"on_event", "on_watch_deleted", "on_queue_overflow"}, (
        f"a callback has other methods now: {sorted(called)}; one that ours lacks ends the event thread"
    )
    for name in called:
        assert inspect.signature(getattr(theirs.WatchCallback, name)).parameters.keys() == (
            inspect.signature(getattr(ours.Instance, name)).parameters.keys()
        ), f"WatchCallback.{name} takes other arguments now"


@pytest.mark.parametrize("name", sorted(name for name in vars(ours) if name.startswith("IN_")))
def test_our_flags_are_the_ones_that_it_knows(name: str) -> None:
    assert getattr(ours, name) == getattr(theirs.InotifyConstants, name)


def test_it_is_a_daemon_thread_that_does_not_run_before_it_is_started() -> None:
    assert issubclass(theirs.InotifyFD, threading.Thread)
    inotify = theirs.InotifyFD()
    assert inotify.daemon, "a thread that is no daemon would hold up the end of the process"
    assert not inotify.is_alive()
    inotify.start()
    assert inotify.is_alive()
    inotify.stop()
    inotify.join(1)
    assert not inotify.is_alive(), "stop() no longer ends the thread at once"


def test_stop_gives_back_every_descriptor_the_ones_we_know_by_name() -> None:
    before = open_descriptors()
    inotify = theirs.InotifyFD()
    opened = open_descriptors() - before
    known = {vars(inotify)[name] for name in ("_inotify_fd", "_kill_r", "_kill_w")}
    assert opened == known, "it opens other descriptors than those that inotify.py closes and sets close-on-exec"
    inotify.start()
    inotify.stop()
    inotify.join(1)
    assert open_descriptors() == before


def test_an_event_has_descriptor_mask_and_name_as_bytes(inotify: Any, tmp_path: Path) -> None:
    calls = Calls()
    descriptor = added(inotify, tmp_path, calls)
    (tmp_path / "new").mkdir()
    method, event = calls.made.get(timeout=1)
    assert (method, event.wd, event.name) == ("on_event", descriptor, b"new")
    assert event.mask & ours.IN_CREATE


def test_a_callback_that_is_registered_twice_gets_the_very_same_event_twice(inotify: Any, tmp_path: Path) -> None:
    calls = Calls()
    assert added(inotify, tmp_path, calls, 1) == added(inotify, tmp_path, calls, 2)
    (tmp_path / "new").mkdir()
    first, second = calls.made.get(timeout=1), calls.made.get(timeout=1)
    assert first[1] is second[1], "on_event tells a repetition by identity"


def test_a_watch_lasts_until_its_last_registration_is_removed(inotify: Any, tmp_path: Path) -> None:
    calls = Calls()
    descriptor = added(inotify, tmp_path, calls, 1)
    added(inotify, tmp_path, calls, 2)
    inotify.remove_callbacks([(descriptor, 1)])
    (tmp_path / "new").mkdir()
    assert calls.made.get(timeout=1)[0] == "on_event"
    inotify.remove_callbacks([(descriptor, 2)])
    (tmp_path / "other").mkdir()
    with pytest.raises(queue.Empty):
        calls.made.get(timeout=0.1)
    inotify.remove_callbacks([(descriptor, 2)])


def test_a_deleted_directory_is_told_by_on_watch_deleted_without_being_asked_for(inotify: Any, tmp_path: Path) -> None:
    calls = Calls()
    (tmp_path / "folder").mkdir()
    descriptor = added(inotify, tmp_path / "folder", calls)
    (tmp_path / "folder").rmdir()
    assert calls.made.get(timeout=1) == ("on_watch_deleted", descriptor)


def test_an_overflow_is_told_once_to_a_callback_that_has_many_watches(inotify: Any, tmp_path: Path) -> None:
    calls = Calls()
    for number in range(3):
        (tmp_path / f"{number}").mkdir()
        added(inotify, tmp_path / f"{number}", calls)
    inotify.handle_event(theirs.InotifyEvent(-1, theirs.InotifyConstants.IN_Q_OVERFLOW, 0, b""))
    assert calls.made.get(timeout=1) == ("on_queue_overflow", None)
    assert calls.made.empty()


def test_it_holds_no_lock_while_it_calls_back(inotify: Any, tmp_path: Path) -> None:
    done = threading.Event()

    class Removing(Calls):
        def on_event(self, event: Any) -> None:
            inotify.remove_callbacks([(event.wd, 1)])
            added(inotify, tmp_path, self, 2)
            done.set()

    added(inotify, tmp_path, Removing())
    (tmp_path / "new").mkdir()
    assert done.wait(1), "a callback that adds or removes is a deadlock now"


def test_no_permission_gives_minus_one_and_no_error_and_can_be_taken_out_again(inotify: Any, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        assert added(inotify, tmp_path / "closed", Calls()) == -1
    finally:
        os.seteuid(before)
    inotify.remove_callbacks([(-1, 1)])
    assert inotify._watch_for_wd == {}


@pytest.mark.parametrize(
    ("name", "number"), [("missing", errno.ENOENT), ("file", errno.ENOTDIR), ("link", errno.ENOTDIR)]
)
def test_other_refusals_are_errors_of_the_system(inotify: Any, tmp_path: Path, name: str, number: int) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match=os.strerror(number)) as refusal:
        added(inotify, tmp_path / name, Calls())
    assert refusal.value.errno == number


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exception_in_a_callback_still_ends_the_thread_and_an_add_still_seems_to_work(
    inotify: Any, tmp_path: Path
) -> None:
    # Should this fail the library has become better: guarding each callback and reviving may not be needed any more.
    class Failing(Calls):
        def on_event(self, event: Any) -> None:
            raise ZeroDivisionError(event)

    added(inotify, tmp_path, Failing())
    (tmp_path / "new").mkdir()
    inotify.join(1)
    assert not inotify.is_alive()
    (tmp_path / "folder").mkdir()
    assert added(inotify, tmp_path / "folder", Calls()) > 0


def test_the_shared_instance_is_still_dead_after_a_stop() -> None:
    shared = theirs.InotifyFD.get_instance()
    shared.stop()
    shared.join(1)
    try:
        assert theirs.InotifyFD.get_instance() is shared
    finally:
        theirs.InotifyFD._instance = None


def test_its_warning_of_an_overflow_is_the_one_that_we_leave_out(
    inotify: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    added(inotify, tmp_path, Calls())
    theirs.logger.removeFilter(ours._is_not_about_overflow)
    inotify.handle_event(theirs.InotifyEvent(-1, theirs.InotifyConstants.IN_Q_OVERFLOW, 0, b""))
    assert [ours._is_not_about_overflow(record) for record in caplog.records] == [False]

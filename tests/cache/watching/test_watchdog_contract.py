"""What gcsidecar/cache/watching/reader.py relies on in watchdog, outside its documented interface.

Where one of these fails after an upgrade, read watchdog/observers/inotify_c.py again and mend reader.py, or bound the
dependency in pyproject.toml; until then the process goes on with watching off.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import inspect
import os
import queue
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gcsidecar.cache.watching import inotify as ours

if TYPE_CHECKING:
    from collections.abc import Iterator

theirs: Any = importlib.import_module("watchdog.observers.inotify_c")


class Raw(theirs.InotifyFD):  # type: ignore[misc]
    """Hands out what is read as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.read: queue.Queue[bytes] = queue.Queue()

    def run(self) -> None:
        while self.should_keep_running():
            self.read.put(self._read_event_buffer(4096))


@pytest.fixture
def inotify() -> Iterator[Raw]:
    inotify = Raw()
    inotify.start()
    yield inotify
    inotify.stop()
    inotify.join(1)


def open_descriptors() -> set[int]:
    names = [path.name for path in Path("/proc/self/fd").iterdir()]
    return {int(name) for name in names if Path("/proc/self/fd", name).is_symlink()}  # without that of the listing


def added(inotify: Raw, path: Path) -> int:
    descriptor: int = theirs.inotify_add_watch(inotify._inotify_fd, os.fsencode(path), ours.MASK)
    return descriptor


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("__init__", ["self"]),
        ("_read_event_buffer", ["self", "event_buffer_size"]),
        ("run", ["self"]),
        ("should_keep_running", ["self"]),
        ("start", ["self"]),
        ("stop", ["self"]),
    ],
)
def test_the_methods_we_call_or_replace_take_what_we_give(method: str, parameters: list[str]) -> None:
    found = list(inspect.signature(getattr(theirs.InotifyFD, method)).parameters)
    assert found == parameters, f"InotifyFD.{method} takes other arguments now: {found}"


@pytest.mark.parametrize("name", sorted(name for name in vars(ours) if name.startswith("IN_")))
def test_our_flags_are_the_ones_that_it_knows(name: str) -> None:
    assert getattr(ours, name) == getattr(theirs.InotifyConstants, name)


def test_it_is_a_daemon_thread_that_does_not_run_before_it_is_started() -> None:
    assert issubclass(theirs.InotifyFD, threading.Thread)
    inotify = Raw()
    assert inotify.daemon, "a thread that is no daemon would hold up the end of the process"
    assert not inotify.is_alive()
    inotify.start()
    assert inotify.is_alive()
    inotify.stop()
    inotify.join(1)
    assert not inotify.is_alive(), "stop() no longer ends the thread at once"


def test_stop_gives_back_every_descriptor_the_ones_we_know_by_name() -> None:
    before = open_descriptors()
    inotify = Raw()
    opened = open_descriptors() - before
    known = {vars(inotify)[name] for name in ("_inotify_fd", "_kill_r", "_kill_w")}
    assert opened == known, "it opens other descriptors than those that reader.py closes and sets close-on-exec"
    inotify.start()
    inotify.stop()
    inotify.join(1)
    assert open_descriptors() == before


def test_stop_while_what_was_read_is_worked_on_gives_them_back_too(tmp_path: Path) -> None:
    before = open_descriptors()
    reached, go_on = threading.Event(), threading.Event()

    class Working(Raw):
        def run(self) -> None:
            self._read_event_buffer(4096)
            reached.set()
            go_on.wait(5)
            assert not self.should_keep_running()
            self.read.put(self._read_event_buffer(4096))

    inotify = Working()
    inotify.start()
    added(inotify, tmp_path)
    (tmp_path / "new").mkdir()
    assert reached.wait(1)
    inotify.stop()
    go_on.set()
    inotify.join(1)
    assert inotify.read.get_nowait() == b"", "it reads from what is closed, or from another file by now"
    assert open_descriptors() == before


def test_what_is_read_is_what_the_kernel_wrote_and_each_event_whole(inotify: Raw, tmp_path: Path) -> None:
    descriptor = added(inotify, tmp_path)
    (tmp_path / "new").mkdir()
    told = inotify.read.get(timeout=1)
    wd, mask, _, length = struct.unpack_from("@iIII", told)
    assert (wd, told[16 : 16 + length].rstrip(b"\0")) == (descriptor, b"new")
    assert mask & ours.IN_CREATE
    assert len(told) == 16 + length


def test_a_watch_of_which_it_has_no_table_entry_lasts_until_it_is_removed(inotify: Raw, tmp_path: Path) -> None:
    descriptor = added(inotify, tmp_path)
    assert added(inotify, tmp_path) == descriptor
    assert theirs.inotify_rm_watch(inotify._inotify_fd, descriptor) == 0
    assert struct.unpack_from("@iI", inotify.read.get(timeout=1)) == (descriptor, ours.IN_IGNORED)
    (tmp_path / "new").mkdir()
    with pytest.raises(queue.Empty):
        inotify.read.get(timeout=0.1)
    assert theirs.inotify_rm_watch(inotify._inotify_fd, descriptor) == -1
    assert inotify.is_alive()


@pytest.mark.parametrize(
    ("name", "number"),
    [("missing", errno.ENOENT), ("file", errno.ENOTDIR), ("link", errno.ENOTDIR), ("closed", errno.EACCES)],
)
def test_a_refusal_gives_minus_one_and_its_reason(inotify: Raw, tmp_path: Path, name: str, number: int) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "closed").mkdir(mode=0)
    before = os.geteuid()
    if before == 0 and name == "closed":
        os.seteuid(65534)
    try:
        assert added(inotify, tmp_path / name) == -1
        assert ctypes.get_errno() == number
    finally:
        os.seteuid(before)

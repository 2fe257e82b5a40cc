"""One inotify instance: what its watch descriptors stand for, and the hints it gives to listeners.

The only module that touches watchdog; which directories are watched, and what if they can't be, is for `watch`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib
import logging
import math
import os
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from gcsidecar.errors import GcsidecarError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from watchdog.observers.inotify_c import CallbackId, InotifyEvent, InotifyFD, Mask, WatchDescriptor

# The kernel's own figures (linux/inotify.h), which never change; watchdog only hands them on.
IN_ATTRIB = 0x00000004  # utime on a lease is a heartbeat, utime on a folder a sign of use
IN_CLOSE_WRITE = 0x00000008  # a heartbeat that writes; IN_MODIFY would tell of every write to every file instead
IN_MOVED_FROM = 0x00000040
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100
IN_DELETE = 0x00000200
IN_MOVE_SELF = 0x00000800  # the watch follows its inode, so its key no longer says where that is
IN_ONLYDIR = 0x01000000
IN_DONT_FOLLOW = 0x02000000
IN_EXCL_UNLINK = 0x04000000  # what happens to files that have no name any more is nobody's lease

_APPEARED = IN_CREATE | IN_MOVED_TO
_VANISHED = IN_DELETE | IN_MOVED_FROM
_MODIFIED = IN_ATTRIB | IN_CLOSE_WRITE
# One mask for roots and folders alike: adding an inode again replaces its mask, so two masks would undo each other.
# No IN_DELETE_SELF: the kernel says unasked when a watch has ended (IN_IGNORED), after an unmount as well.
MASK = _APPEARED | _VANISHED | _MODIFIED | IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK

# What a call that isn't there, takes other arguments or lacks an attribute raises.
INTERFACE_CHANGED = (AttributeError, TypeError, LookupError)

_DESCRIPTORS = ("_inotify_fd", "_kill_r", "_kill_w")
_LOG_EVERY_SECONDS = 60.0
_SPARE = Path(os.devnull)

_T = TypeVar("_T")
_R = TypeVar("_R")


class WatchingUnavailableError(GcsidecarError):
    """watchdog's inotify layer can't be used: directories are not watched."""


class ChangeKind(StrEnum):
    """What a hint is about."""

    APPEARED = "appeared"
    VANISHED = "vanished"
    MODIFIED = "modified"
    GONE = "gone"  # the watched directory itself was moved, deleted or unmounted
    OVERFLOW = "overflow"  # hints were lost, in any directory


@dataclass(frozen=True, slots=True)
class Change:
    """A hint.

    Attributes:
        directory: The key under which the directory was added; none for `OVERFLOW`, which is about all of them.
        name: The entry that changed, as `os.fsdecode` gives it; '' for the directory itself.
        kind: What happened.
    """

    directory: Hashable
    name: str
    kind: ChangeKind


class Watch:
    """One key's watch: packed, since there may be 100,000. A `descriptor` below 0 says that it is not in force."""

    __slots__ = ("descriptor", "interesting", "key", "listener", "path")

    def __init__(
        self,
        path: bytes,
        key: Hashable,
        listener: Callable[[Change], None],
        interesting: Callable[[str], bool] | None,
    ) -> None:
        self.path = path
        self.key = key
        self.listener = listener
        self.interesting = interesting
        self.descriptor = -1


def independent_inotify() -> InotifyFD:
    """Make an inotify instance of our own, not started.

    `InotifyFD.get_instance()` is shared with others, who may stop it, and gives the stopped one ever after.

    Raises:
        WatchingUnavailableError: watchdog's layer is missing, or its libc is unfit.
        OSError: The kernel gives no instance, or there are no descriptors left.
    """
    try:
        factory = importlib.import_module("watchdog.observers.inotify_c").InotifyFD
    except Exception as error:  # whatever importing a foreign module raises
        raise WatchingUnavailableError(f"watchdog's inotify layer can't be used: {error!r}") from error
    logging.getLogger("watchdog.observers.inotify_c").addFilter(_is_not_about_overflow)
    with _SPARE.open("rb"), _SPARE.open("rb"), _SPARE.open("rb"):
        pass  # with fewer than three descriptors left it would fail half-way, and leak the first one for good
    inotify = cast("InotifyFD", factory())
    # It is made without IN_CLOEXEC: a program that we start would inherit it.
    fcntl.fcntl(vars(inotify)["_inotify_fd"], fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    return inotify


def _is_not_about_overflow(record: logging.LogRecord) -> bool:
    # watchdog warns of each; `Voice` says it once a minute, with the remedy.
    return "queue overflow" not in record.msg


class Voice:
    """Calls the listeners and outlives what they raise, which would end watchdog's thread with nobody noticing."""

    def __init__(self, log: logging.Logger) -> None:
        self.failures = 0
        self.overflows = 0
        self._logger = log
        self._failure_said_at = self._overflow_said_at = -math.inf

    def pass_on(self, watch: Watch, name: str, kind: ChangeKind) -> None:
        """Tell of one change, unless its name is of no interest."""
        if not name or watch.interesting is None or self._call(watch.interesting, name):
            self._call(watch.listener, Change(watch.key, name, kind))

    def tell_overflow(self, watches: Iterable[Watch]) -> None:
        """Tell each listener once that hints were lost."""
        for listener in {watch.listener for watch in watches}:
            self._call(listener, Change(None, "", ChangeKind.OVERFLOW))

    def overflowed(self) -> None:
        """Count an overflow, and say so once a minute at most."""
        self.overflows += 1
        if (now := time.monotonic()) - self._overflow_said_at >= _LOG_EVERY_SECONDS:
            self._overflow_said_at = now
            self._logger.warning(
                "the kernel dropped hints of changes, all folders are looked at again; %d times so far; where this "
                "comes often raise fs.inotify.max_queued_events",
                self.overflows,
            )

    def _call(self, function: Callable[[_T], _R], argument: _T) -> _R | None:
        try:
            return function(argument)
        except Exception:  # the thread's edge
            self.failures += 1
            # One that fails does so at each event: 10,000 tracebacks a second would fill the very disk that is guarded.
            if (now := time.monotonic()) - self._failure_said_at >= _LOG_EVERY_SECONDS:
                self._failure_said_at = now
                self._logger.exception("a listener for changes failed, %d times so far; this is a bug", self.failures)
            return None


class Instance:
    """One inotify instance with its thread, and the one callback object of all its watches.

    Lock order: the watcher's lock, then watchdog's, which holds none while it calls back. So a listener may add and
    remove. `watches` are the watcher's own, by key, guarded by its lock.
    """

    def __init__(self, inotify: InotifyFD, lock: threading.Lock, watches: dict[Hashable, Watch], voice: Voice) -> None:
        self._inotify = inotify
        self._lock = lock
        self._watches = watches
        self._voice = voice
        # Several for one descriptor: a directory renamed, and added under its new name before the old one is removed.
        self._table: dict[int, tuple[Watch, ...]] = {}
        self._last_event: InotifyEvent | None = None
        self._closed = False
        self._start()

    def _start(self) -> None:
        self._inotify.name = "gcsidecar-watch"
        try:
            self._inotify.start()
        except RuntimeError as error:
            # Nobody but its thread closes these, and it has none.
            for name in _DESCRIPTORS:
                os.close(vars(self._inotify)[name])
            raise OSError(errno.EAGAIN, "no thread can be started") from error

    @property
    def alive(self) -> bool:
        """Whether its thread lives; where it doesn't, adding still seems to work."""
        return self._inotify.is_alive()

    def place(self, watch: Watch) -> None:
        """Put a watch in force; with the lock held.

        Raises:
            OSError: The kernel refuses.
        """
        identity = cast("CallbackId", id(watch))
        descriptor = self._inotify.add_callback(watch.path, cast("Mask", MASK), self, identity)
        if descriptor < 0:
            # watchdog passes over EACCES, and has the failure in its table as if it were a watch.
            self._inotify.remove_callbacks([(descriptor, identity)])
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), watch.path)
        watch.descriptor = descriptor
        self._table[descriptor] = (*self._table.get(descriptor, ()), watch)

    def take_off(self, watch: Watch) -> None:
        """End a watch; with the lock held. The kernel's ends with the last one that shares its descriptor."""
        descriptor, watch.descriptor = watch.descriptor, -1
        if descriptor < 0:
            return
        others = tuple(other for other in self._table.pop(descriptor, ()) if other is not watch)
        if others:
            self._table[descriptor] = others
        # An error says that the kernel's watch has ended already.
        with contextlib.suppress(OSError):
            self._inotify.remove_callbacks([(cast("WatchDescriptor", descriptor), cast("CallbackId", id(watch)))])

    def close(self) -> None:
        """End it, without waiting for its thread."""
        self._closed = True
        self._table.clear()
        with contextlib.suppress(OSError, *INTERFACE_CHANGED):
            self._inotify.stop()

    def join(self, timeout_seconds: float) -> None:
        """Wait for its thread, unless this is it."""
        if threading.current_thread() is not self._inotify:
            self._inotify.join(timeout_seconds)

    def on_event(self, event: InotifyEvent) -> None:
        """Pass an event on. watchdog calls this once for each watch that shares the descriptor, with the same event."""
        if event is self._last_event:
            return
        self._last_event = event
        kind = _kind(event.mask)
        if kind is None:
            return
        name = os.fsdecode(event.name)
        for watch in self._table.get(event.wd) or self._look_again(event.wd):
            if watch.descriptor >= 0:
                self._voice.pass_on(watch, name, kind)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """Forget a directory that is gone; watchdog calls this for each watch too, and for all when it is closed."""
        if self._closed:
            return
        with self._lock:
            gone = self._table.pop(wd, ())
            for watch in gone:
                watch.descriptor = -1
                self._watches.pop(watch.key, None)
        for watch in gone:
            self._voice.pass_on(watch, "", ChangeKind.GONE)

    def on_queue_overflow(self) -> None:
        """Tell that the kernel has dropped events, of any directory; watchdog calls this."""
        self._voice.overflowed()
        self._voice.tell_overflow(list(self._watches.values()))

    def _look_again(self, descriptor: int) -> tuple[Watch, ...]:
        # An event can come before `place` has written down what its descriptor stands for.
        with self._lock:
            return self._table.get(descriptor, ())


def _kind(mask: int) -> ChangeKind | None:
    """What an event says; none for what comes unasked, such as IN_UNMOUNT, after which the watch ends anyway."""
    if mask & _APPEARED:
        return ChangeKind.APPEARED
    if mask & _VANISHED:
        return ChangeKind.VANISHED
    if mask & _MODIFIED:
        return ChangeKind.MODIFIED
    return ChangeKind.GONE if mask & IN_MOVE_SELF else None

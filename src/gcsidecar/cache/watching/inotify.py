"""One inotify instance: what its watch descriptors stand for, and the hints it gives to listeners.

Which directories are watched, and what if they can't be, is for `watcher`.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import math
import os
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, cast

from gcsidecar.cache.watching.watches import NOT_IN_FORCE, OVERFLOW, Change, ChangeKind
from gcsidecar.errors import GcsidecarError

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable

    from gcsidecar.cache.watching.reader import Reader
    from gcsidecar.cache.watching.watches import Watches

# The kernel's own figures (linux/inotify.h), which never change.
IN_ATTRIB = 0x00000004  # utime on a lease is a heartbeat, utime on a folder a sign of use
IN_CLOSE_WRITE = 0x00000008  # a heartbeat that writes; IN_MODIFY would tell of every write to every file instead
IN_MOVED_FROM = 0x00000040
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100
IN_DELETE = 0x00000200
IN_MOVE_SELF = 0x00000800  # the watch follows its inode, so its name no longer says where that is
IN_Q_OVERFLOW = 0x00004000
IN_IGNORED = 0x00008000  # the watch has ended, of itself or since it was removed
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

_HEAD = struct.Struct("@iIII")  # wd, mask, cookie, and how long the name is that follows
_LOG_EVERY_SECONDS = 60.0
# More than comes of one directory within a moment; where adding hangs no more is kept.
MOST_EARLY = 1000


class WatchingUnavailableError(GcsidecarError):
    """watchdog's inotify layer can't be used: directories are not watched."""


def new_reader() -> Reader:
    """Make an inotify instance of our own, not started.

    Raises:
        WatchingUnavailableError: watchdog's layer is missing, or its libc is unfit.
        OSError: The kernel gives no instance, or there are no descriptors left.
    """
    try:
        factory = importlib.import_module("gcsidecar.cache.watching.reader").Reader
    except Exception as error:  # whatever importing a foreign module raises
        raise WatchingUnavailableError(f"watchdog's inotify layer can't be used: {error!r}") from error
    return cast("Reader", factory())


class Voice:
    """Calls the listeners and outlives what they raise, which would end the reading thread with nobody noticing."""

    def __init__(self, log: logging.Logger) -> None:
        self.failures = 0
        self.overflows = 0
        self._logger = log
        self._failure_said_at = self._overflow_said_at = -math.inf

    def pass_on(self, watches: Watches, directory: str, name: bytes, kind: ChangeKind) -> None:
        """Tell of one change, unless its name is of no interest."""
        try:
            if name and directory and directory[-1] != "/":
                interesting = watches.interesting
                if interesting is not None and not interesting(name):
                    return
            watches.listener(Change(directory, os.fsdecode(name), kind))
        except Exception as error:  # noqa: BLE001  the thread's edge; it is logged there
            self._failed(error)

    def tell_overflow(self, everybody: Iterable[Watches]) -> None:
        """Tell each listener once that hints were lost."""
        for listener in {watches.listener for watches in everybody}:
            try:
                listener(OVERFLOW)
            except Exception as error:  # noqa: BLE001  the same
                self._failed(error)

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

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        # One that fails does so at each event: 10,000 tracebacks a second would fill the very disk that is guarded.
        if (now := time.monotonic()) - self._failure_said_at >= _LOG_EVERY_SECONDS:
            self._failure_said_at = now
            problem = "a listener for changes failed, %d times so far; this is a bug"
            self._logger.error(problem, self.failures, exc_info=error)


class _Event(NamedTuple):
    """Something that was read: in which directory, of which name, what; none for the end of its watch."""

    descriptor: int
    name: bytes
    kind: ChangeKind | None


class Instance:
    """One inotify instance with its thread.

    Its thread holds no lock while it tells a listener, which may add and remove.

    Args:
        reader: Not started.
        lock: The watcher's.
        everybody: Gives the watches of all listeners.
        voice: Tells them.

    Raises:
        OSError: No thread can be started.
    """

    def __init__(
        self, reader: Reader, lock: threading.Lock, everybody: Callable[[], tuple[Watches, ...]], voice: Voice
    ) -> None:
        self._reader = reader
        self._lock = lock
        self._everybody = everybody
        self._voice = voice
        self._closed = False
        self._adding = 0
        # What is told of a directory before `place` has written down what its descriptor stands for.
        self._early: deque[_Event] = deque(maxlen=MOST_EARLY)
        reader.hear = self.hear
        try:
            reader.start()
        except RuntimeError as error:
            reader.close_unstarted()
            raise OSError(errno.EAGAIN, "no thread can be started") from error

    @property
    def alive(self) -> bool:
        """Whether its thread lives; where it doesn't, adding still seems to work."""
        return self._reader.is_alive()

    def place(self, watches: Watches, name: str, *, again: bool = False) -> None:
        """Put a watch in force, instead of the one that the name has; `again` only where it is still wanted then.

        On a mount that hangs the kernel doesn't come back from this, so no lock is held meanwhile.

        Raises:
            OSError: The kernel refuses.
        """
        with self._lock:
            self._adding += 1
        descriptor = NOT_IN_FORCE
        try:
            descriptor = self._reader.add(watches.path_of(name), MASK)
        finally:
            with self._lock:
                self._adding -= 1
                if descriptor != NOT_IN_FORCE:
                    self._enter(watches, name, descriptor, again=again)
                early = [event for event in self._early if event.descriptor == descriptor]
                if not self._adding:
                    self._early.clear()
        for event in early:
            self._pass_on(event)

    def _enter(self, watches: Watches, name: str, descriptor: int, *, again: bool) -> None:
        """Write down what a descriptor stands for; with the lock held."""
        ended = self._closed or watches not in self._everybody()
        if ended or (again and watches.descriptor_of(name) is None):  # nobody wants it any more
            self._let_go(descriptor)
        else:
            # The old one goes after the new one has come: a directory that is added again misses nothing in between.
            self._let_go(watches.put(name, descriptor))

    def take_off(self, watches: Watches, name: str) -> None:
        """End a watch; with the lock held. The kernel's ends with the last one that shares its descriptor."""
        self._let_go(watches.take(name))

    def _let_go(self, descriptor: int) -> None:
        if descriptor != NOT_IN_FORCE and not self._meant(descriptor):
            self._reader.remove(descriptor)

    def close(self) -> None:
        """End it, without waiting for its thread."""
        self._closed = True
        with contextlib.suppress(OSError, *INTERFACE_CHANGED):
            self._reader.stop()

    def join(self, timeout_seconds: float) -> None:
        """Wait for its thread, unless this is it."""
        if threading.current_thread() is not self._reader:
            self._reader.join(timeout_seconds)

    def hear(self, told: bytes) -> None:
        """Pass on what was read."""
        at, end = 0, len(told)
        while at < end and not self._closed:
            descriptor, mask, _, length = _HEAD.unpack_from(told, at)
            at += _HEAD.size + length
            if mask & IN_Q_OVERFLOW:
                self._overflowed()
            elif mask & IN_IGNORED:
                self._pass_on(_Event(descriptor, b"", None))
            elif (kind := _kind(mask)) is not None:
                self._pass_on(_Event(descriptor, told[at - length : at].rstrip(b"\0"), kind))

    def _pass_on(self, event: _Event) -> None:
        descriptor, name, kind = event
        for watches, directories in self._known(event):
            if kind is None:  # the directory is gone, and forgotten
                for directory in watches.take_all(descriptor):
                    self._voice.pass_on(watches, directory, b"", ChangeKind.GONE)
                continue
            for directory in directories:
                # A listener that was just told of it may have removed another name of the same directory.
                if len(directories) == 1 or watches.descriptor_of(directory) == descriptor:
                    self._voice.pass_on(watches, directory, name, kind)

    def _known(self, event: _Event) -> list[tuple[Watches, tuple[str, ...]]]:
        """What the descriptor of an event stands for; where that may be written down in a moment, it waits for that."""
        found = self._meant(event.descriptor)
        if found or not self._adding:
            return found
        with self._lock:
            found = self._meant(event.descriptor)
            if not found and self._adding:
                self._early.append(event)
        return found

    def _meant(self, descriptor: int) -> list[tuple[Watches, tuple[str, ...]]]:
        """What a descriptor stands for; nothing where we have ended the watch.

        No lock: who ends 100,000 watches would hold up the reading of what the kernel says of each.
        """
        return [(watches, names) for watches in self._everybody() if (names := watches.names_of(descriptor))]

    def _overflowed(self) -> None:
        self._voice.overflowed()
        self._voice.tell_overflow(self._everybody())


def _kind(mask: int) -> ChangeKind | None:
    """What an event says; none for what comes unasked, such as IN_UNMOUNT, after which the watch ends anyway."""
    if mask & _APPEARED:
        return ChangeKind.APPEARED
    if mask & _VANISHED:
        return ChangeKind.VANISHED
    if mask & _MODIFIED:
        return ChangeKind.MODIFIED
    return ChangeKind.GONE if mask & IN_MOVE_SELF else None

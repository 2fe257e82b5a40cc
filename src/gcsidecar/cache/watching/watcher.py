"""Which directories are watched for hints that something changed, and what happens where they can't be.

A hint makes things quick and nothing more: scanning is the truth, so a lost hint, or no watch at all, costs time only.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from enum import StrEnum
from typing import TYPE_CHECKING

from gcsidecar.cache.watching.inotify import (
    INTERFACE_CHANGED,
    Change,
    ChangeKind,
    Instance,
    Voice,
    Watch,
    WatchingUnavailableError,
    independent_inotify,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from watchdog.observers.inotify_c import InotifyFD

__all__ = ["Change", "ChangeKind", "WatchState", "Watcher", "WatchingUnavailableError"]

# No directory of that name: there is nothing to watch, and nothing wrong.
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ESTALE})
# Out of watches, of instances or descriptors, of memory.
_LIMITS = frozenset({errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM})

_MOST_RESTARTS = 10
_CLOSE_WITHIN_SECONDS = 1.0

_log = logging.getLogger("gcsidecar.watch")


class WatchState(StrEnum):
    """How well watching works; in each of the states everything else goes on by reconciling."""

    OK = "ok"
    DEGRADED = "degraded"  # out of watches or instances: some folders are not watched
    OFF = "off"  # watchdog is not what it was, or the watcher was closed: no folder is watched


class Watcher:
    """Shallow watches on directories, one event thread for all of them; one for the whole process, thread-safe.

    A listener runs in the event thread (where `check` tells of an overflow, in its caller's). While it runs nobody else
    hears anything, so it should only take a note. It may call any method here. What it raises is logged and counted. It
    is hashable, as functions and methods are; equal ones are told of an overflow once.

    A watch follows its directory when that is renamed. So a directory may be watched under its old and its new key at
    the same time; each hears everything until it is removed.

    Attributes:
        restarts: How often the event thread had died and was made anew.
    """

    def __init__(
        self, *, make_inotify: Callable[[], InotifyFD] = independent_inotify, log: logging.Logger = _log
    ) -> None:
        self.restarts = 0
        self._make_inotify = make_inotify
        self._logger = log
        self._voice = Voice(log)
        self._lock = threading.Lock()
        self._watches: dict[Hashable, Watch] = {}
        self._limited: set[Hashable] = set()
        self._denied: set[Hashable] = set()
        self._instance: Instance | None = None
        self._no_instance = False
        self._off = False
        self._limit_was_said = False

    def add(
        self,
        path: bytes | str,
        key: Hashable,
        listener: Callable[[Change], None],
        *,
        interesting: Callable[[str], bool] | None = None,
    ) -> bool:
        """Watch the entries of one directory; scan it after this, not before, and nothing is missed.

        A key that is there already is replaced. Adding again is cheap, and right after `GONE` and `OVERFLOW`, when
        another directory may have that name.

        Args:
            path: The directory, a symlink is none; `check` may need it later, so nothing in `/proc/self/fd`.
            key: What the directory is called in each `Change`.
            listener: Called for each change.
            interesting: Asked for each name first; where it says no, nothing else is done.

        Returns:
            Whether it is watched now. Where it is not there the key is forgotten. Where the kernel refuses it counts in
            `refused` until it is removed, or added with success: try again at the next reconcile.
        """
        return self._put(Watch(os.fsencode(path), key, listener, interesting))

    def remove(self, key: Hashable) -> None:
        """Watch a directory no longer; nothing happens where it is not watched.

        Afterwards no call of its listener for this key begins, save one that the event thread was just about to make:
        a listener must bear one late hint. (To wait for it here would be a deadlock for whoever holds its lock.)
        """
        with self._lock:
            self._drop(key)

    def check(self) -> bool:
        """See whether hints still come; to be called now and then.

        Where the event thread has died it is made anew, all directories are added again, and every listener is told
        `OVERFLOW`, since hints may have been lost.

        Returns:
            Whether hints come, for as many directories as are watched.
        """
        with self._lock:
            if self._is_fine():
                return True
            if not self._off:
                self._revive()
            if self._instance is None:
                return False
            watches = list(self._watches.values())
        for watch in watches:
            self._put(watch, again=True)
        self._voice.tell_overflow(watches)
        return True

    def close(self) -> None:
        """End the event thread, within a second; nothing is watched from then on."""
        with self._lock:
            instance = self._end()
        if instance is not None:
            instance.join(_CLOSE_WITHIN_SECONDS)

    @property
    def state(self) -> WatchState:
        """How well it works now."""
        if self._off:
            return WatchState.OFF
        instance = self._instance
        died = instance is not None and not instance.alive
        return WatchState.DEGRADED if died or self._limited else WatchState.OK

    # These take no lock: a scrape must not wait for anything.

    @property
    def watches(self) -> int:
        """The number of keys that are watched now."""
        return max(0, len(self._watches) - self.refused)

    @property
    def refused(self) -> int:
        """The number of keys that should be watched and are not: out of watches, or no permission."""
        return len(self._limited) + len(self._denied)

    @property
    def overflows(self) -> int:
        """How often the kernel's queue was full, so that hints were lost."""
        return self._voice.overflows

    @property
    def failures(self) -> int:
        """How often a listener raised."""
        return self._voice.failures

    def _put(self, watch: Watch, *, again: bool = False) -> bool:
        # Before the lock is taken: a dead network mount hangs its own caller here, and not all the others below.
        trouble = _why_unreadable(watch.path)
        with self._lock:
            if self._off or (again and self._watches.get(watch.key) is not watch):
                return False
            trouble = trouble or self._place(watch)
            if not self._off:
                self._keep(watch, trouble)
            return trouble == 0

    def _place(self, watch: Watch) -> int:
        """Put it in force; the errno of what is in the way, or 0."""
        if self._instance is None and not self._no_instance:
            self._open()
        if self._instance is None:
            return errno.EMFILE
        try:
            self._instance.place(watch)
        except OSError as error:
            return error.errno or errno.EIO
        except INTERFACE_CHANGED as error:
            self._turn_off(error)
            return errno.ENOSYS
        return 0

    def _keep(self, watch: Watch, trouble: int) -> None:
        # The old one goes after the new one has come: a directory that is added again misses nothing in between.
        self._drop(watch.key, unless=watch)
        if trouble in _NOT_THERE:
            return
        self._watches[watch.key] = watch
        if trouble in _LIMITS:
            self._limited.add(watch.key)
            self._say_limit(os.strerror(trouble))
        elif trouble:
            self._denied.add(watch.key)

    def _drop(self, key: Hashable, *, unless: Watch | None = None) -> None:
        self._limited.discard(key)
        self._denied.discard(key)
        watch = self._watches.pop(key, None)
        if watch is not None and watch is not unless and self._instance is not None:
            self._instance.take_off(watch)

    def _is_fine(self) -> bool:
        if self._instance is None and not self._watches:
            self._no_instance = False
            return not self._off
        return self._instance is not None and self._instance.alive

    def _open(self) -> None:
        try:
            self._instance = Instance(self._make_inotify(), self._lock, self._watches, self._voice)
            self._no_instance = False
        except OSError as error:
            # Not tried again before the next `check`: each of 100,000 folders would.
            self._no_instance = True
            self._say_limit(error.strerror or str(error))
        except (WatchingUnavailableError, *INTERFACE_CHANGED) as error:
            self._turn_off(error)

    def _revive(self) -> None:
        died, self._instance = self._instance, None
        if died is not None:
            died.close()
            self.restarts += 1
            self._logger.warning(
                "the thread that hears of changes had died, %d times so far; it is made anew", self.restarts
            )
        for watch in self._watches.values():
            watch.descriptor = -1
        self._denied.clear()
        self._limited.update(self._watches)
        if self.restarts > _MOST_RESTARTS:
            self._turn_off(WatchingUnavailableError("watchdog's thread dies again and again"))
        else:
            self._open()

    def _turn_off(self, error: Exception) -> None:
        self._end()
        self._logger.warning(
            "no folder is watched, changes are only seen by reconciling: %r; install a release of watchdog that "
            "gcsidecar's dependencies allow",
            error,
        )

    def _end(self) -> Instance | None:
        instance, self._instance, self._off = self._instance, None, True
        if instance is not None:
            instance.close()
        for gathered in (self._watches, self._limited, self._denied):
            gathered.clear()
        return instance

    def _say_limit(self, reason: str) -> None:
        if self._limit_was_said:
            return
        self._limit_was_said = True
        self._logger.warning(
            "some folders are not watched, their changes are only seen by reconciling: %s; raise the sysctl "
            "fs.inotify.max_user_watches (each folder takes one), fs.inotify.max_user_instances, or the limit of open "
            "files; this is said once, the metrics show how long it lasts",
            reason,
        )


def _why_unreadable(path: bytes) -> int:
    """What is in the way of watching a directory as far as opening it can tell: an errno, or 0."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
    except OSError as error:
        return error.errno or errno.EIO
    return 0

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

from gcsidecar.cache.watching.inotify import INTERFACE_CHANGED, Instance, Voice, WatchingUnavailableError, new_reader
from gcsidecar.cache.watching.watches import Change, ChangeKind, Watches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsidecar.cache.watching.reader import Reader

__all__ = ["Change", "ChangeKind", "WatchState", "Watcher", "Watches", "WatchingUnavailableError"]

# No directory of that name: there is nothing to watch, and nothing wrong.
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ESTALE})
# Out of watches, of instances or descriptors, of memory.
_LIMITS = frozenset({errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM})

_MOST_RESTARTS = 10
_CLOSE_WITHIN_SECONDS = 1.0
# After so many directories that are tried again others have a turn.
_CHUNK = 64

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

    A watch follows its directory when that is renamed. So a directory may be watched under its old and its new name at
    the same time; each is told of everything until it is removed.

    Attributes:
        restarts: How often the event thread had died and was made anew.
    """

    def __init__(self, *, make_reader: Callable[[], Reader] = new_reader, log: logging.Logger = _log) -> None:
        self.restarts = 0
        self._make_reader = make_reader
        self._logger = log
        self._voice = Voice(log)
        self._lock = threading.Lock()
        self._everybody: tuple[Watches, ...] = ()
        self._instance: Instance | None = None
        self._no_instance = False
        self._off = False
        self._limit_was_said = False

    def listen(
        self,
        path: bytes | str,
        listener: Callable[[Change], None],
        interesting: Callable[[bytes], object] | None = None,
    ) -> Watches:
        """Begin to hear of directories at and below a path, none of which is watched yet.

        Args:
            path: The directory that their names are relative to; nothing in `/proc/self/fd`, since `check` needs it.
            listener: Called for each change.
            interesting: Asked for each name in a directory first, unless all of its entries are of interest (`Watches`
                says which ones' are); where it says no, nothing else is done.
        """
        watches = Watches(path, listener, interesting)
        with self._lock:
            self._everybody = (*self._everybody, watches)
        return watches

    def end(self, watches: Watches) -> None:
        """Hear no more; nothing is added any longer."""
        with self._lock:
            others = tuple(other for other in self._everybody if other is not watches)
            if others or self._instance is None:
                for name in watches.names():
                    self._drop(watches, name)
            else:
                # It ends faster as a whole: by one call for each of 100,000 directories that took a second.
                instance, self._instance = self._instance, None
                instance.close()
                watches.clear()
            self._everybody = others

    def add(self, watches: Watches, name: str) -> bool:
        """Watch the entries of one directory; scan it after this, not before, and nothing is missed.

        One that is there already is replaced. Adding again is cheap, and right after `GONE` and `OVERFLOW`, when
        another directory may have that name. A symlink is no directory.

        Returns:
            Whether it is watched now. Where it is not there the name is forgotten. Where the kernel refuses it counts
            in `refused` until it is removed, or added with success: `try_again` at the next reconcile.
        """
        return self._put(watches, name)

    def remove(self, watches: Watches, name: str) -> None:
        """Watch a directory no longer; nothing happens where it is not watched.

        Afterwards its listener is not called for it any more, save once by the event thread if that was just about to:
        a listener must bear one late hint. (To wait for it here would be a deadlock for whoever holds its lock.)
        """
        if watches.descriptor_of(name) is None:
            return
        with self._lock:
            self._drop(watches, name)

    def try_again(self, watches: Watches) -> Iterator[None]:
        """Watch what was refused so far: there may be watches again, or permission. Others have a turn now and then."""
        for number, (name, limited) in enumerate(watches.refusals(), 1):
            # Where there is no watch for one of them there is none for the next.
            if not self._put(watches, name, again=True) and limited and watches.descriptor_of(name) is not None:
                return
            if number % _CHUNK == 0:
                yield

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
            everybody = self._everybody
        for watches in everybody:
            for name in watches.names():
                self._put(watches, name, again=True)
        self._voice.tell_overflow(everybody)
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
        limited = any(watches.limited for watches in self._everybody)
        return WatchState.DEGRADED if died or limited else WatchState.OK

    # These take no lock: a scrape must not wait for anything.

    @property
    def watches(self) -> int:
        """The number of directories that are watched now."""
        return sum(watches.in_force for watches in self._everybody)

    @property
    def refused(self) -> int:
        """The number of directories that should be watched and are not: out of watches, or no permission."""
        return sum(watches.refused for watches in self._everybody)

    @property
    def overflows(self) -> int:
        """How often the kernel's queue was full, so that hints were lost."""
        return self._voice.overflows

    @property
    def failures(self) -> int:
        """How often a listener raised."""
        return self._voice.failures

    def _put(self, watches: Watches, name: str, *, again: bool = False) -> bool:
        # Without the lock: a dead network mount hangs its own caller here, and not all the others below.
        trouble = _why_unreadable(watches.path_of(name))
        with self._lock:
            if self._off or watches not in self._everybody or (again and watches.descriptor_of(name) is None):
                return False
            if self._instance is None and not self._no_instance:
                self._open()
            instance = self._instance
        trouble = trouble or self._place(instance, watches, name, again=again)
        if trouble:
            with self._lock:
                if not self._off:
                    self._refuse(watches, name, trouble)
        return trouble == 0

    def _place(self, instance: Instance | None, watches: Watches, name: str, *, again: bool) -> int:
        """Put it in force, without the lock; the errno of what is in the way, or 0."""
        if instance is None:
            return errno.EMFILE
        try:
            instance.place(watches, name, again=again)
        except OSError as error:
            return error.errno or errno.EIO
        except INTERFACE_CHANGED as error:
            with self._lock:
                self._turn_off(error)
            return errno.ENOSYS
        return 0

    def _refuse(self, watches: Watches, name: str, trouble: int) -> None:
        self._drop(watches, name)
        if trouble in _NOT_THERE:
            return
        limited = trouble in _LIMITS
        watches.refuse(name, limited=limited)
        if limited:
            self._say_limit(os.strerror(trouble))

    def _drop(self, watches: Watches, name: str) -> None:
        if self._instance is not None:
            self._instance.take_off(watches, name)
        else:
            watches.take(name)

    def _is_fine(self) -> bool:
        if self._instance is None and not any(watches.names() for watches in self._everybody):
            self._no_instance = False
            return not self._off
        return self._instance is not None and self._instance.alive

    def _open(self) -> None:
        try:
            self._instance = Instance(self._make_reader(), self._lock, lambda: self._everybody, self._voice)
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
        for watches in self._everybody:
            watches.lapse()
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
        for watches in self._everybody:
            watches.clear()
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

"""What can be disposed of, and who keeps track of it.

Counterpart of `disposable.go` and `auxiliary.go` in taskcluster-worker's `runtime/gc`.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from gcsidecar.gc.clock import SYSTEM_CLOCK, Clock
from gcsidecar.gc.errors import DisposableInUseError, DisposableSizeNotSupportedError, NotAcquiredError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsidecar.gc.planning import Candidate


class Disposable(Protocol):
    """Something that takes memory or disk space and can be made again, so that it may be disposed of.

    An `inode_count() -> int` may be given, too; without it the number of inodes counts as unknown.
    All methods may be called from any thread, at any time.
    """

    def memory_size(self) -> int:
        """The memory that disposing gives back, in bytes.

        Raises:
            DisposableSizeNotSupportedError: It is an unknown, non-trivial amount.
        """

    def disk_size(self) -> int:
        """The disk space that disposing gives back, in bytes.

        Raises:
            DisposableSizeNotSupportedError: It is an unknown, non-trivial amount.
        """

    def last_used(self) -> float:
        """When it was last used, in POSIX seconds."""

    def dispose(self) -> None:
        """Free what it holds; it isn't used again afterwards.

        Raises:
            DisposableInUseError: It is in use, and was left untouched.
        """


@runtime_checkable
class RankedDisposable(Disposable, Protocol):
    """A Disposable that describes itself to the planner: with a group, a priority, reasons to be kept.

    A `look(now: float) -> Candidate | None` may be given, too. It is called once, right before it is to go, and says
    what is known of it now, or none where that is what it was planned with: it may go after others then, or stay, or
    be worth more or less. All that is scarce waits for it, so it has to be quick.
    """

    def candidate(self, now: float) -> Candidate:
        """What the planner is to know about it at `now` (POSIX seconds)."""


class ResourceTracker(Protocol):
    """The side of a collector for those who have resources but may not start a collection."""

    def register(self, disposable: Disposable) -> None:
        """Track `disposable`; once more changes nothing."""

    def unregister(self, disposable: Disposable) -> bool:
        """Track it no longer; False where it isn't tracked, say since it was disposed of meanwhile."""


class DisposableResource:
    """Counts references to a resource, thread-safe; a base class for Disposables.

    A subclass implements `dispose`, calls `can_dispose` first in it, and overrides the sizes it knows. What happens
    between that check and the disposal is the subclass's to guard, as only it knows how it is handed out.

    Args:
        clock: Where `last_used` comes from.
    """

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._references = 0
        self._last_used = clock.time()

    def acquire(self) -> None:
        """Count one more user; never waits for a collection."""
        with self._lock:
            self._references += 1

    def release(self) -> None:
        """Count one user less; this is the moment of last use.

        Raises:
            NotAcquiredError: There is no user to be released.
        """
        with self._lock:
            if self._references == 0:
                raise NotAcquiredError("release() without acquire(); release each acquire() once")
            self._references -= 1
            self._last_used = self._clock.time()

    @contextmanager
    def acquired(self) -> Iterator[Self]:
        """Be a user for the length of a `with` block."""
        self.acquire()
        try:
            yield self
        finally:
            self.release()

    def can_dispose(self) -> None:
        """Do nothing if nobody uses it.

        Raises:
            DisposableInUseError: Somebody does.
        """
        with self._lock:
            references = self._references
        if references:
            raise DisposableInUseError(f"{references} users have not released it yet")

    def last_used(self) -> float:
        """When it was last released, or else made; POSIX seconds."""
        with self._lock:
            return self._last_used

    def memory_size(self) -> int:
        """Unknown, unless a subclass says better.

        Raises:
            DisposableSizeNotSupportedError: Always.
        """
        raise DisposableSizeNotSupportedError("memory_size() is not known; override it where it is")

    def disk_size(self) -> int:
        """Unknown, unless a subclass says better.

        Raises:
            DisposableSizeNotSupportedError: Always.
        """
        raise DisposableSizeNotSupportedError("disk_size() is not known; override it where it is")

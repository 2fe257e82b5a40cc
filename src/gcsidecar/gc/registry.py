"""Who is registered or belongs to a source, who is being disposed of right now, and who failed and is left alone.

Its lock is held for moments only, never during a disposal: so nobody who registers or unregisters waits for one.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeGuard

from gcsidecar.gc.backoff import Backoff
from gcsidecar.gc.errors import DisposableInUseError, DisposableSizeNotSupportedError
from gcsidecar.gc.planning import Candidate
from gcsidecar.gc.pressure import Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from gcsidecar.gc.clock import Clock
    from gcsidecar.gc.disposable import Disposable, RankedDisposable
    from gcsidecar.gc.pressure import Threshold
    from gcsidecar.gc.source import DisposableSource

BACKED_OFF = "backed-off"
UNMEASURED = "unmeasured"
_GONE, _KEPT, _FAILED = "gone", "kept", "failed"


class Registry:
    """The disposables of one collector, by identity."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._registered: dict[int, Disposable] = {}
        self._sources: tuple[DisposableSource, ...] = ()
        self._disposing: dict[int, int] = {}  # which disposable, by which thread
        self._backoff = Backoff()

    def register(self, disposable: Disposable) -> None:
        """Track it; once more changes nothing."""
        with self._changed:
            self._registered.setdefault(id(disposable), disposable)

    def unregister(self, disposable: Disposable) -> bool:
        """Track it no longer; waits while another thread disposes of it. False where it isn't tracked."""
        key, me = id(disposable), threading.get_ident()
        with self._changed:
            while self._disposing.get(key, me) != me:
                self._changed.wait()
            self._backoff.forget(key)
            return self._registered.pop(key, None) is not None

    def add_source(self, source: DisposableSource) -> None:
        """Ask it for candidates, too; once more changes nothing."""
        with self._changed:
            if not any(known is source for known in self._sources):
                self._sources = (*self._sources, source)

    def remove_source(self, source: DisposableSource) -> None:
        """Ask it no longer."""
        with self._changed:
            self._sources = tuple(known for known in self._sources if known is not source)

    @property
    def backed_off(self) -> int:
        """How many failed and wait to be tried again."""
        with self._changed:
            return len(self._backoff)

    def candidates(self, now: float, *, scarce: bool = True, with_backed_off: bool = False) -> tuple[Candidate, ...]:
        """What the planner is to know of each.

        Args:
            now: POSIX seconds.
            scarce: Whether anything is; if not, only those that may go without that are asked for what they know.
            with_backed_off: Whether those that failed a moment ago may go, too; else they are kept.
        """
        with self._changed:
            registered = [found for found in self._registered.values() if scarce or is_ranked(found)]
            waiting = {} if with_backed_off else self._backoff.waiting(self._clock.monotonic())
        return tuple(_or_kept(describe(found, now), now, waiting.get(id(found))) for found in registered)

    def sources(self, *, with_backed_off: bool = False) -> tuple[DisposableSource, ...]:
        """All sources; those of theirs that failed a moment ago are kept, unless they may go, too."""
        with self._changed:
            waiting = {} if with_backed_off else self._backoff.waiting(self._clock.monotonic())
            sources = self._sources
        return tuple(_Patient(source, waiting) for source in sources) if waiting else sources

    @contextmanager
    def disposing(self, disposable: Disposable) -> Iterator[bool]:
        """Claim it for its disposal, and note how that ended; gives False where it isn't tracked any more."""
        key = id(disposable)
        with self._changed:
            # What is being disposed of is no longer there to be taken, not even by a collection that it starts itself.
            tracked = key not in self._disposing and self._tracks(disposable)
            if tracked:
                self._disposing[key] = threading.get_ident()
        if not tracked:
            yield False
            return
        outcome = _FAILED
        try:
            yield True
            outcome = _GONE
        except DisposableInUseError:
            outcome = _KEPT
            raise
        finally:
            self._end(disposable, outcome)

    def _tracks(self, disposable: Disposable) -> bool:
        return id(disposable) in self._registered or any(source.has(disposable) for source in self._sources)

    def _end(self, disposable: Disposable, outcome: str) -> None:
        key = id(disposable)
        with self._changed:
            if outcome == _FAILED and self._tracks(disposable):
                self._backoff.failed(key, self._clock.monotonic())
            elif outcome == _GONE:
                self._registered.pop(key, None)
                self._backoff.forget(key)
            del self._disposing[key]
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class _Patient:
    """A source, with those kept that failed a moment ago; each with the seconds that are left."""

    source: DisposableSource
    waiting: Mapping[Hashable, float]

    def candidates(self, now: float, thresholds: Sequence[Threshold]) -> Iterator[Candidate]:
        return self._kept(self.source.candidates(now, thresholds), now)

    def due(self, now: float, thresholds: Sequence[Threshold]) -> Iterator[Candidate]:
        return self._kept(self.source.due(now, thresholds), now)

    def has(self, disposable: Disposable) -> bool:
        return self.source.has(disposable)

    def _kept(self, found: Iterator[Candidate], now: float) -> Iterator[Candidate]:
        return (_or_kept(candidate, now, self.waiting.get(id(candidate.subject))) for candidate in found)


def is_ranked(disposable: Disposable) -> TypeGuard[RankedDisposable]:
    """Whether it describes itself; `isinstance` would ask for each method, 6 us a folder."""
    return hasattr(disposable, "candidate")


def _or_kept(candidate: Candidate, now: float, seconds_left: float | None) -> Candidate:
    """The candidate, kept if it is backed off for some more seconds and has no other reason to be."""
    if seconds_left is None or candidate.keep is not None:
        return candidate
    return replace(candidate, keep=BACKED_OFF, keep_until=now + seconds_left)


def describe(disposable: Disposable, now: float) -> Candidate:
    """A candidate for any disposable; one that describes itself is taken at its word."""
    if is_ranked(disposable):
        candidate = disposable.candidate(now)
        return candidate if candidate.subject is not None else replace(candidate, subject=disposable)
    key = f"{type(disposable).__name__}@{id(disposable):x}"
    asked = {
        Resource.DISK: disposable.disk_size,
        Resource.MEMORY: disposable.memory_size,
        Resource.INODES: getattr(disposable, "inode_count", _unknown),
    }
    try:
        sizes = {resource: _size(ask) for resource, ask in asked.items()}
        return Candidate(key, disposable.last_used(), sizes, subject=disposable)
    except Exception:  # noqa: BLE001  whatever somebody else's size raises: nothing goes on a guess, the others go on
        return Candidate(key, now, {}, keep=UNMEASURED, subject=disposable)


def _unknown() -> int:
    raise DisposableSizeNotSupportedError("inode_count() is not given")


def _size(ask: Callable[[], int]) -> int | None:
    try:
        return ask()
    except DisposableSizeNotSupportedError:
        return None

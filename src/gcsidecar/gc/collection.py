"""What a collection did: the values that everyone who wants to know is handed.

Values only; they are made by the collector and read by metrics, logs and history.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsidecar.gc.disposable import Disposable
    from gcsidecar.gc.planning import Candidate, Kept, Want
    from gcsidecar.gc.pressure import Resource


@dataclass(frozen=True, slots=True)
class Eviction:
    """One disposable that is gone.

    Attributes:
        candidate: What was known of it when it was decided.
        reasons: The resources it was to relieve, or why it was due.
        at: When it began, in POSIX seconds.
        seconds: How long it took.
        reclaimed: What the resources really got back by it at once, by resource; never negative. Empty where that
            could not be measured.
        clamped: Whether a resource had less afterwards than before, since others took more than came back.
        subject: The disposable.
        wants: The crossed thresholds that it was to relieve, as they were when it was decided.
    """

    candidate: Candidate
    reasons: tuple[str, ...]
    at: float
    seconds: float
    reclaimed: Mapping[Resource, int]
    clamped: bool
    subject: Disposable = field(compare=False, repr=False)
    wants: tuple[Want, ...] = ()

    @property
    def key(self) -> str:
        """Its name."""
        return self.candidate.key

    @property
    def group(self) -> str:
        """Its group."""
        return self.candidate.group

    @property
    def expected(self) -> Mapping[Resource, int | None]:
        """What it was expected to bring by resource; `None` is unknown."""
        return self.candidate.sizes

    @property
    def idle_seconds(self) -> float:
        """How long it had not been used when it went."""
        return max(0.0, self.at - self.candidate.last_used)


@dataclass(frozen=True, slots=True)
class Failure:
    """One disposal that raised; it stays registered, and is tried again later."""

    key: str
    error: Exception
    group: str = ""
    subject: Disposable | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Collection:
    """All that one collection did.

    Attributes:
        at: When it began, in POSIX seconds.
        wants: The thresholds that were crossed, each with its measurement and deficit.
        evictions: What went, in order.
        kept: What was passed by and why: by the plan, or when it came to it.
        failures: What should have gone and raised.
        paused: Whether it held back, since earlier disposals brought much less than they should.
        retry_at: When the first reason to keep something ends by itself (POSIX seconds), or none.
    """

    at: float
    wants: tuple[Want, ...] = ()
    evictions: tuple[Eviction, ...] = ()
    kept: tuple[Kept, ...] = ()
    failures: tuple[Failure, ...] = ()
    paused: bool = False
    retry_at: float | None = None

    @property
    def wanted(self) -> dict[Resource, int]:
        """What was missing at its beginning, by resource, in bytes or pieces; groups are added up."""
        total: dict[Resource, int] = {}
        for want in self.wants:
            total[want.threshold.resource] = total.get(want.threshold.resource, 0) + want.deficit
        return total

    @property
    def reclaimed(self) -> dict[Resource, int]:
        """What came back at once, by resource, in bytes or pieces."""
        total: dict[Resource, int] = {}
        for eviction in self.evictions:
            for resource, amount in eviction.reclaimed.items():
                total[resource] = total.get(resource, 0) + amount
        return total

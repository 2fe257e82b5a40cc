"""What has so many disposables that it describes them only when asked, and keeps them in order itself.

A protocol, for those who have 100,000; who has a few registers them one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcsidecar.gc.disposable import Disposable
    from gcsidecar.gc.planning import Candidate
    from gcsidecar.gc.pressure import Threshold


class DisposableSource(Protocol):
    """Gives its disposables as candidates, in the order in which they are to go, as far as somebody reads.

    The order is that of `ordering.order`: priority, those of unknown size after all others, last use, key. Each
    candidate names its `subject`, the same object for as long as it is there. All may be called from any thread.
    """

    def candidates(self, now: float, thresholds: Sequence[Threshold], /) -> Iterator[Candidate]:
        """All it has, in order. Most of them are never read, so each should be made when it is come by.

        Args:
            now: POSIX seconds; a last use in the future counts as now.
            thresholds: All there are, crossed or not: what has an unknown size for one of them goes last.
        """

    def due(self, now: float, thresholds: Sequence[Threshold], /) -> Iterator[Candidate]:
        """Only those that go without any pressure, in order; asked at each collection, so none should cost nothing."""

    def has(self, disposable: Disposable, /) -> bool:
        """Whether this is one of its own, and still there; must not wait."""


class SourceTracker(Protocol):
    """The side of a collector for those who are a source."""

    def add_source(self, source: DisposableSource, /) -> None:
        """Ask `source` for candidates, too; once more changes nothing."""

    def remove_source(self, source: DisposableSource, /) -> None:
        """Ask it no longer."""

    def unregister(self, disposable: Disposable, /) -> bool:
        """One that a source had is gone: waits while another thread disposes of it, and forgets what failed."""

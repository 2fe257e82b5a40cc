"""What disposals were expected to bring, and whether they did: some filesystems give space back late, some never.

It only keeps account; whether to wait or to hold back is for the collector to ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.gc.backoff import delay_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsidecar.gc.pressure import Measurement

# Below this share of what was expected a collection has brought clearly too little.
ENOUGH_SHARE = 0.5
# What was to come has to be at least this, of which the smaller counts, before its absence means anything;
# but in a pause any one counts.
SIGNIFICANT_BYTES = 16 << 20
SIGNIFICANT_SHARE = 0.01
# Of what has come writers may have taken some before it was seen: so many times what is seen of it, at most.
UNSEEN_FACTOR = 4


@dataclass(slots=True)
class _Coming:
    """What one disposal still has to bring, and until when that is believed."""

    amount: int
    until: float


class LateReclaim:
    """What is on its way back, for one resource.

    Until the settle time of a filesystem is over (btrfs was seen to take 31 s), what was expected and hasn't come yet
    counts as on its way. A rise of what is free is taken as its arrival, and as a sign that writers may have taken more
    of it already: to wait for that would let them fill the disk meanwhile. A fall takes nothing off.

    Attributes:
        settle_seconds: For how long what was expected is believed in.
        arrived_late: What has arrived so far, in bytes or pieces, without what came at once with a disposal.
    """

    __slots__ = ("_at_once", "_coming", "_last", "arrived_late", "settle_seconds")

    def __init__(self, settle_seconds: float) -> None:
        self.settle_seconds = settle_seconds
        self.arrived_late = 0
        self._at_once = False
        self._coming: list[_Coming] = []
        self._last: tuple[int, float] | None = None

    def expect(self, amount: int, monotonic: float) -> None:
        """A disposal is over, and nothing was measured since: all of `amount` has yet to be seen."""
        # All of the next rise counts as reclaimed by this disposal, even what an earlier one still owed.
        self._at_once = True
        if amount > 0 and self.settle_seconds > 0:
            self._coming.append(_Coming(amount, monotonic + self.settle_seconds))

    def saw(self, free: int, monotonic: float, fastest: float = 0.0) -> None:
        """Take in a measurement: what has risen is what has come, but for what writers may have taken of it meanwhile.

        Args:
            free: In bytes or pieces.
            monotonic: When, in seconds.
            fastest: How fast writers have ever been, in units a second.
        """
        last, self._last = self._last, (free, monotonic)
        risen = max(0, free - last[0]) if last is not None else 0
        unseen = min(UNSEEN_FACTOR * risen - risen, int(fastest * (monotonic - last[1]))) if last is not None else 0
        at_once, self._at_once = self._at_once, False
        for coming in self._coming:
            arrived = min(coming.amount, risen)
            taken = min(coming.amount - arrived, unseen)
            coming.amount -= arrived + taken
            risen, unseen = risen - arrived, unseen - taken
            self.arrived_late += 0 if at_once else arrived
        self._coming = [c for c in self._coming if c.amount > 0 and c.until > monotonic]

    def concluded(self) -> None:
        """The collection is over: what comes from now on comes late, even if nothing was measured after its last."""
        self._at_once = False

    @property
    def on_its_way(self) -> int:
        """What is still to come, in bytes or pieces."""
        return sum(coming.amount for coming in self._coming)


@dataclass(slots=True)
class _Trial:
    """One collection, whose yield is judged as a whole, once it is over and what it freed had time to come."""

    free_before: int
    began: float
    expected: int = 0
    judge_at: float | None = None


@dataclass(slots=True)
class _Evidence:
    """What collections since the last verdict were to bring, have brought, and others may have taken of it."""

    expected: int = 0
    gained: int = 0
    taken: float = 0.0

    def add(self, trial: _Trial, free: int, taken: float) -> None:
        """Take in a trial that is over."""
        self.expected += trial.expected
        self.gained += min(trial.expected, max(0, free - trial.free_before))
        self.taken += taken

    @property
    def enough(self) -> float:
        """What is not clearly too little."""
        return self.expected * ENOUGH_SHARE


class Shortfall:
    """Whether disposals bring what they should: open files, snapshots and reflinks can hold it back for ever.

    Where they bring clearly less, collection pauses instead of emptying the cache; while paused one disposal is tried
    after a minute, doubling to an hour, and one that brings what it should ends the pause. Collections that were to
    bring little are judged together: a few KiB that didn't come may be anything that others wrote meanwhile.
    """

    __slots__ = ("_evidence", "_failures", "_retry_at", "_trial")

    def __init__(self) -> None:
        self._trial: _Trial | None = None
        self._evidence = _Evidence()
        self._failures = 0
        self._retry_at = 0.0

    @property
    def paused(self) -> bool:
        """Whether the last verdict was bad."""
        return self._failures > 0

    def steps_allowed(self, monotonic: float) -> int | None:
        """How many disposals may be made now; none is no limit."""
        if not self.paused:
            return None
        return 1 if monotonic >= self._retry_at and self._trial is None else 0

    def expect(self, expected: int, before: Measurement, began: float) -> None:
        """A disposal that began at `began` (monotonic), with `before` measured, should bring `expected`.

        While a collection awaits its verdict, later ones are not judged: else under a steady load the verdict would
        never be due, or be given on what had no time to come. Neither are those that go for another reason during a
        pause: only the one that is tried ends or prolongs it.
        """
        if expected <= 0 or (self.paused and began < self._retry_at):
            return
        if self._trial is None:
            self._trial = _Trial(before.free, began)
        if self._trial.judge_at is None:
            self._trial.expected += expected

    def concluded(self, judge_at: float) -> None:
        """The collection is over; what it should bring is to be there at `judge_at` (monotonic)."""
        if self._trial is not None and self._trial.judge_at is None:
            self._trial.judge_at = judge_at

    def judge(self, measurement: Measurement, could_take: Callable[[float], float], monotonic: float) -> None:
        """Give a verdict if one is due; none where writers could have taken the difference in the seconds it took."""
        trial, evidence = self._trial, self._evidence
        if trial is None or trial.judge_at is None or monotonic < trial.judge_at:
            return
        self._trial = None
        evidence.add(trial, measurement.free, could_take(monotonic - trial.began))
        came = evidence.gained >= evidence.enough
        significant = min(SIGNIFICANT_BYTES, measurement.capacity * SIGNIFICANT_SHARE)
        is_significant = self.paused or evidence.expected >= significant
        if came:
            self._failures = 0
        elif is_significant and evidence.gained + evidence.taken < evidence.enough:
            self._failures += 1
        if came or is_significant:
            self._evidence = _Evidence()
        if self.paused:
            self._retry_at = monotonic + delay_seconds(self._failures)

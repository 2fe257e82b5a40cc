"""Carrying out a plan: dispose of one, measure again, and go on for as long as something is scarce or due.

It acts and keeps account of what happened; which goes next, and whether anything should, stands in the plan.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from gcsidecar.gc.collection import Collection, Eviction, Failure
from gcsidecar.gc.errors import CollectionError, DisposableInUseError
from gcsidecar.gc.looking import Looking, Reserve, goes_later, is_known
from gcsidecar.gc.planning import WITHOUT_SIZE, Kept, Measurements, Plan, Step, Want, reasons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gcsidecar.gc.account import Account
    from gcsidecar.gc.clock import Clock
    from gcsidecar.gc.disposable import Disposable
    from gcsidecar.gc.planning import Candidate
    from gcsidecar.gc.pressure import Resource, Threshold
    from gcsidecar.gc.registry import Registry

PAUSED = "paused"
# A look has shown that it was used, and is not due any more.
USED = "used"
# What was measured after one went serves before the next, unless it took that long to tell of it.
JUST_NOW_SECONDS = 0.005


class Execution:
    """One execution of a plan, and what it has done so far."""

    def __init__(
        self,
        plan: Plan,
        registry: Registry,
        account: Account,
        measure: Callable[[], Measurements],
        clock: Clock,
        on_eviction: Callable[[Eviction], None],
        all_in_order: Callable[[], Iterable[Candidate]],
    ) -> None:
        self._plan = plan
        self._registry = registry
        self._account = account
        self._measure = measure
        self._clock = clock
        self._on_eviction = on_eviction
        self._all_in_order = all_in_order
        self._evictions: list[Eviction] = []
        self._kept = list(plan.kept)
        self._failures: list[Failure] = []
        # What nothing that went was to bring, on paper; what it really brought is judged once it had time to come.
        self._unmet = {want.threshold: want.deficit for want in plan.wants}
        self._lacking: list[Threshold] = []  # as it was last measured
        self._allowed = account.steps_allowed()
        self._paused = False
        self._looking = Looking(clock)
        self._reserve = Reserve(chain(plan.reserve, self._beyond_reserve()))
        # What goes next if not this one; none: the first of the reserve.
        self._following: Candidate | None = None
        self._after: tuple[float, Measurements] | None = None

    def run(self, stop: Callable[[], bool]) -> None:
        """Take the plan's steps until nothing is scarce or due any more, or `stop()` says so.

        Raises:
            MeasurementError: What is free could not be measured; nothing more was disposed of.
        """
        try:
            self._take_steps(stop)
        finally:
            self._account.concluded()

    def _take_steps(self, stop: Callable[[], bool]) -> None:
        due_left = sum(step.candidate.due is not None for step in self._plan.steps)
        for number, step in enumerate(self._plan.steps, start=1):
            if stop():
                return
            before = self._measure_before()
            scarce = self._scarce(before)
            if not scarce and not due_left:
                return
            self._following = self._plan.steps[number].candidate if number < len(self._plan.steps) else None
            if step.candidate.due is not None:
                due_left -= 1
                self._dispose(step, before, scarce)
            elif relieved := [threshold for threshold in scarce if step.candidate.helps(threshold)]:
                self._dispose_unless_paused(step, before, relieved)
        self._following = None
        self._take_from_reserve(stop)

    def _take_from_reserve(self, stop: Callable[[], bool]) -> None:
        """In place of steps that did not go take what would have been next: for what those were to bring, no more."""
        while not stop():
            before = self._measure_before()
            lacking = [threshold for threshold in self._scarce(before) if self._unmet[threshold] > 0]
            candidate = self._reserve.pop() if lacking else None
            if candidate is None:
                return
            relieved = [threshold for threshold in lacking if candidate.helps(threshold)]
            if relieved and (self._allowed != 0 or _is_cap(relieved)):
                self._dispose_unless_paused(Step(candidate, reasons(candidate, relieved)), before, relieved)

    def _beyond_reserve(self) -> Iterator[Candidate]:
        """All others that may go now, where the plan did not look so far; seldom read: only if all before stayed."""
        if not self._plan.more:
            return
        tried = {id(step.candidate.subject) for step in self._plan.steps}
        tried.update(id(candidate.subject) for candidate in self._plan.reserve)
        for candidate in self._all_in_order():
            if candidate.keep is None and id(candidate.subject) not in tried:
                yield candidate

    def collection(self) -> Collection:
        """What has been done so far."""
        return Collection(
            self._plan.at,
            self._plan.wants,
            tuple(self._evictions),
            tuple(self._kept),
            tuple(self._failures),
            self._paused,
            self._plan.retry_at,
        )

    def pursued(self) -> frozenset[tuple[Resource, str | None]]:
        """What is short of its target at the end although something went, as others took of it or it brought less.

        To wait for the next crossing would leave writers the smaller margin.
        """
        if not self._evictions or self._paused:
            return frozenset()
        return frozenset((threshold.resource, threshold.group) for threshold in self._lacking)

    def result(self) -> Collection:
        """What was done.

        Raises:
            CollectionError: Something raised; it holds all such errors, and what was done.
        """
        collection = self.collection()
        if self._failures:
            errors = [failure.error for failure in self._failures]
            raise CollectionError("some disposals failed; each is tried again later", errors, collection)
        return collection

    def _scarce(self, now: Measurements) -> list[Threshold]:
        """Of the thresholds that were crossed, those whose target isn't met yet."""
        found = [(want.threshold, now.of(want.threshold)) for want in self._plan.wants]
        self._lacking = [threshold for threshold, seen in found if threshold.deficit(seen, now.coming(seen)) > 0]
        return self._lacking

    def _measure_before(self) -> Measurements:
        """What is free before the next one; what was measured just now after the last one will do for that, once.

        Not where something of what went may come between the two: it is nothing that the next one brings.
        """
        after, self._after = self._after, None
        if after is None or self._account.comes_late or self._clock.monotonic() - after[0] >= JUST_NOW_SECONDS:
            return self._measure()
        return after[1]

    def _measure_after(self) -> Measurements:
        at = self._clock.monotonic()
        self._after = (at, self._measure())
        return self._after[1]

    def _dispose_unless_paused(self, step: Step, before: Measurements, relieved: Sequence[Threshold]) -> None:
        if _is_cap(relieved):
            self._dispose(step, before, relieved)
        elif self._allowed == 0:
            self._paused = True
            self._keep(step, PAUSED)
        elif self._dispose(step, before, relieved) and self._allowed is not None:
            self._allowed -= 1

    def _keep(self, step: Step, reason: str) -> None:
        self._kept.append(Kept(step.candidate.key, reason, step.candidate.group, step.candidate.subject))

    def _dispose(self, step: Step, before: Measurements, scarce: Sequence[Threshold]) -> bool:
        """Look at one, and dispose of it if it is to go all the same; True where it went, or another one before it."""
        try:
            looked = self._looking.at(step.candidate)
        except DisposableInUseError as error:
            self._keep(step, error.reason)
            return False
        except Exception as error:  # noqa: BLE001  whatever somebody else's look raises: nothing goes on a guess
            self._failed(step.candidate, error)
            return False
        if looked is None:
            return self._dispose_of(step, before)
        before = self._measure()  # it took a moment
        still = self._scarce(before)
        chosen = self._chosen(step, looked, [threshold for threshold in scarce if threshold in still])
        return chosen is not None and self._dispose_of(chosen, before)

    def _chosen(self, step: Step, looked: Candidate, scarce: Sequence[Threshold]) -> Step | None:
        """The step to take after what a look has found; none where nothing goes for now."""
        relieved = [threshold for threshold in scarce if looked.helps(threshold)]
        if looked.keep is not None:
            self._keep(step, looked.keep)
        elif looked.due is not None:
            return Step(looked, reasons(looked, relieved))
        elif not relieved:
            self._keep_without_reason(step, scarce)
        elif not self._is_out_of_turn(step.candidate, looked):
            return Step(looked, reasons(looked, relieved))
        else:
            self._reserve.put_off(looked)
            first = None if self._looking.may_go_on else self._reserve.take_put_off(scarce)
            if first is not None:
                return Step(first, reasons(first, [threshold for threshold in scarce if first.helps(threshold)]))
        return None

    def _keep_without_reason(self, step: Step, scarce: Sequence[Threshold]) -> None:
        """A look has shown that it is not due, or brings nothing; where nothing is scarce any more, it says nothing."""
        if step.candidate.due is not None:
            self._keep(step, USED)
        elif scarce:
            self._keep(step, WITHOUT_SIZE)

    def _is_out_of_turn(self, planned: Candidate, looked: Candidate) -> bool:
        """Whether it was used later than was known, and another one is to go before it."""
        following = self._following or self._reserve.peek()
        moved = is_known(planned) and looked.last_used > planned.last_used
        return moved and following is not None and goes_later(looked, following)

    def _dispose_of(self, step: Step, before: Measurements) -> bool:
        subject = step.candidate.subject
        at, began = self._clock.time(), self._clock.monotonic()
        went = subject is not None and self._went(step, subject)
        self._account.attempted()
        if subject is None or not went:
            return False
        seconds = self._clock.monotonic() - began
        self._looking.went()
        self._credit(step.candidate)
        self._account.disposed(step.candidate.sizes, before.readings, began)
        gains: dict[Resource, int] = {}
        try:
            gains = _gains(before, self._measure_after(), step.candidate.group)
        finally:  # it is gone, and that is told, even where what came back could not be measured
            reclaimed = {resource: max(0, gain) for resource, gain in gains.items()}
            clamped = any(gain < 0 for gain in gains.values())
            wants = self._relieved(step)
            self._record(Eviction(step.candidate, step.reasons, at, seconds, reclaimed, clamped, subject, wants))
        return True

    def _credit(self, candidate: Candidate) -> None:
        for threshold in self._unmet:
            if candidate.helps(threshold):
                self._unmet[threshold] -= candidate.sizes[threshold.resource] or 0

    def _relieved(self, step: Step) -> tuple[Want, ...]:
        """The crossed thresholds that are among its reasons."""
        concerned = [want for want in self._plan.wants if step.candidate.helps(want.threshold)]
        return tuple(want for want in concerned if want.threshold.resource in step.reasons)

    def _record(self, eviction: Eviction) -> None:
        self._evictions.append(eviction)
        self._on_eviction(eviction)

    def _went(self, step: Step, subject: Disposable) -> bool:
        try:
            with self._registry.disposing(subject) as tracked:
                if tracked:
                    subject.dispose()
                return tracked
        except DisposableInUseError as error:
            self._keep(step, error.reason)
        except Exception as error:  # noqa: BLE001  whatever somebody else's dispose raises, the others go on
            self._failed(step.candidate, error)
        return False

    def _failed(self, candidate: Candidate, error: Exception) -> None:
        self._failures.append(Failure(candidate.key, error, candidate.group, candidate.subject))


def _is_cap(relieved: Sequence[Threshold]) -> bool:
    """Whether one of them is a group's own: that is kept to whatever the filesystem gives back."""
    return any(threshold.group is not None for threshold in relieved)


def _gains(before: Measurements, after: Measurements, group: str) -> dict[Resource, int]:
    """By how much what concerns `group` has risen."""
    return {
        new.resource: new.free - old.free
        for old, new in zip(before.readings, after.readings, strict=True)
        if new.group is None or new.group == group
    }

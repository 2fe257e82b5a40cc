"""The plan: what is to go, in which order and why, and what stays and why.

Pure: no clock, no filesystem, no logging. The same measurements always give the same plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gcsidecar.gc.ordering import in_order

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gcsidecar.gc.disposable import Disposable
    from gcsidecar.gc.pressure import Measurement, Resource, Threshold
    from gcsidecar.gc.source import DisposableSource

WITHOUT_SIZE = "no-size"
# Why everything is due, where everything is to go.
ALL = "all"
# So many are looked at for a reserve; what comes after them is asked for when it comes to it.
RESERVE = 256
# So many that are kept are named one by one; more of the same group, for the same reason, are counted.
NAMED = 1000


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the planner knows of one disposable.

    Attributes:
        key: Its name; breaks ties, so it should be unique.
        last_used: POSIX seconds.
        sizes: What disposing of it brings by resource; `None` is unknown (worth trying), left out is nothing.
        group: Whose threshold holds for it beside the common ones.
        priority: Lower goes first, whatever was used last.
        keep: Why it has to stay, or none.
        keep_until: When that reason ends by itself (POSIX seconds), or none.
        due: Why it goes without any pressure (say, idle for too long), or none.
        subject: What is meant; the planner hands it on and never looks.
    """

    key: str
    last_used: float
    sizes: Mapping[Resource, int | None]
    group: str = ""
    priority: int = 0
    keep: str | None = None
    keep_until: float | None = None
    due: str | None = None
    subject: Disposable | None = field(default=None, compare=False, repr=False)

    def helps(self, threshold: Threshold) -> bool:
        """Whether disposing of it would bring anything that `threshold` asks for."""
        concerned = threshold.group is None or threshold.group == self.group
        size = self.sizes.get(threshold.resource, 0)
        return concerned and (size is None or size > 0)


@dataclass(frozen=True, slots=True)
class Measurements:
    """All that a plan is made from.

    Attributes:
        at: When, in POSIX seconds.
        readings: One a gauge.
        candidates: All that is registered, in any order.
        on_its_way: What earlier disposals are still expected to bring, by resource.
        sources: Who has more candidates, in order, and is read only as far as need be.

    Raises:
        ValueError: Two measurements of the same; nobody could tell which of them a threshold is held against.
    """

    at: float
    readings: tuple[Measurement, ...]
    candidates: tuple[Candidate, ...] = ()
    on_its_way: Mapping[Resource, int] = field(default_factory=dict)
    sources: tuple[DisposableSource, ...] = ()

    def __post_init__(self) -> None:
        if len({(reading.resource, reading.group) for reading in self.readings}) < len(self.readings):
            measured = ", ".join(reading.resource for reading in self.readings)
            raise ValueError(
                f"one resource is measured twice ({measured}); give each group one gauge for each resource"
            )

    def of(self, threshold: Threshold) -> Measurement:
        """The measurement that `threshold` is held against.

        Raises:
            ValueError: There is none; nothing is decided on a guess.
        """
        for reading in self.readings:
            if reading.resource is threshold.resource and reading.group == threshold.group:
                return reading
        raise ValueError(f"{threshold.resource} has a threshold but no measurement; give it a gauge")

    def coming(self, measurement: Measurement) -> int:
        """What is still on its way for this very measurement; a group's own figures never are."""
        return self.on_its_way.get(measurement.resource, 0) if measurement.group is None else 0


@dataclass(frozen=True, slots=True)
class Want:
    """A threshold that was crossed, the measurement that showed it, and what is missing to its target."""

    threshold: Threshold
    measurement: Measurement
    deficit: int


@dataclass(frozen=True, slots=True)
class Step:
    """One candidate that is to go, and why: the resources it is to relieve, or why it is due."""

    candidate: Candidate
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """What stayed although something was wanted from it, and why.

    Attributes:
        key: Its name.
        reason: Why it stayed.
        group: Its group.
        subject: What is meant.
        count: For how many this stands, where there were very many; the first of them is named.
    """

    key: str
    reason: str
    group: str = ""
    subject: Disposable | None = field(default=None, compare=False, repr=False)
    count: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done; nothing has happened yet.

    Attributes:
        at: The time it was made for, in POSIX seconds.
        wants: The thresholds that were crossed.
        steps: What is to go, in order.
        kept: What was passed by on the way, in order.
        retry_at: When the first reason to keep something ends by itself (POSIX seconds), or none.
        reserve: What would have been next, in order: it goes only in place of a step that turns out to be in use or
            can't be disposed of. Else one folder that only its holder knows to be in use would hold up all the others.
        more: Whether there may be candidates beyond the reserve, at which nobody has looked.
    """

    at: float
    wants: tuple[Want, ...] = ()
    steps: tuple[Step, ...] = ()
    kept: tuple[Kept, ...] = ()
    retry_at: float | None = None
    reserve: tuple[Candidate, ...] = ()
    more: bool = False


def wants(
    measurements: Measurements,
    thresholds: Sequence[Threshold],
    pursued: Collection[tuple[Resource, str | None]] = (),
) -> tuple[Want, ...]:
    """The thresholds that are crossed now, each with its deficit.

    Args:
        measurements: What was found.
        thresholds: What it is held to.
        pursued: Resources (with their group) whose collection ended short of the target: they count until it is met.

    Raises:
        ValueError: A threshold whose resource was not measured.
    """
    found = []
    for threshold in thresholds:
        reading = measurements.of(threshold)
        coming = measurements.coming(reading)
        deficit = threshold.deficit(reading, coming)
        is_pursued = deficit > 0 and (threshold.resource, threshold.group) in pursued
        if is_pursued or threshold.crossed(reading, coming):
            found.append(Want(threshold, reading, deficit))
    return tuple(found)


def plan(
    measurements: Measurements,
    thresholds: Sequence[Threshold],
    now: float,
    *,
    most_in_reserve: int = RESERVE,
    pursued: Collection[tuple[Resource, str | None]] = (),
) -> Plan:
    """Choose what goes: in one walk from the least recently used on, each that helps where something is still scarce.

    One walk over all resources, not one for each: so more free space never means more disposals. It goes no further
    than it has to, and on for what is due.

    Args:
        measurements: What was found.
        thresholds: What it is held to.
        now: POSIX seconds; a last use in the future counts as now.
        most_in_reserve: So many are looked at beyond what is to go.
        pursued: As `wants` has it.

    Raises:
        ValueError: A threshold whose resource was not measured.
    """
    walk = _Walk(wants(measurements, thresholds, pursued), most_in_reserve)
    for candidate in in_order(measurements, thresholds, now, walk.far_enough):
        walk.come_by(candidate)
    return walk.plan(measurements.at)


@dataclass(slots=True, eq=False)
class _Missing:
    """What is still missing on paper of what one threshold asks for."""

    threshold: Threshold
    amount: int


class _Walk:
    """One walk over the candidates: what was chosen so far, and what is still missing on paper."""

    def __init__(self, crossed: tuple[Want, ...], most_in_reserve: int) -> None:
        self.wants = crossed
        self._asked_for = tuple(_Missing(want.threshold, want.deficit) for want in crossed)
        self._scarce = list(self._asked_for)
        self._left = most_in_reserve if crossed else 0
        self._steps: list[Step] = []
        self._reserve: list[Candidate] = []
        self._kept: list[Kept] = []
        self._lumped: dict[tuple[str, str], Kept] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._retry_at: float | None = None
        self._reasons: dict[tuple[object, ...], tuple[str, ...]] = {}

    def far_enough(self) -> bool:
        """Whether all that is missing is found on paper, and the reserve has been looked for."""
        return not self._scarce and self._left <= 0

    def come_by(self, candidate: Candidate) -> None:
        relieved = [missing for missing in self._scarce if candidate.helps(missing.threshold)]
        asked = bool(self._scarce) or candidate.due is not None
        if not self._scarce:
            self._left -= 1
        if asked and candidate.keep is not None:
            self._keep(candidate, candidate.keep)
        elif relieved or (asked and candidate.due is not None):
            self._take(candidate, relieved)
        elif candidate.keep is None and any(candidate.helps(want.threshold) for want in self.wants):
            self._reserve.append(candidate)
        elif asked:
            self._keep(candidate, WITHOUT_SIZE)

    def plan(self, at: float) -> Plan:
        lumped = (replace(kept, count=self._counts[alike]) for alike, kept in self._lumped.items())
        kept, more = (*self._kept, *lumped), bool(self.wants) and self.far_enough()
        return Plan(at, self.wants, tuple(self._steps), kept, self._retry_at, tuple(self._reserve), more)

    def _take(self, candidate: Candidate, relieved: Sequence[_Missing]) -> None:
        self._steps.append(Step(candidate, self._reasons_of(candidate, relieved)))
        for missing in relieved:
            missing.amount -= candidate.sizes.get(missing.threshold.resource) or 0
            if missing.amount <= 0:
                self._scarce = [other for other in self._scarce if other is not missing]

    def _reasons_of(self, candidate: Candidate, relieved: Sequence[_Missing]) -> tuple[str, ...]:
        """The same few for very many."""
        key = (candidate.due, *map(id, relieved))
        if key not in self._reasons:
            self._reasons[key] = reasons(candidate, [missing.threshold for missing in relieved])
        return self._reasons[key]

    def _keep(self, candidate: Candidate, reason: str) -> None:
        alike = (candidate.group, reason)
        if len(self._kept) < NAMED:
            self._kept.append(Kept(candidate.key, reason, candidate.group, candidate.subject))
        elif alike in self._lumped:
            self._counts[alike] += 1
        else:
            self._lumped[alike] = Kept(candidate.key, reason, candidate.group, candidate.subject)
            self._counts[alike] = 1
        if candidate.keep_until is not None:
            known = self._retry_at
            self._retry_at = candidate.keep_until if known is None else min(known, candidate.keep_until)


def reasons(candidate: Candidate, relieved: Sequence[Threshold]) -> tuple[str, ...]:
    """Why it goes: what is due goes for that, whatever it relieves besides."""
    resources = dict.fromkeys(threshold.resource.value for threshold in relieved)
    return (*((candidate.due,) if candidate.due is not None else ()), *resources)

"""The plan: what is to go, in which order and why, and what stays and why.

Pure: no clock, no filesystem, no logging. The same measurements always give the same plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gcsidecar.gc.disposable import Disposable
    from gcsidecar.gc.pressure import Measurement, Resource, Threshold

WITHOUT_SIZE = "no-size"
# Why everything is due, where everything is to go.
ALL = "all"


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

    Raises:
        ValueError: Two measurements of the same; nobody could tell which of them a threshold is held against.
    """

    at: float
    readings: tuple[Measurement, ...]
    candidates: tuple[Candidate, ...] = ()
    on_its_way: Mapping[Resource, int] = field(default_factory=dict)

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
    """What stayed although something was wanted from it, and why."""

    key: str
    reason: str
    group: str = ""
    subject: Disposable | None = field(default=None, compare=False, repr=False)


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
    """

    at: float
    wants: tuple[Want, ...] = ()
    steps: tuple[Step, ...] = ()
    kept: tuple[Kept, ...] = ()
    retry_at: float | None = None
    reserve: tuple[Candidate, ...] = ()


def wants(measurements: Measurements, thresholds: Sequence[Threshold]) -> tuple[Want, ...]:
    """The thresholds that are crossed now, each with its deficit.

    Raises:
        ValueError: A threshold whose resource was not measured.
    """
    found = []
    for threshold in thresholds:
        reading = measurements.of(threshold)
        coming = measurements.coming(reading)
        if threshold.crossed(reading, coming):
            found.append(Want(threshold, reading, threshold.deficit(reading, coming)))
    return tuple(found)


def plan(measurements: Measurements, thresholds: Sequence[Threshold], now: float) -> Plan:
    """Choose what goes: in one walk from the least recently used on, each that helps where something is still scarce.

    One walk over all resources, not one for each: so more free space never means more disposals.

    Args:
        measurements: What was found.
        thresholds: What it is held to.
        now: POSIX seconds; a last use in the future counts as now.

    Raises:
        ValueError: A threshold whose resource was not measured.
    """
    walk = _Walk(wants(measurements, thresholds))
    for candidate in _in_order(measurements.candidates, now, everything=bool(walk.wants)):
        walk.come_by(candidate)
    return walk.plan(measurements.at)


class _Walk:
    """One walk over the candidates: what was chosen so far, and what is still missing on paper."""

    def __init__(self, crossed: tuple[Want, ...]) -> None:
        self.wants = crossed
        self._missing = {want.threshold: want.deficit for want in crossed}
        self._steps: list[Step] = []
        self._reserve: list[Candidate] = []
        self._kept: list[Kept] = []
        self._retry_at: float | None = None

    def come_by(self, candidate: Candidate) -> None:
        scarce = [threshold for threshold, missing in self._missing.items() if missing > 0]
        relieved = [threshold for threshold in scarce if candidate.helps(threshold)]
        asked = bool(scarce) or candidate.due is not None
        if asked and candidate.keep is not None:
            self._keep(candidate, candidate.keep)
        elif relieved or (asked and candidate.due is not None):
            self._take(candidate, relieved)
        elif candidate.keep is None and any(candidate.helps(want.threshold) for want in self.wants):
            self._reserve.append(candidate)
        elif asked:
            self._keep(candidate, WITHOUT_SIZE)

    def plan(self, at: float) -> Plan:
        return Plan(at, self.wants, tuple(self._steps), tuple(self._kept), self._retry_at, tuple(self._reserve))

    def _take(self, candidate: Candidate, relieved: Sequence[Threshold]) -> None:
        self._steps.append(Step(candidate, reasons(candidate, relieved)))
        for threshold in relieved:
            self._missing[threshold] -= candidate.sizes.get(threshold.resource) or 0

    def _keep(self, candidate: Candidate, reason: str) -> None:
        self._kept.append(Kept(candidate.key, reason, candidate.group, candidate.subject))
        if candidate.keep_until is not None:
            ends = (candidate.keep_until, self._retry_at)
            self._retry_at = min(end for end in ends if end is not None)


def reasons(candidate: Candidate, relieved: Sequence[Threshold]) -> tuple[str, ...]:
    """Why it goes: what is due goes for that, whatever it relieves besides."""
    resources = dict.fromkeys(threshold.resource.value for threshold in relieved)
    return (*((candidate.due,) if candidate.due is not None else ()), *resources)


def _in_order(candidates: Sequence[Candidate], now: float, *, everything: bool) -> list[Candidate]:
    """All candidates, or only those that are due, in the order in which they are to go."""
    chosen = candidates if everything else [c for c in candidates if c.due is not None]
    return sorted(chosen, key=lambda c: (c.priority, min(c.last_used, now), c.key))

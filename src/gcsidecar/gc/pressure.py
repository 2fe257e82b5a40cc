"""The words of pressure: what was measured, where collection starts and stops, and how far apart the two are.

Values and arithmetic only: nothing here measures, and nothing here decides what goes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Resource(StrEnum):
    """What can run out (`disk`, `inodes`, `memory`) and what a group may be capped by (`size`, `folders`)."""

    DISK = "disk"
    INODES = "inodes"
    MEMORY = "memory"
    SIZE = "size"
    FOLDERS = "folders"


@dataclass(frozen=True, slots=True)
class Level:
    """An amount of a resource: fixed (`amount`, in the unit of the resource) or a `share` of its capacity, 0 to 1."""

    amount: int = 0
    share: float | None = None

    def of(self, capacity: int) -> int:
        """The amount that this level means where the capacity is `capacity`, rounded up."""
        return self.amount if self.share is None else math.ceil(capacity * self.share)

    def scaled(self, factor: float) -> Level:
        """This level times `factor`; a share never exceeds the whole."""
        if self.share is None:
            return Level(math.ceil(self.amount * factor))
        return Level(share=min(1.0, self.share * factor))

    def __str__(self) -> str:
        return f"{self.amount}" if self.share is None else f"{self.share * 100:g}%"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One resource as it was found.

    Attributes:
        resource: What was measured.
        capacity: All that an ordinary user has of it, used and available, in bytes or pieces.
        free: What an ordinary user may still take, in the same unit; below 0 where a cap is overrun.
        at: When, in POSIX seconds.
        group: The group it is about, or none for all that share the filesystem.
        least_free: What is free at the very least, where `free` may be out of date; none where it isn't. It tells how
            soon to measure again, and nothing goes on it.
    """

    resource: Resource
    capacity: int
    free: int
    at: float
    group: str | None = None
    least_free: int | None = None


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where collection of one resource starts and where it stops.

    Attributes:
        resource: What it is about.
        trigger: Collection starts when less than this is free, in the resource's unit.
        target: Collection stops when at least this much is free; at least `trigger`.
        group: The group that is held to it, or none for all.
    """

    resource: Resource
    trigger: int
    target: int
    group: str | None = None

    def __post_init__(self) -> None:
        if self.target < self.trigger:
            msg = f"{self.resource}: the target {self.target} is below the trigger {self.trigger}; raise the target"
            raise ValueError(msg)

    def crossed(self, measurement: Measurement, on_its_way: int = 0) -> bool:
        """Whether collection has to start, given `on_its_way` that is still to come back."""
        return measurement.free + on_its_way < self.trigger

    def deficit(self, measurement: Measurement, on_its_way: int = 0) -> int:
        """What is missing from now to the target; 0 where nothing is."""
        return max(0, self.target - measurement.free - on_its_way)

    def headroom(self, measurement: Measurement) -> int:
        """What can be used up before collection starts; 0 where it has to start now."""
        return max(0, measurement.free - self.trigger)

    def pressure(self, measurement: Measurement) -> float:
        """How near the trigger is: 1.0 is exactly at it, for every resource alike; `inf` where nothing may be used."""
        used, usable = measurement.capacity - measurement.free, measurement.capacity - self.trigger
        if usable > 0:
            return used / usable
        return math.inf if measurement.free < self.trigger else 1.0


class Gauge(Protocol):
    """Measures one resource and knows its threshold."""

    def measure(self) -> Measurement:
        """Measure now.

        Raises:
            MeasurementError: It could not be measured; nothing may be evicted for it.
        """

    def threshold(self, measurement: Measurement) -> Threshold | None:
        """The threshold that holds for what was measured; none where this resource is only watched."""

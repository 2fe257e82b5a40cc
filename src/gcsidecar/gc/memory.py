"""Gauges for memory: of the whole machine, or of a cgroup (v2 or v1) and all those above it.

What can be given up at once counts as available, as the kubelet counts it: usage less inactive file pages.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.gc.clock import SYSTEM_CLOCK, Clock
from gcsidecar.gc.errors import MeasurementError
from gcsidecar.gc.pressure import Level, Measurement, Resource, Threshold

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class _Files:
    """The names of one version's files, and of the line in `memory.stat` (see the kernel's cgroup documents)."""

    limit: str
    usage: str
    inactive: str


_V2 = _Files("memory.max", "memory.current", "inactive_file")
_V1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


class HostMemoryGauge:
    """Measures the memory of the machine.

    Args:
        minimum: Collection starts when less is available.
        target: Collection stops when so much is available; the minimum, unless given.
        clock: For the measurement's time.
    """

    def __init__(self, minimum: Level, target: Level | None = None, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._minimum, self._target, self._clock = minimum, target or minimum, clock

    def measure(self) -> Measurement:
        """All memory, and what is available without swapping.

        Raises:
            MeasurementError: It can't be read.
        """
        import psutil  # noqa: PLC0415  4 MiB that only those pay who have memory watched

        try:
            memory = psutil.virtual_memory()
        except OSError as error:
            raise MeasurementError(f"can't measure the machine's memory: {error}; is /proc mounted?") from error
        return Measurement(Resource.MEMORY, memory.total, memory.available, self._clock.time())

    def threshold(self, measurement: Measurement) -> Threshold:
        """The trigger and the target, in bytes."""
        return _threshold(self._minimum, self._target, measurement)


class CgroupMemoryGauge:
    """Measures the memory of a cgroup: of it and all above it the one that has the least left counts.

    Args:
        path: The cgroup's directory, as `/sys/fs/cgroup/kubepods.slice` (v2) or `/sys/fs/cgroup/memory/jobs` (v1).
        minimum: Collection starts when less is available.
        target: Collection stops when so much is available; the minimum, unless given.
        clock: For the measurement's time.
    """

    def __init__(self, path: str, minimum: Level, target: Level | None = None, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._path = os.path.normpath(path)
        self._minimum, self._target, self._clock = minimum, target or minimum, clock
        self._host = HostMemoryGauge(minimum, target, clock=clock)

    def measure(self) -> Measurement:
        """The limit, and what is left of it; those of the machine where no cgroup on the way has a limit.

        Raises:
            MeasurementError: The cgroup isn't there, or one of its files can't be read.
        """
        host = tightest = self._host.measure()
        for directory, files in self._with_limits():
            limit = _limit(directory, files.limit)
            if limit is None or limit >= host.capacity:
                continue
            working_set = _amount(directory, files.usage) - _stat(directory, files.inactive)
            free = limit - max(0, working_set)
            if free < tightest.free:
                tightest = Measurement(Resource.MEMORY, limit, free, self._clock.time())
        return tightest

    def threshold(self, measurement: Measurement) -> Threshold:
        """The trigger and the target, in bytes; shares are of the limit that counts."""
        return _threshold(self._minimum, self._target, measurement)

    def _with_limits(self) -> Iterator[tuple[str, _Files]]:
        """The cgroup and those above it, as far up as they have a limit file (the root of a v2 tree has none)."""
        directory, found = self._path, False
        while files := _version(directory):
            found = True
            yield directory, files
            directory = os.path.dirname(directory)
        if not found:
            raise MeasurementError(
                f"{self._path} is no cgroup with a memory controller; name its directory in thresholds.memory.cgroup"
            )


def _version(directory: str) -> _Files | None:
    for files in (_V2, _V1):
        if os.path.exists(f"{directory}/{files.limit}"):
            return files
    return None


def _limit(directory: str, name: str) -> int | None:
    """The bytes that a limit allows; none where there is no limit."""
    return None if _read(directory, name).strip() == "max" else _amount(directory, name)


def _amount(directory: str, name: str) -> int:
    """The bytes that a file states."""
    text = _read(directory, name).strip()
    if not text.isdecimal():
        raise MeasurementError(f"{directory}/{name} holds {text[:40]!r}, not an amount of bytes")
    return int(text)


def _stat(directory: str, key: str) -> int:
    """The bytes in one line of `memory.stat`. Without it what could be given up would seem in use: no guess."""
    for line in _read(directory, "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.isdecimal():
            return int(value)
    raise MeasurementError(f"{directory}/memory.stat has no amount for {key}")


def _read(directory: str, name: str) -> str:
    try:
        with open(f"{directory}/{name}", encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise MeasurementError(
            f"can't read {directory}/{name}: {error.strerror}; is the cgroup still there, and mounted for us?"
        ) from error


def _threshold(minimum: Level, target: Level, measurement: Measurement) -> Threshold:
    trigger = minimum.of(measurement.capacity)
    return Threshold(Resource.MEMORY, trigger, max(trigger, target.of(measurement.capacity)))

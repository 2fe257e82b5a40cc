"""Figures of repeated measurements: the middle, the tail, how far they spread, and how they are written.

Arithmetic only; nothing here measures.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# From here on `.3g` would write powers of ten.
_LARGE = 1000.0
_PREFIXES = {"s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")), "B": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))}


@dataclass(frozen=True, slots=True)
class Samples:
    """One quantity, measured again and again.

    Attributes:
        values: At least one, in the base unit.
        unit: `s`, `B`, or anything that is written as it is (`%`, `x`, or nothing).
    """

    values: tuple[float, ...]
    unit: str

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def quantile(self, share: float) -> float:
        """The smallest value that at least this share of all does not exceed: a measured one, never one in between."""
        ordered = sorted(self.values)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    def spread(self) -> str:
        """How far they lie apart, for people."""
        least, most = (written(value, self.unit) for value in (min(self.values), max(self.values)))
        return f"{least} to {most}, n={len(self.values)}"


def seconds(values: Iterable[float]) -> Samples:
    """Durations."""
    return Samples(tuple(values), "s")


def sizes(values: Iterable[float]) -> Samples:
    """Amounts of bytes."""
    return Samples(tuple(values), "B")


def written(value: float, unit: str) -> str:
    """A value with its unit, in three digits or so."""
    prefixes = _PREFIXES.get(unit)
    if prefixes is None:
        return f"{_number(value)}{'' if unit == 'x' else ' '}{unit}".rstrip()
    factor, name = next((pair for pair in prefixes if abs(value) >= pair[0]), prefixes[-1])
    return f"{_number(value / factor)} {name}"


def _number(value: float) -> str:
    """In three digits, but without powers of ten."""
    return f"{value:,.0f}" if abs(value) >= _LARGE else f"{value:.3g}"

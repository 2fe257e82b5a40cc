"""What a metric is declared to be: its name, type, labels with their bounds, help, and how its series are read.

A value, no client library's object: the collector makes families of it, and the docs a page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gcsidecar.sidecar.metrics.ledger import Spread
    from gcsidecar.sidecar.metrics.view import View

    Series = Iterable[tuple[tuple[str, ...], float | Spread]]
    Reader = Callable[[View], Series]

UNITS = ("bytes", "seconds", "ratio")


@dataclass(frozen=True, slots=True)
class Label:
    """A label: what its values are, and how many there can be.

    Attributes:
        name: As in PromQL.
        meaning: What it tells apart.
        bound: How many values it takes at most, in words.
        values: All of them, where they are known beforehand.
    """

    name: str
    meaning: str
    bound: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: As it is queried; a counter's ends in `_total`, an info's in `_info`, a histogram's has no suffix yet.
        kind: Its type.
        help: What it says, complete enough to need no other page.
        read: Its series at one moment: their label values, each with its value.
        query: An example of its use, in PromQL.
        goes: When a series of it goes.
        labels: In the order of the values that `read` gives.
        buckets: The upper bounds of a histogram's buckets, without the infinite one.
    """

    name: str
    kind: Literal["gauge", "counter", "histogram", "info"]
    help: str
    read: Reader
    query: str
    goes: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def family(self) -> str:
        """Its name without the suffix that its type adds."""
        return self.name.removesuffix({"counter": "_total", "info": "_info"}.get(self.kind, ""))

    @property
    def unit(self) -> str:
        """Its unit, where its name ends in one."""
        return next((unit for unit in UNITS if self.family.endswith(f"_{unit}") and "_per_" not in self.family), "")

"""A row of the table: what was measured, what stands beside it, and whether the goal was met; and a point of a plot.

Values only; how they are measured stands in a module for each figure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.samples import written

if TYPE_CHECKING:
    from bench.samples import Samples


@dataclass(frozen=True, slots=True)
class Peer:
    """What the same costs elsewhere.

    Attributes:
        name: Who, and on what.
        value: In the row's unit.
        measured: Whether in the same run; else it is a figure that is known of it.
        spread: How far its measured values lie apart, or nothing.
    """

    name: str
    value: float
    measured: bool = True
    spread: str = ""


def peer(name: str, samples: Samples) -> Peer:
    """One that was measured as often as we were: its median."""
    return Peer(name, samples.median, spread=samples.spread())


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        what: What was measured, and on what.
        value: The figure that is held against the goal.
        unit: `s`, `B`, `%`, `x` (so many times) or nothing, for what is counted.
        statistic: Which of all measured values it is (`median`, `p99`).
        goal: At most so much; none for a figure that only stands beside others.
        spread: How far the measured values lie apart.
        peers: What stands beside it.
        remark: What a reader has to know of it, or nothing.
        key: Its name among all rows, which stays while figures in `what` change.
        goal_ratio: At most so many times what the first of the peers takes; in place of `goal`.
    """

    what: str
    value: float
    unit: str
    statistic: str
    goal: float | None
    spread: str
    peers: tuple[Peer, ...] = ()
    remark: str = ""
    key: str = field(kw_only=True)
    goal_ratio: float | None = field(default=None, kw_only=True)

    @property
    def limit(self) -> float | None:
        """The goal in the row's unit; none without one."""
        return self.goal if self.goal_ratio is None else self.goal_ratio * self.peers[0].value

    @property
    def met(self) -> bool | None:
        """Whether the goal was met; none without a goal."""
        return None if self.limit is None else self.value <= self.limit

    def cells(self) -> tuple[str, ...]:
        """The row as text, a cell each column of `COLUMNS`."""
        return (
            self.what,
            f"{written(self.value, self.unit)} ({self.statistic})",
            self.spread or "-",
            "; ".join(self._beside(peer) for peer in self.peers) or "-",
            self._goal(),
            {True: "yes", False: "NO", None: "-"}[self.met],
        )

    def _beside(self, peer: Peer) -> str:
        known = "" if peer.measured else ", known"
        spread = f" ({peer.spread})" if peer.spread else ""
        ratio = f", ratio {self.value / peer.value:.3g}" if peer.value else ""
        return f"{peer.name}: {written(peer.value, self.unit)}{spread}{known}{ratio}"

    def _goal(self) -> str:
        if self.limit is None:
            return "-"
        limit = written(self.limit, self.unit)
        return f"<= {limit}" if self.goal_ratio is None else f"<= {self.goal_ratio:g}x ({limit})"


COLUMNS = ("what", "measured", "spread", "beside it", "goal", "met")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A figure that can't be measured here, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a plot.

    Attributes:
        plot: Which plot.
        line: Whose line in it.
        size: How many folders or files there were.
        value: What it cost, in the plot's unit.
    """

    plot: str
    line: str
    size: int
    value: float

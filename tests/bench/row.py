"""A row of the table: what was measured, what stands beside it, and whether the goal was met.

Values only; how they are measured stands in a module for each figure.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.samples import written


@dataclass(frozen=True, slots=True)
class Peer:
    """What the same costs elsewhere.

    Attributes:
        name: Who, and on what.
        value: In the row's unit.
        measured: Whether in the same run; else it is a figure that is known of it.
    """

    name: str
    value: float
    measured: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        what: What was measured, and on what.
        value: The figure that is held against the goal.
        unit: `s`, `B` or `%`.
        statistic: Which of all measured values it is (`median`, `p99`).
        goal: At most so much; none for a figure that only stands beside others.
        spread: How far the measured values lie apart.
        peers: What stands beside it.
        remark: What a reader has to know of it, or nothing.
    """

    what: str
    value: float
    unit: str
    statistic: str
    goal: float | None
    spread: str
    peers: tuple[Peer, ...] = ()
    remark: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal was met; none without a goal."""
        return None if self.goal is None else self.value <= self.goal

    def cells(self) -> tuple[str, ...]:
        """The row as text, a cell each column of `COLUMNS`."""
        return (
            self.what,
            f"{written(self.value, self.unit)} ({self.statistic})",
            self.spread,
            "; ".join(self._beside(peer) for peer in self.peers) or "-",
            "-" if self.goal is None else f"<= {written(self.goal, self.unit)}",
            {True: "yes", False: "NO", None: "-"}[self.met],
        )

    def _beside(self, peer: Peer) -> str:
        known = "" if peer.measured else ", known"
        ratio = f", ratio {self.value / peer.value:.2g}" if peer.value else ""
        return f"{peer.name}: {written(peer.value, self.unit)}{known}{ratio}"


COLUMNS = ("what", "measured", "spread", "beside it", "goal", "met")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A figure that can't be measured here, and why."""

    what: str
    why: str

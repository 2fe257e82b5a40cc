"""All runs of a story, depth first: each a new directory and new actors, led along a way up to where it is to differ.

What a state leads to is seen once: a run that comes to a state which another one has been in is left.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from contextlib import AbstractContextManager

    from interleave.scheduler import Choice, Director, Run

MOST_STRAYED = 3


@dataclass(frozen=True, slots=True)
class Explored:
    """What was seen.

    Attributes:
        states: How many that differ.
        turns: How many ways there are from one to the next.
        runs: How many schedules were played, and `ends`, how many of them to their end.
        seconds: How long it took.
        violation: What went wrong, and all that led to it; none where nothing did.
        complete: Whether all was seen.
    """

    states: int
    turns: int
    runs: int
    ends: int
    seconds: float
    violation: str | None
    complete: bool

    def __str__(self) -> str:
        end = "" if self.complete else ", and not all"
        return (
            f"{self.states:,} states, {self.turns:,} turns, {self.runs:,} schedules of which {self.ends:,} to their "
            f"end, {self.seconds:.1f} s{end}"
        )


@dataclass(slots=True)
class _Fork:
    """A state on the way, and the choices there: the one that is being tried and those that are left."""

    chosen: Choice
    left: list[Choice]


class Exploration:
    """Explores one story.

    Args:
        new_run: Makes a run under a director, and removes it after that.
        look: Sees that a state keeps what was promised; says what is wrong.
        look_back: The same for what is left after a run's end.
        most_seconds: It ends after so long, complete or not.
    """

    def __init__(
        self,
        new_run: Callable[[Director], AbstractContextManager[Run]],
        look: Callable[[Run], str | None],
        look_back: Callable[[Run], str | None],
        most_seconds: float = float("inf"),
    ) -> None:
        self._new_run, self._look, self._look_back = new_run, look, look_back
        self._most_seconds = most_seconds
        self._seen: set[Hashable] = set()
        self._left_behind: set[Hashable] = set()
        self._way: list[_Fork] = []
        self._at = 0
        self._turns = self._runs = self._ends = self._strayed = 0
        self._wrong: str | None = None

    def explore(self) -> Explored:
        """Play until all is seen, or something is wrong."""
        began = time.perf_counter()
        complete = False
        while not complete and self._wrong is None and time.perf_counter() - began < self._most_seconds:
            with self._new_run(self) as run:
                self._play(run)
            complete = self._wrong is None and not self._strayed and not self._turn_round()
        violation = None if self._wrong is None else "\n".join([self._wrong, *(str(fork.chosen) for fork in self._way)])
        seconds = time.perf_counter() - began
        return Explored(len(self._seen), self._turns, self._runs, self._ends, seconds, violation, complete)

    def choose(self, run: Run, choices: Sequence[Choice]) -> Choice | None:
        """As the way leads; where it ends, the first choice, unless this was seen before."""
        if run.failure is None and self._at < len(self._way):
            return self._led(choices)
        self._turns += 1
        self._wrong = run.failure or (None if self._has_seen(run) else self._look(run))
        if self._wrong is not None or run.was_seen or not choices:
            return None
        self._way.append(_Fork(choices[0], list(choices[1:])))
        self._at += 1
        return choices[0]

    def _led(self, choices: Sequence[Choice]) -> Choice | None:
        """As in the run before; where the same calls led elsewhere, a clock had a part in it, and it is tried again."""
        chosen = self._way[self._at].chosen
        if chosen in choices:
            self._at += 1
            return chosen
        self._strayed += 1
        assert self._strayed <= MOST_STRAYED, f"{chosen} was possible, and is no more: {choices}"
        return None

    def _play(self, run: Run) -> None:
        self._at, strayed = 0, self._strayed
        self._runs += 1
        finished = run.play()
        self._ends += finished
        if strayed == self._strayed:
            self._strayed = 0
        if not finished or self._wrong is not None:
            return
        # Of many ends that leave the same behind one is enough.
        left = run.picture(), tuple(tuple(actor.holds) for actor in run.actors)
        if left not in self._left_behind:
            self._left_behind.add(left)
            self._wrong = self._look_back(run)

    def _has_seen(self, run: Run) -> bool:
        state = run.state()
        run.was_seen = state in self._seen
        self._seen.add(state)
        return run.was_seen

    def _turn_round(self) -> bool:
        """To the last fork where something is left; False where there is none."""
        while self._way and not self._way[-1].left:
            self._way.pop()
        if not self._way:
            return False
        self._way[-1].chosen = self._way[-1].left.pop(0)
        return True

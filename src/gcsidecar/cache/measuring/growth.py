"""What a root may have grown by beyond what is measured, and how often growing folders are measured for that.

It measures nothing itself: it asks, and sees by the folders' own figures when it has been answered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.root import Root
    from gcsidecar.gc.clock import Clock

# Between an answer and the next question at least this passes, and at least so many times what the answer took. While
# the root itself is what grows, measuring may take half of the time; where others on the filesystem are, so that it is
# measured in vain, an eighth at most.
SHORTEST_SECONDS = 1.0
MOST_PAUSES = 7
# Of what the filesystem has lost this is to be found in the root, for it to be what grows.
OWN_SHARE = 0.5
# A question that is not answered by then (a folder that can't be read, a filesystem that hangs) is given up.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Question:
    """Folders that are to be measured anew; when that was asked (both clocks), and what was known then.

    Attributes:
        folders: Those that it waits for, as far as it is known.
        passed_by: Those of them for which nobody could answer before either.
    """

    folders: list[Folder]
    at: float
    monotonic: float
    lost_bytes: int
    grown_bytes: int
    passed_by: list[Folder] = field(default_factory=list)


class Growth:
    """What one root may have grown by: what its filesystem has lost, and no measuring of the root has found.

    Args:
        root: Which.
        clock: Both clocks.
    """

    def __init__(self, root: Root, clock: Clock) -> None:
        self._root, self._clock = root, clock
        self._free: int | None = None
        self._grown_bytes, self._gone_bytes = root.census.grown_bytes, root.census.gone_bytes
        self._lost_bytes = self._lost_since_bytes = 0
        self._question: _Question | None = None
        self._unanswered: frozenset[str] = frozenset()
        self._ask_at = 0.0
        self._pauses = 1

    @property
    def most_bytes(self) -> int:
        """An upper bound of what it has grown by and nobody measured."""
        return self._lost_bytes

    def saw(self, free: int | None) -> None:
        """Take in what is free on the filesystem now, none where that can't be told, and any answer."""
        census = self._root.census
        grown, gone = census.grown_bytes - self._grown_bytes, census.gone_bytes - self._gone_bytes
        self._grown_bytes, self._gone_bytes = self._grown_bytes + grown, self._gone_bytes + gone
        last, self._free = self._free, free
        # What others delete meanwhile must not hide what the root has taken: a rise takes nothing off. But what went
        # from the root itself is a rise that is known.
        taken = 0 if last is None or free is None else max(0, last - free + gone)
        self._lost_bytes = max(0, self._lost_bytes + taken - grown)
        self._lost_since_bytes += taken
        if self._question is not None:
            self._hear(self._question)

    def ask(self) -> None:
        """Have what may have grown measured, unless that was asked already, or answered a moment ago."""
        monotonic = self._clock.monotonic()
        if self._question is not None or monotonic < self._ask_at:
            return
        growing = [folder for folder in self._root.census.folders() if folder.may_have_grown]
        self._question = _Question(growing, self._clock.time(), monotonic, self._lost_bytes, self._grown_bytes)
        self._lost_since_bytes = 0
        self._root.want_sizes([folder.name for folder in growing] + self._root.custody.growing_apart())

    def _hear(self, question: _Question) -> None:
        """See whether it is answered: all are measured, but those for which nobody could answer before either."""
        took = self._clock.monotonic() - question.monotonic
        if not self._waits_for_one(question):
            grown = self._grown_bytes - question.grown_bytes
            self._pauses = 1 if grown >= question.lost_bytes * OWN_SHARE else min(MOST_PAUSES, 2 * self._pauses)
            # What was written behind the walk, or before it came by, is in neither of its figures for sure.
            self._lost_bytes = self._lost_since_bytes
        elif took < PATIENCE_SECONDS:
            return
        waiting = (*question.folders, *question.passed_by)
        self._unanswered = frozenset(folder.name for folder in waiting if not self._is_answered(folder, question))
        self._question = None
        self._ask_at = self._clock.monotonic() + self._pauses * max(SHORTEST_SECONDS, took)

    def _waits_for_one(self, question: _Question) -> bool:
        """Whether there is one that it waits for: that is looked at until it is measured, and only then the others.

        There may be 100,000 of them, and this is asked 50 times a second.
        """
        while question.folders:
            folder = question.folders[-1]
            if not self._is_answered(folder, question):
                if folder.name not in self._unanswered:
                    return True
                question.passed_by.append(folder)
            question.folders.pop()
        return False

    def _is_answered(self, folder: Folder, question: _Question) -> bool:
        return folder.measured_at >= question.at or self._root.census.get(folder.name) is not folder

"""Those who measure outside of this process for a survey: for each root one that hurries, and one for the sweep.

It hands over and takes back; what is worth a process, and what becomes of a size, is for others to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.cache.measuring.schedule import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gcsidecar.cache.root import Root
    from gcsidecar.cache.spec import MeasureSpec
    from gcsidecar.cache.surveying.surveyor import Measured, Surveyor

# A folder with so many entries is worth a process of its own, which takes as long to start as walking through some
# thousands of them.
LARGE_ENTRIES = 20_000


class Surveyors:
    """Of one filesystem. Not thread-safe: the survey's thread has it.

    Args:
        spec: What the sweep may cost.
        wake: Called when there is something to be taken; must return at once.
    """

    def __init__(self, spec: MeasureSpec, wake: Callable[[], None]) -> None:
        self._spec, self._wake = spec, wake
        self._hurried: dict[Root, Surveyor] = {}
        self._sweeping: dict[Root, Surveyor] = {}

    @property
    def waiting(self) -> int:
        """How many are to be measured in a hurry, and are not yet."""
        return sum(surveyor.waiting for surveyor in self._hurried.values())

    @property
    def is_sweeping(self) -> bool:
        """Whether what was given to the sweep isn't done yet."""
        return any(surveyor.waiting for surveyor in self._sweeping.values())

    def hand_over(self, targets: Sequence[Target], *, before_others: bool = False) -> None:
        """Have these measured soon, in this order, after or before what waits already."""
        for root in dict.fromkeys(target.root for target in targets):
            names = [target.name for target in targets if target.root is root]
            surveyor = self._hurried.get(root)
            if surveyor is None:
                surveyor = self._hurried[root] = self._hired(root)
            surveyor.measure([*names, *surveyor.forget()] if before_others else names)

    def sweep(self, root: Root, names: Sequence[str]) -> None:
        """Have these measured when nothing else is to do."""
        surveyor = self._sweeping.get(root)
        if surveyor is None:
            pace = float(self._spec.sweep_entries_per_second)
            surveyor = self._sweeping[root] = self._hired(root, idle=True, entries_per_second=pace)
        surveyor.measure(names)

    def take(self) -> Iterator[tuple[Target, Measured]]:
        """What was found since the last time."""
        for surveyors in (self._hurried, self._sweeping):
            for root, surveyor in surveyors.items():
                for measured in surveyor.take():
                    yield Target(root, measured.name), measured

    def close(self) -> None:
        """End at once."""
        for surveyor in (*self._hurried.values(), *self._sweeping.values()):
            surveyor.close()
        self._hurried, self._sweeping = {}, {}

    def _hired(self, root: Root, *, idle: bool = False, entries_per_second: float | None = None) -> Surveyor:
        from gcsidecar.cache.surveying.surveyor import Surveyor  # noqa: PLC0415  many a root is never worth a process

        atime = root.spec.last_used == "atime"
        return Surveyor(root.fd, atime=atime, idle=idle, entries_per_second=entries_per_second, wake=self._wake)

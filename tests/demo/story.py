"""The story of the demo: what jobs and the sidecar do, in words, and whether the sidecar kept what it promises.

It hears of everything and does nothing; what it knows of leases it has from the jobs, never from the sidecar.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MIB = 1 << 20
# Two folders released within this time may go in either order: what a job says reaches us a moment later.
TOLERANCE_SECONDS = 0.25


def say_at_once(line: str) -> None:
    """Print a line, also where stdout is a pipe."""
    print(line, flush=True)


class Story:
    """Tells what happens as it happens.

    Args:
        root: The name of the root in the sidecar's config.
        files: How many files a job's folder has once it is filled.
        say: Takes a line.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        root: str,
        files: int,
        *,
        say: Callable[[str], object] = say_at_once,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._files, self._say, self._clock = root, files, say, clock
        self._began_at = clock()
        self._last_used: dict[str, float] = {}
        self.busy: set[str] = set()
        self.filled: set[str] = set()
        self.jobs = self.evicted = self.out_of_order = self.touched = self.reclaimed_bytes = 0

    def tell(self, who: str, what: str) -> None:
        """Say one thing that happened."""
        self._say(f"{self._clock() - self._began_at:6.1f} s  {who:<8} {what}")

    # What jobs do

    def job_starts(self, name: str) -> None:
        """A job is about to take its lease."""
        self.busy.add(name)
        self.jobs += 1

    def job_says(self, name: str, line: str) -> None:
        """A line that a job printed."""
        match line.split():
            case ["took", "0"]:
                self.tell(name, "takes a lease; there is no cache, so it makes it anew")
            case ["took", files]:
                self.tell(name, f"takes a lease, and finds its {files} files")
            case ["filled", files]:
                self.filled.add(name)
                self.check(name, int(files))
            case ["found", files]:
                self.check(name, int(files))
            case ["released"]:
                self._last_used[name] = self._clock()
                self.busy.discard(name)
                self.filled.discard(name)
                self.tell(name, "is done, and releases its lease")
            case _:
                self.tell(name, f"says: {line.strip()}")

    def check(self, name: str, files: int) -> None:
        """So many files lie in a folder that was filled and is leased still."""
        if files != self._files:
            self.touched += 1
            self.tell(name, f"HAS LOST FILES under its lease: {files} of {self._files} are there")

    # What the sidecar does

    def sidecar_says(self, event: Mapping[str, Any]) -> None:
        """A line of the sidecar's log."""
        match event["event"]:
            case "planned":
                self._planned(event)
            case "evicted":
                self._evicted(event)
            case "nothing-to-evict":
                self.tell("SIDECAR", "finds the cache too large, but nothing that may go: all is leased")
            case _ if event["level"] in {"warning", "error"}:
                rest = " ".join(f"{key}={value}" for key, value in event.items() if key not in {"time", "level"})
                self.tell("SIDECAR", f"has a problem: {rest}")

    def _planned(self, event: Mapping[str, Any]) -> None:
        over, deficit = -event[f"size_{self._root}_free"], event[f"size_{self._root}_deficit"]
        leased = f"; keeps {event['kept_leased']} leased" if "kept_leased" in event else ""
        self.tell("SIDECAR", f"sees {_mib(over)} too much: {_mib(deficit)} have to go{leased}")

    def _evicted(self, event: Mapping[str, Any]) -> None:
        name, now, reclaimed_bytes = event["folder"], self._clock(), event.get("reclaimed_size", 0)
        self.evicted += 1
        self.reclaimed_bytes += reclaimed_bytes
        others = [used for other, used in self._last_used.items() if other not in self.busy and other != name]
        in_order = self._last_used.pop(name, now) <= min(others, default=now) + TOLERANCE_SECONDS
        self.out_of_order += not in_order
        why = "unleased and unused for longest" if in_order else "OUT OF ORDER, others were unused for longer"
        self.tell("SIDECAR", f"evicts {name} ({_mib(reclaimed_bytes)}): {why}, {event['idle_seconds']:.1f} s")

    # How it went

    def level(self, leased_bytes: int, idle_bytes: int, most_bytes: int) -> None:
        """How full the cache is."""
        leased, idle, most = (size_bytes // MIB for size_bytes in (leased_bytes, idle_bytes, most_bytes))
        bar = f"{'#' * leased}{'=' * idle}".ljust(most, ".")
        self.tell("cache", f"[{bar}] {leased} MiB leased, {idle} not")

    @property
    def went_well(self) -> bool:
        """Whether the sidecar kept what it promises."""
        return not self.touched and not self.out_of_order

    def summary(self) -> str:
        """What there is to say at the end."""
        in_order = self.evicted - self.out_of_order
        evicted = (
            f"{self.evicted} folders evicted ({_mib(self.reclaimed_bytes)}), {in_order} in the order of their last use"
        )
        return (
            f"In {self._clock() - self._began_at:.0f} s: {self.jobs} jobs; {evicted}.\n"
            f"{self.touched} leased folders touched: each job looked for its files before it released its lease."
        )


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.1f} MiB"

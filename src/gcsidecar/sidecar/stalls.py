"""How long tasks have waited for disks or memory, as the kernel counts it (pressure stall information).

Files are read when somebody asks; nothing is kept, and what the kernel doesn't have is left out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

RESOURCES = ("io", "memory")
HOST, CGROUP = "host", "cgroup"
_MICROSECOND = 1e-6


@dataclass(frozen=True, slots=True)
class Stall:
    """How long tasks waited for one resource.

    Attributes:
        resource: `io` or `memory`.
        scope: Whose tasks: those of a `cgroup` or of the `host`.
        waiting_seconds: While some waited, in all.
        stalled_seconds: While all that had work waited at once, in all.
    """

    resource: str
    scope: str
    waiting_seconds: float
    stalled_seconds: float


def stalls(cgroup: str | None, proc: str = "/proc", mount: str = "/sys/fs/cgroup") -> tuple[Stall, ...]:
    """What there is, by resource: of the cgroup named, else of our own, else of the host.

    Args:
        cgroup: The directory of a cgroup; `host` is the whole machine; none is our own.
        proc: Where the kernel shows processes.
        mount: Where it shows cgroups of version 2.
    """
    directories = () if cgroup == HOST else tuple(filter(None, (cgroup, _own(proc, mount))))
    found = (_stall(resource, directories, proc) for resource in RESOURCES)
    return tuple(stall for stall in found if stall is not None)


def _stall(resource: str, directories: tuple[str, ...], proc: str) -> Stall | None:
    """The first that there is; a cgroup of version 1 has no such file."""
    places = [(CGROUP, f"{directory}/{resource}.pressure") for directory in directories]
    places.append((HOST, f"{proc}/pressure/{resource}"))
    return next(filter(None, (_read(resource, scope, path) for scope, path in places)), None)


def _own(proc: str, mount: str) -> str | None:
    """The directory of our own cgroup of version 2; none for the topmost, which is the whole host and has no type."""
    for line in _text(f"{proc}/self/cgroup").splitlines():
        if line.startswith("0::/"):
            directory = os.path.normpath(mount + line.removeprefix("0::"))
            return directory if os.path.exists(f"{directory}/cgroup.type") else None
    return None


def _read(resource: str, scope: str, path: str) -> Stall | None:
    """The totals in one file; none where it isn't there, or where the kernel was started without."""
    totals = dict(filter(None, map(_total, _text(path).splitlines())))
    if "some" not in totals:
        return None
    return Stall(resource, scope, totals["some"], totals.get("full", 0.0))


def _total(line: str) -> tuple[str, float] | None:
    """As `some avg10=0.00 avg60=0.00 avg300=0.00 total=12345`, in microseconds."""
    kind, _, rest = line.partition(" ")
    total = rest.rpartition("total=")[2]
    return (kind, int(total) * _MICROSECOND) if total.isdecimal() else None


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""

"""What a process and its children have in memory and have taken of the processors, by what `/proc` says.

Nothing is started or ended here.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
# cutime and cstime, counted from what follows the name in brackets.
_OF_CHILDREN = slice(13, 15)
# Each process has a clock that others may read; its number is made as `clock_getcpuclockid(3)` makes it.
_SCHEDULED = 2


def family(pid: int) -> list[int]:
    """A process, its children, their children, and so on, as they are now."""
    found = [pid]
    for one in found:  # which grows on the way
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found.extend(map(int, (task / "children").read_text().split()))
    return found


def rss_bytes(pid: int) -> int:
    """What a process and its children have in memory now; what they share counts once for each."""
    return sum(map(_rss_bytes, family(pid)))


def cpu_seconds(pid: int) -> float:
    """What a process and its children have run so far, all threads; of children that ended, if they were waited for.

    To the nanosecond for processes that live, and to a tick for those that have ended.
    """
    return sum(map(_cpu_seconds, family(pid)))


def _rss_bytes(pid: int) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        found = re.search(r"^VmRSS:\s*(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found is not None else 0
    return 0


def _cpu_seconds(pid: int) -> float:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return _clock_seconds(pid) + sum(map(int, fields[_OF_CHILDREN])) / _TICKS
    return 0.0


def _clock_seconds(pid: int) -> float:
    """What all threads of a process have run, those that have ended included, by its own clock."""
    try:
        return time.clock_gettime(~pid << 3 | _SCHEDULED)
    except OSError as error:  # the kernel's word for a process that is gone
        raise ProcessLookupError from error

"""What runs in a process that measures: it takes names, gives back figures, and keeps its pace; it decides nothing.

It imports as little as it can, since each of its megabytes is the sidecar's, too.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import closing

from gcsidecar.cache.surveying.pace import Pace
from gcsidecar.cache.surveying.wire import ALIVE, decode_names, encode_answer
from gcsidecar.cache.walking.bulk import Bulk
from gcsidecar.cache.walking.walk import Walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsidecar.cache.surveying.wire import Totals

CHUNK = 1024
# Answers are sent when so many are there, when the last were sent so long ago, or when there is nothing else to do.
BATCH_ANSWERS = 64
BATCH_SECONDS = 0.1
SHORTEST_REST_SECONDS = 0.1
NICE = 10
_RECEIVED_BYTES = 1 << 16
_IN, _OUT = 0, 1
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
# <linux/ioprio.h>; the C library has no function for it, and each machine a number of its own.
_IOPRIO_WHO_PROCESS, _IOPRIO_IDLE = 1, 3 << 13
_SYS_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "armv7l": 314, "ppc64le": 273, "s390x": 282}


class Worker:
    """Measures folders of one root until there are no more names to come.

    Args:
        root_fd: The root.
        atime: Also find newest access times.
        pace: How much of its time it may work.
    """

    def __init__(self, root_fd: int, pace: Pace, *, atime: bool) -> None:
        self._root_fd, self._atime, self._pace = root_fd, atime, pace
        self._answers: list[bytes] = []
        self._sent_at = time.monotonic()
        self._bulk: Bulk | None = None
        try:
            # Nobody else waits for the lock that a call would let go of.
            self._bulk = Bulk(ctypes.PyDLL, CHUNK)
        except OSError:  # walks do without
            return

    def run(self) -> None:
        """Measure, and answer."""
        for names in self._received():
            self._pace.begin()
            for name in names:
                at = time.time()
                self._answers.append(encode_answer(at, self._measure(name)))
                if len(self._answers) >= BATCH_ANSWERS or time.monotonic() >= self._sent_at + BATCH_SECONDS:
                    self._send()
            self._send()

    def _received(self) -> Iterator[list[str]]:
        rest = b""
        while received := os.read(_IN, _RECEIVED_BYTES):
            names, rest = decode_names(rest + received)
            yield names

    def _measure(self, name: str) -> Totals | None:
        try:
            walk, counted = Walk(atime=self._atime, bulk=self._bulk), 0
            with closing(walk.begin(self._root_fd, name)) as descent:
                while descent.levels:
                    walk.step(descent, self._pace.chunk)
                    if walk.entries - counted >= self._pace.chunk:
                        self._pause(walk.entries - counted)
                        counted = walk.entries
        except (OSError, ValueError):
            return None
        self._pause(walk.entries - counted)
        return walk.figures.totals()

    def _pause(self, entries: int) -> None:
        """Rest, if it has to, and show that there is still somebody here."""
        rest_seconds = self._pace.rest_seconds(entries)
        if rest_seconds or time.monotonic() >= self._sent_at + 1.0:
            self._answers.append(ALIVE)
            self._send()
        while rest_seconds > 0.0:
            part_seconds = min(rest_seconds, 1.0)
            time.sleep(part_seconds)
            rest_seconds -= part_seconds

    def _send(self) -> None:
        data = memoryview(b"".join(self._answers))
        self._answers.clear()
        while data:
            data = data[os.write(_OUT, data) :]
        self._sent_at = time.monotonic()


def main(arguments: list[str]) -> None:
    """Measure for the process that started this one, and end with it.

    Args:
        arguments: The parent's process number, the root's descriptor; whether access times are asked for, and whether
            to be idle (0 or 1); entries a second, 0 for any number; the share of its time.
    """
    parent, root_fd, atime, idle, entries_per_second, share = arguments
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):  # it ended before that
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; what the parent makes of it counts
    _step_back(is_idle=idle == "1")
    try:
        pace = Pace(float(entries_per_second) or None, float(share), SHORTEST_REST_SECONDS, CHUNK)
        Worker(int(root_fd), pace, atime=atime == "1").run()
    except BrokenPipeError:
        return


def _step_back(*, is_idle: bool) -> None:
    """Let others go first; where that is refused, it isn't worth failing for."""
    try:
        if not is_idle:
            os.nice(NICE)
            return
        number = _SYS_IOPRIO_SET.get(os.uname().machine) if sys.maxsize > 1 << 32 else None
        if number is not None:
            ctypes.CDLL(None).syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_IDLE)
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:
        return

"""Python reads this at its start where PYTHONPATH says so: the calendar's clock of the process is off by so much.

A jump of the real clock would be one for the whole machine. The kernel still writes the true time into files; who
touches one, as the heartbeat does, has it say what this clock says. The clock that never jumps is left alone.
"""

import mmap
import os
import struct
import time

with open(os.environ["GCSIDECAR_TEST_CALENDAR"], "rb") as _file:
    _offset = mmap.mmap(_file.fileno(), 8, prot=mmap.PROT_READ)

_time, _time_ns, _utime = time.time, time.time_ns, os.utime


def _seconds() -> float:
    (seconds,) = struct.unpack("d", _offset)
    return float(seconds)


def _utime_now(path, times=None, *, ns=None, **keywords):  # type: ignore[no-untyped-def]  # noqa: ANN001,ANN003,ANN202
    if times is None and ns is None:
        times = (time.time(), time.time())
    if times is not None:
        return _utime(path, times, **keywords)
    return _utime(path, ns=ns, **keywords)


time.time = lambda: _time() + _seconds()
time.time_ns = lambda: _time_ns() + int(_seconds() * 1e9)
os.utime = _utime_now

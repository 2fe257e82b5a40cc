"""Processes that hold a lock or have something open, until they are told to let go."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# What a process does with a file before it says that it is ready.
FLOCK = "fcntl.flock(open(path, 'a'), fcntl.LOCK_EX)"
LOCKS = {
    "flock": FLOCK,
    "posix": "fcntl.lockf(open(path, 'a'), fcntl.LOCK_EX)",
    "posix, shared": "fcntl.lockf(open(path), fcntl.LOCK_SH)",
    "posix, one byte": "fcntl.lockf(open(path, 'a'), fcntl.LOCK_EX, 1, 1 << 40)",
    "open file description": "fcntl.fcntl(open(path, 'a'), fcntl.F_OFD_SETLK, struct.pack('hhqqi4x', 1, 0, 0, 0, 0))",
    "filelock": "import filelock; lock = filelock.FileLock(path); lock.acquire()",
}
_HEAD = """
import fcntl, mmap, os, struct, sys
path, kept, _open = sys.argv[1], [], open
def open(*args):
    kept.append(_open(*args))
    return kept[-1]
"""


@contextmanager
def process(does: str, path: object, *, under: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """One that has done something with a path, and lives to the end of the block, or until its input ends."""
    code = f"{_HEAD}{does}\nprint('ready', flush=True); sys.stdin.read()"
    child = subprocess.Popen([*under, sys.executable, "-c", code, str(path)], stdin=-1, stdout=-1)
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        assert child.stdout.readline() == b"ready\n"
        yield child
    finally:
        child.stdin.close()
        child.wait()
        child.stdout.close()


def let_go(child: subprocess.Popen[bytes]) -> None:
    """Let a process end, and wait for that."""
    assert child.stdin is not None
    child.stdin.close()
    child.wait()

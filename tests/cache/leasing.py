"""Leases of gcsidecar's own client, made by hand so that tests can say anything in them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gcsidecar.contract import Holder

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
OTHER_BOOT_ID = "00000000-0000-4000-8000-000000000000"

# Takes a lease on the folder as the client does, and says so; whatever follows is a command that inherits it.
HOLD = """
import fcntl, os, subprocess, sys, time
folder, name, text, *command = sys.argv[1:]
fd = os.open(f"{folder}/new", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
os.write(fd, text.encode())
fcntl.flock(fd, fcntl.LOCK_EX)
os.rename(f"{folder}/new", f"{folder}/{name}")
os.set_inheritable(fd, True)
if command:
    print(subprocess.Popen(command, close_fds=False, stdout=subprocess.DEVNULL).pid, flush=True)
else:
    print(0, flush=True)
time.sleep(100)
"""


def holder(folder: Path, **other: Any) -> Holder:
    """Who says that he is this process, here and now, with a lock; and whatever differs."""
    said: dict[str, Any] = {
        "pid": os.getpid(),
        "started": 1,
        "boot_id": BOOT_ID,
        "device": folder.stat().st_dev,
        "pid_namespace": 1,
        "mount_namespace": 2,
        "host": "builder-7",
        "purpose": "pip",
        "at": time.time(),
        "ttl_seconds": None,
        "locked": True,
    }
    return Holder(**(said | other))


def put(folder: Path, name: str = ".lease.x", **other: Any) -> Path:
    """A lease file that nobody has locked."""
    lease = folder / name
    lease.write_bytes(holder(folder, **other).encoded())
    return lease


@contextmanager
def locked(lease: Path) -> Iterator[int]:
    """Somebody holds the lock on it. (It goes by open files, not by processes, so this one can be the holder.)"""
    fd = os.open(lease, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield fd
    finally:
        os.close(fd)


class Process:
    """A real process that holds a lease, and perhaps a child of it that inherited that."""

    def __init__(self, folder: Path, *command: str, name: str = ".lease.x", **other: Any) -> None:
        self.lease = folder / name
        text = holder(folder, **other).encoded().decode()
        arguments = [sys.executable, "-c", HOLD, str(folder), name, text, *command]
        self._process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.child = int(self._process.stdout.readline())
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()

    def kill(self) -> None:
        """By SIGKILL; returns when it is gone."""
        self._process.kill()
        self._process.wait()

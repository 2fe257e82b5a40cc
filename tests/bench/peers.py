"""Other programs on the same work: run to their end, and what they took."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.process import STATE, BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """What a program took, from its start to its end.

    Attributes:
        seconds: By the clock.
        cpu_seconds: Of the processors.
    """

    seconds: float
    cpu_seconds: float


def run(command: Sequence[str]) -> Run:
    """Run a program; what it prints is thrown away.

    Raises:
        BenchError: It failed.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchError(f"{' '.join(command)} ended with status {process.returncode}")
    return Run(seconds, used.ru_utime + used.ru_stime)


def du(path: Path, prefix: Sequence[str] = ()) -> Run:
    """`du -s`, which reads the same directories and asks for the same sizes."""
    return run((*prefix, "du", "-s", str(path)))


def du_bytes(root: Path) -> int:
    """What `du` says the folders of a root take, without the root itself and what the sidecar keeps in it."""
    whole = _du_bytes(root) - os.stat(root).st_blocks * 512
    return whole - (_du_bytes(root / STATE) if (root / STATE).is_dir() else 0)


def _du_bytes(path: Path) -> int:
    command = ("du", "-s", "--block-size=1", str(path))
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])

"""One run of spin: a program made of the model for one configuration explores its states, and says what it found.

What is explored, and what is to come of it, stands in `table.py`.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import needs

MODEL = Path(__file__).with_name("lease.pml")
# Longer than any path through the model; one that is cut off is an error.
_DEPTH = 200_000
_MEMORY_MIB = 6000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one configuration.

    Attributes:
        violated: What doesn't hold, as spin says it; none where all does.
        states: How many were explored, until then.
        seconds: How long that took, compiling included.
    """

    violated: str | None
    states: int
    seconds: float

    def __str__(self) -> str:
        return f"{'holds' if self.violated is None else 'fails'} {self.states:>11,} states {self.seconds:7.1f} s"


def explore(configuration: str, *, optimised: bool) -> Verdict:
    """Explore the model until it fails, or to its end.

    Args:
        configuration: Names to define, as in `CAREFUL SIMPLE R=2`.
        optimised: Whether to take more time for the making of the program, and less for its run.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gcsidecar-spin-") as directory:
        defined = [f"-D{name}" for name in configuration.split()]
        _run(directory, needs.program("spin"), "-a", *defined, str(MODEL))
        # Spin's programs are not free of warnings.
        options = ["-O1" if optimised else "-O0", "-w", "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={_MEMORY_MIB}"]
        _run(directory, needs.program("gcc"), *options, "-o", "pan", "pan.c")
        said = _run(directory, "./pan", f"-m{_DEPTH}", "-n")
    return _read(said, time.monotonic() - began)


def _run(directory: str, *command: str) -> str:
    run = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} exited with {run.returncode}: {run.stdout}{run.stderr}")
    return run.stdout


def _read(said: str, seconds: float) -> Verdict:
    if "max search depth too small" in said or "memory limit" in said or "errors: " not in said:
        raise RuntimeError(f"not all was explored: {said}")
    states = re.search(r"(\S+) states, stored", said)
    violated = re.search(r"^pan:1: (.*) \(at depth", said, re.MULTILINE)
    assert states is not None
    assert (violated is None) == ("errors: 0" in said)
    return Verdict(violated[1] if violated else None, int(float(states[1])), seconds)

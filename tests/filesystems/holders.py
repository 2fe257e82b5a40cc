"""Who holds leases in these tests."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

HOLD = """
import gcsidecar, sys
with gcsidecar.lease(sys.argv[1], ttl=float(sys.argv[2]) if sys.argv[2:] else None):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(
    folder: Path, *, ttl_seconds: float | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A lease of our client, in a process of its own, until the end of the block or that of the process."""
    command = [sys.executable, "-c", HOLD, str(folder), *([str(ttl_seconds)] if ttl_seconds else [])]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()

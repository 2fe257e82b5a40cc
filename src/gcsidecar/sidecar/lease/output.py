"""What the `lease` commands say: to stdout what was asked for, to stderr what went wrong, a line each."""

from __future__ import annotations

import os
import sys

from gcsidecar.cache.names import shown


def write(text: str) -> None:
    """Write to stdout: as bytes, since a path need not be text, and at once, so that what fails fails here.

    Raises:
        OSError: Nobody reads it, or there is no room for it.
    """
    left = os.fsencode(text)
    while left:
        left = left[os.write(sys.stdout.fileno(), left) :]


def complain(problem: object) -> None:
    """Say what went wrong, on one line whatever names are in it."""
    print(f"gcsidecar: {shown(str(problem))}", file=sys.stderr)

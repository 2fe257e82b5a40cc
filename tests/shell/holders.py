"""All kinds of clients as they are really used, each holding a folder until it is told to let go.

And a sidecar, to see what it makes of them.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from cache.helpers import opened
from gcsidecar.gc.errors import DisposableInUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

COMMAND = [sys.executable, "-m", "gcsidecar.sidecar.cli"]
LEASE = [*COMMAND, "lease"]
# Says that it runs, and ends with its input.
WAITING = ["sh", "-c", "echo held; exec cat"]
# The first lines of docs/leases.md, for a folder that is there.
BY_HAND = """
F=$1
L=$(mktemp "$F/.lease.XXXXXX") || exit 75
trap 'rm -f "$L"' EXIT
test -e "$L" || { sleep 1; exit 75; }
echo held
cat >/dev/null
"""
IN_PYTHON = """
import sys, gcsidecar
with gcsidecar.lease(sys.argv[1], purpose="a test"):
    print("held", flush=True)
    sys.stdin.read()
"""


def shell(script: str, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """A script that has ended, with `words` as its `$1`..."""
    return run("sh", "-c", script, "sh", *words, **options)


def run(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """A program that has ended."""
    command = [str(word) for word in words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


def lease(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """`gcsidecar lease ...`, ended."""
    return run(*LEASE, *words, **options)


@contextlib.contextmanager
def running(*words: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program that has said so when it holds the folder, until the end of the block; then its input ends."""
    process = subprocess.Popen(
        [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )
    with process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()


@contextlib.contextmanager
def acquired(folder: Path, *options: object) -> Iterator[str]:
    """`lease acquire`, and in the end `lease release`; gives the lease file's path."""
    taken = lease("acquire", folder, "--print", *options)
    assert taken.returncode == 0, taken.stderr
    file = taken.stdout.removesuffix("\n")
    try:
        yield file
    finally:
        assert lease("release", file).returncode == 0


HOLDERS: dict[str, Callable[[Path], AbstractContextManager[object]]] = {
    "by hand": lambda folder: running("sh", "-c", BY_HAND, "sh", folder),
    "flock": lambda folder: running("flock", "-s", folder, *WAITING),
    "python": lambda folder: running(sys.executable, "-c", IN_PYTHON, folder),
    "run": lambda folder: running(*LEASE, "run", folder, "--", *WAITING),
    "exec": lambda folder: running(*LEASE, "exec", folder, "--", *WAITING),
    "acquire": acquired,
}


def kept(path: Path, name: str, **keys: Any) -> str | None:
    """Why a sidecar that is to evict a folder keeps it; none: it has gone."""
    with opened(path, **keys) as root:
        folder = root.census.get(name)
        assert folder is not None
        try:
            folder.dispose()
        except DisposableInUseError as error:
            return error.reason
    return None


def lease_files(folder: Path) -> list[str]:
    """The names of the lease files in a folder."""
    return sorted(path.name for path in folder.glob(".lease*"))

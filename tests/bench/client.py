"""What a short job pays for a lease: the import of the client, and to take a lease and release it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import gcsidecar
from bench.places import IS_ROOT, directory
from bench.row import LeftOut, Row, peer
from bench.samples import seconds
from cache.helpers import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.ground import Ground

LEASE_GOAL_SECONDS = 100e-6
IMPORT_GOAL_SECONDS = 0.015
LEASES = 3000
RUNS = 25
_SIZE_BYTES = 64 << 20
_IMPORT = "import gcsidecar; gcsidecar.lease"
_LEASE_ROW = "acquire and release a lease from Python, tmpfs"


def rows(ground: Ground) -> Iterator[Row | LeftOut]:
    """A lease on a folder that is there, and the import, with and without compiled modules."""
    if IS_ROOT:
        with ground.memory(_SIZE_BYTES) as root, opened(root):
            yield _lease(root / "project")
    else:
        yield LeftOut(_LEASE_ROW, "without root no tmpfs of its own can be mounted")
    yield _import("the client's import over bare Python", "import", os.environ)
    with directory() as path:
        yield _import("the client's import over bare Python, not compiled", "import-uncompiled", _uncompiled(path))


def _lease(folder: Path) -> Row:
    folder.mkdir()
    _take(folder)  # what is read once in a process has been read
    taken = [(_seconds(lambda: _take(folder)), _seconds(lambda: _mkstemp(folder))) for _ in range(LEASES)]
    ours, plain = (seconds(values) for values in zip(*taken, strict=True))
    return Row(
        _LEASE_ROW,
        ours.median,
        "s",
        "median",
        LEASE_GOAL_SECONDS,
        f"p99 {ours.quantile(0.99) * 1e6:.3g} us, {ours.spread()}",
        (peer("mkstemp, close, stat and unlink: a plain lease", plain),),
        key="client-lease",
    )


def _import(what: str, key: str, environment: Mapping[str, str]) -> Row:
    for code in ("pass", _IMPORT):
        _python(code, environment)
    taken = [(_python("pass", environment), _python(_IMPORT, environment)) for _ in range(RUNS)]
    more = seconds(ours - bare for bare, ours in taken)
    bare = seconds(bare for bare, _ in taken)
    return Row(
        what,
        more.median,
        "s",
        "median",
        IMPORT_GOAL_SECONDS,
        more.spread(),
        (peer("bare Python, start to end", bare),),
        "the difference between two processes that are started one after the other",
        key=f"client-{key}",
    )


def _take(folder: Path) -> None:
    gcsidecar.lease(folder).release()


def _mkstemp(folder: Path) -> None:
    """As `mktemp`, `test -e` and `rm -f` do it."""
    fd, path = tempfile.mkstemp(prefix=".lease.", dir=folder)
    os.close(fd)
    os.stat(path)
    os.unlink(path)


def _uncompiled(path: Path) -> dict[str, str]:
    """Where our modules are as they were written, and Python's own are compiled."""
    package = Path(gcsidecar.__file__).parent
    shutil.copytree(package, path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    ours = {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    return {key: value for key, value in os.environ.items() if key != "PYTHONPYCACHEPREFIX"} | ours


def _python(code: str, environment: Mapping[str, str]) -> float:
    return _seconds(lambda: subprocess.run((sys.executable, "-c", code), check=True, env=environment))


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began

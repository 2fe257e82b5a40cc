"""A writer at full speed on a filesystem in memory: whether it ever meets a full one, and whether what is leased stays.

Beside it the loop that many a cache is cleaned with: each second `df`, then `rm -rf` of the oldest folders.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.process import Process, running, sidecar_on
from bench.row import Peer, Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.ground import Ground

SIZE_BYTES = 2 << 30
FILES, FILE_BYTES = 16, 4 << 20
SECONDS = 60
# Leased all the time, and used before all others.
LEASED = 4
# Looks for leases as `ls` shows them, and goes on down to the default target.
LOOP = """
cd "$1" || exit
while sleep 1; do
    for folder in $(ls -tr); do
        [ "$(df --output=pcent . | tail -n 1 | tr -dc 0-9)" -gt "$limit" ] || break
        limit=75
        [ -e "$folder/.lease" ] || rm -rf "./$folder"
    done
    limit=80
done
"""
_BACK_OFF_SECONDS = 0.05


@dataclass(slots=True)
class _Flood:
    """What the writer has met so far."""

    written_bytes: int = 0
    folders: int = 0
    full: int = 0  # ENOSPC
    touched: int = 0  # leased folders that were not whole
    least_free: float = 1.0
    seconds: float = 0.0


def rows(ground: Ground) -> Iterator[Row]:
    """With the sidecar, then with the loop."""
    length_seconds = ground.few(SECONDS, least=3)
    with ground.memory(SIZE_BYTES) as root, sidecar_on(root, min_age="0s") as sidecar:
        sidecar.await_ready()
        ours = _flood(root, length_seconds)
    with ground.memory(SIZE_BYTES) as root, running(Process(("sh", "-c", f"limit=80{LOOP}", "sh", str(root)))):
        theirs = _flood(root, length_seconds)
    loop = "a shell loop: each second `df`, then `rm -rf` of the oldest without `.lease`"
    what = (
        f"a writer at full speed for {length_seconds} s, tmpfs of {SIZE_BYTES >> 30} GiB, folders of "
        f"{FILES * FILE_BYTES >> 20} MiB"
    )
    yield Row(
        f"{what}: no space left on device",
        ours.full,
        "",
        "count",
        0.0,
        _spread(ours),
        (Peer(loop, theirs.full, spread=_spread(theirs)),),
        "the default thresholds, `min_age: 0s` (a tmpfs of this size fills in a few seconds); whoever meets a full "
        f"filesystem gives that folder up, and tries again {_BACK_OFF_SECONDS * 1e3:.0f} ms later",
        key="flood-full",
    )
    yield Row(
        f"{what}: leased folders touched",
        ours.touched,
        "",
        "count",
        0.0,
        f"of {ours.folders + LEASED:,}",
        (Peer(loop, theirs.touched, spread=f"of {theirs.folders + LEASED:,}"),),
        f"{LEASED} folders that are leased from the beginning, used before all others, and each that is being written: "
        "they have all their files, whole, until the lease is removed",
        key="flood-leased",
    )


def _spread(flood: _Flood) -> str:
    rate = flood.written_bytes / flood.seconds / 1e9
    return f"{rate:.2g} GB/s, {flood.folders:,} folders, at least {flood.least_free:.1%} free"


def _flood(root: Path, length_seconds: float) -> _Flood:
    flood, content = _Flood(), bytes(FILE_BYTES)
    held = [root / f"held-{number}" for number in range(LEASED)]
    for folder in held:
        _write(root, folder, content, flood)
    began = time.monotonic()
    while time.monotonic() < began + length_seconds:
        folder = root / f"project-{flood.folders:06}"
        flood.folders += 1
        try:
            _write(root, folder, content, flood)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            flood.full += 1
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(_BACK_OFF_SECONDS)
        else:
            flood.touched += not _is_whole(folder)
            (folder / ".lease").unlink()
    flood.seconds = time.monotonic() - began
    flood.touched += sum(not _is_whole(folder) for folder in held)
    return flood


def _write(root: Path, folder: Path, content: bytes, flood: _Flood) -> None:
    """Write a folder under a lease, which stays."""
    folder.mkdir()
    (folder / ".lease").touch()
    for number in range(FILES):
        (folder / f"file-{number:02}").write_bytes(content)
        flood.written_bytes += len(content)
        found = os.statvfs(root)
        flood.least_free = min(flood.least_free, found.f_bavail / found.f_blocks)


def _is_whole(folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        sizes = [file.stat().st_size for file in folder.iterdir() if file.name != ".lease"]
        return (folder / ".lease").exists() and sizes == [FILE_BYTES] * FILES
    return False

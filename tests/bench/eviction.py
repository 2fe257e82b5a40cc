"""The eviction of many small folders by the running sidecar, beside `rm -rf` of the same."""

from __future__ import annotations

import datetime as dt
import os
import re
import time
from typing import TYPE_CHECKING

from bench import peers
from bench.deletion import DISK_IN_MEMORY, Tree, filesystem_name
from bench.places import directory, free_port, write_config
from bench.process import STATE, BenchError, Sidecar, running
from bench.row import LeftOut, Row, peer
from bench.samples import Samples, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.ground import Ground

GOAL_RATIO_DISK, GOAL_RATIO_TMPFS = 1.3, 2.0
FOLDERS, FILES, FILE_BYTES = 10_000, 20, 1024
RUNS = 5
_MEMORY_BYTES = 6 << 30
_POLL_SECONDS = 0.002
_PATIENCE_SECONDS = 300.0
# All are used at one time, and measured before so long after it, when they are to go.
_MAX_IDLE_SECONDS = 8


def rows_in_memory(ground: Ground) -> Iterator[Row]:
    """On a tmpfs."""
    with ground.memory(_MEMORY_BYTES) as place:
        yield _row(place, "tmpfs", GOAL_RATIO_TMPFS, ground)


def rows_on_disk(ground: Ground) -> Iterator[Row | LeftOut]:
    """Where temporary directories are."""
    with directory() as place:
        kind = filesystem_name(place)
        if kind == "tmpfs":
            yield LeftOut("evicting on disk", DISK_IN_MEMORY)
        else:
            yield _row(place, f"disk ({kind})", GOAL_RATIO_DISK, ground)


def _row(place: Path, where: str, goal_ratio: float, ground: Ground) -> Row:
    tree = Tree("", "", ground.few(FOLDERS), FILES, FILE_BYTES)
    taken = [(_ours(tree, place), _rm(tree, place)) for _ in range(RUNS)]
    ours, rm = (seconds(values) for values in zip(*taken, strict=True))
    ratios = Samples(tuple(one / other for one, other in taken), "x")
    return Row(
        f"evicting {tree.folders:,} folders of {FILES} files of {FILE_BYTES >> 10} KiB, {where}",
        ours.median,
        "s",
        "median",
        None,
        ours.spread(),
        (peer("`rm -rf` of the same", rm),),
        "by the running sidecar, which has measured all of them; from the line `planned` in its log, since all are "
        f"idle for longer than `max_idle: {_MAX_IDLE_SECONDS}s`, to the last of them gone, `.gcsidecar/condemned/` "
        "included. In turn, each on a tree just made and synced; the ratios of the pairs are "
        f"{ratios.spread()}, median {ratios.median:.3g}",
        key=f"eviction-{where.partition(' ')[0]}",
        goal_ratio=goal_ratio,
    )


def _rm(tree: Tree, place: Path) -> float:
    root = place / "root"
    tree.make(root)
    return peers.run(("rm", "-rf", "--", str(root))).seconds


def _ours(tree: Tree, place: Path) -> float:
    root = place / "root"
    tree.make(root)
    with directory() as path:
        file, port = path / "config.yaml", free_port()
        spec = {"name": "bench", "path": str(root), "min_age": "0s", "max_idle": f"{_MAX_IDLE_SECONDS}s"}
        write_config(file, port, [spec])
        _use_now(root)
        sidecar = Sidecar(file, port)
        with running(sidecar):
            sidecar.await_ready()
            sidecar.await_measured(tree.folders, seconds=_MAX_IDLE_SECONDS)
            ended = _await_empty(root)
            began = _planned_at(sidecar)
    peers.run(("rm", "-rf", "--", str(root)))
    return ended - began


def _use_now(root: Path) -> None:
    now = time.time()
    for folder in root.iterdir():
        os.utime(folder, (now, now))


def _await_empty(root: Path) -> float:
    """When all folders were gone (POSIX seconds), and nothing was left of them."""
    until = time.time() + _PATIENCE_SECONDS
    # A directory has a link for each one in it, and two of its own: to ask for them costs nothing, however many.
    while (links := os.stat(root).st_nlink) > 3 or _condemned(root):
        if time.time() > until:
            raise BenchError(f"{links} folders are still there after {_PATIENCE_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
    return time.time()


def _condemned(root: Path) -> bool:
    """Whether something of a folder is left in any of the slots."""
    condemned = root / STATE / "condemned"
    return any(os.listdir(slot) for slot in condemned.iterdir())


def _planned_at(sidecar: Sidecar) -> float:
    found = re.search(r"^time=(\S+) .*event=planned ", sidecar.log.read_text(), re.MULTILINE)
    if found is None:
        raise BenchError("its log says of no plan")
    return dt.datetime.fromisoformat(found[1]).timestamp()

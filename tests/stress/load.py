"""Eight clients on one root, of which any may be killed; what they did and met, in sum."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gcsidecar.contract import STATE_DIRECTORY

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

KINDS = ("careful", "simple") * 4


class Load:
    """The clients; all end with it.

    Args:
        directory: Where what they say is kept.
        root: What they work on.
        chance: What is chosen by it.
    """

    def __init__(self, directory: Path, root: Path, chance: random.Random) -> None:
        self._directory, self._root, self._chance = directory, root, chance
        self._clients: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._dead: set[int] = set()
        self._logs: dict[subprocess.Popen[bytes], Path] = {}
        self.kills = 0

    def __enter__(self) -> Self:
        for kind in KINDS:
            self._clients.append(self._started(kind))
        return self

    def __exit__(self, *_error: object) -> None:
        for _, process in self._clients:
            self._end(process)
        self.sweep()

    def kill_one(self) -> None:
        """By SIGKILL, amid whatever it does; another one takes its place."""
        place = self._chance.randrange(len(self._clients))
        kind, process = self._clients[place]
        assert process.poll() is None, f"a client failed: {self._logs[process].read_text()}"
        self._end(process)
        self.kills += 1
        self._clients[place] = self._started(kind)

    def sweep(self) -> None:
        """Remove the bare leases of the dead, as somebody has to, in parked folders too."""
        for folders in ("*", f"{STATE_DIRECTORY}/evicting/*/*"):
            for path in glob.glob(f"{glob.escape(str(self._root))}/{folders}/.lease.*.*"):
                if int(path.split(".")[-2]) in self._dead:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path)

    def did(self) -> Counter[str]:
        """What all did in sum, but for the last moments of those that were killed."""
        total: Counter[str] = Counter()
        for log in self._logs.values():
            said = [line for line in _lines(log) if "violation" not in line]
            total.update(said[-1] if said else {})
        return total

    def violations(self) -> list[str]:
        """All that was promised and not kept."""
        return [line["violation"] for log in self._logs.values() for line in _lines(log) if "violation" in line]

    def _started(self, kind: str) -> tuple[str, subprocess.Popen[bytes]]:
        log = self._directory / f"client{len(self._logs)}.log"
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
        command = [sys.executable, "-m", "stress.client", kind, str(self._root), str(self._chance.randrange(1 << 32))]
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        self._logs[process] = log
        self._dead.discard(process.pid)  # a number that is used again
        return kind, process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        self._dead.add(process.pid)


def _lines(log: Path) -> Iterator[dict[str, str]]:
    for line in log.read_text().splitlines():
        if line.startswith("{") and line.endswith("}"):
            yield json.loads(line)

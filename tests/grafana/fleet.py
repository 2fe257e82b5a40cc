"""A fleet to look at: four sidecars on small filesystems of their own, busy, with some trouble, and a Prometheus.

It is what the pictures in the docs show; tests ask `e2e.run`, in which more goes wrong in less time.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import needs
from e2e.harness import Sidecar, eventually
from e2e.prometheus import SCRAPE_SECONDS, Prometheus
from grafana.work import KIB, Job, Workers, old, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MIB = KIB << 10
HOUR, DAY = 3600.0, 86400.0
# Each is a tmpfs of its own: the size, and how many inodes it has.
FILESYSTEMS = {"builder-1": (320 * MIB, 20_000), "builder-2": (192 * MIB, 2400), "ci-small": (48 * MIB, 4000)}


class Fleet:
    """The processes, from start to end.

    Args:
        directory: Where everything lies.

    Attributes:
        prometheus: Scrapes all of them each second, and knows them by names in place of ports.
    """

    prometheus: Prometheus

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._undo = ExitStack()
        self._sidecars: dict[str, Sidecar] = {}

    def __enter__(self) -> Self:
        needs.root()
        try:
            for name, (size_bytes, inodes) in FILESYSTEMS.items():
                self._mount(self._directory / name, f"size={size_bytes},nr_inodes={inodes}")
            self._fill()
            self._start()
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._undo.close()

    def live(self, seconds: float) -> None:
        """Work for so long; a few things happen on the way."""
        began = time.monotonic()
        workers = self._undo.enter_context(Workers())
        for seed, job in enumerate(self._jobs()):
            workers.hire(job, seed)
        for share, happens in ((0.35, self._break_a_config), (0.55, self._mend_it), (0.7, self._restart)):
            time.sleep(max(0.0, began + share * seconds - time.monotonic()))
            happens()
        time.sleep(max(0.0, began + seconds - time.monotonic()))

    # Before

    def _mount(self, path: Path, options: str) -> None:
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)
        self._undo.callback(subprocess.run, ["umount", "--lazy", str(path)], check=True)

    def _fill(self) -> None:
        for where, root in ROOTS:
            (self._directory / where / root).mkdir()
        builds = self._job("builder-1/builds", 70, 512 * KIB, (2, 14), 1)
        old(builds, [10 * DAY / math.exp(number / 8) for number in range(44)])
        old(self._job("builder-1/toolchains", 5, MIB, (4, 9), 1), [2 * DAY, DAY, 6 * HOUR])
        self._pin("builder-1/toolchains/base-gcc", 24 * MIB)
        write(self._directory / "builder-1/database", 18 * MIB)
        self._pin("ci-small/jobs/base-image", 7 * MIB)
        abandoned = self._directory / "ci-small/jobs/abandoned"
        abandoned.mkdir()
        write(abandoned / "0", 4 * MIB)
        (abandoned / ".lease.gone").touch()
        os.utime(abandoned / ".lease.gone", (time.time() - HOUR, time.time() - HOUR))

    def _pin(self, path: str, size_bytes: int) -> None:
        (self._directory / path).mkdir()
        write(self._directory / path / "0", size_bytes)
        for made in (self._directory / path / "0", self._directory / path):
            os.utime(made, (0, time.time() - 30 * DAY))

    def _start(self) -> None:
        for name, config in self._configs().items():
            (self._directory / f"sidecar-{name}").mkdir()
            sidecar = Sidecar(self._directory / f"sidecar-{name}", config)
            self._sidecars[name] = self._undo.enter_context(sidecar)
        ports = {name: sidecar.port for name, sidecar in self._sidecars.items()}
        # The one that will be restarted has to be found again.
        self._sidecars["builder-2"].write(self._configs()["builder-2"] | {"listen": f"127.0.0.1:{ports['builder-2']}"})
        self.prometheus = self._undo.enter_context(Named(self._directory, ports))
        eventually(lambda: len(self.prometheus.query("up == 1")) == len(ports), "each was scraped once")

    def _configs(self) -> dict[str, dict[str, Any]]:
        thresholds = {"disk": {"min_free": "20%", "target_free": "30%"}, "inodes": {"min_free": "10%"}}
        found: dict[str, dict[str, Any]] = {}
        for (where, root), keys in ROOTS.items():
            place = {"name": root, "path": str(self._directory / where / root), "min_age": "3s", **keys}
            found.setdefault(where, {"thresholds": thresholds, "roots": []})["roots"].append(place)
        trial = [found["builder-2"]["roots"][0], {"name": "later", "path": str(self._directory / "ci-small/later")}]
        found["trial"] = {"thresholds": thresholds, "dry_run": True, "roots": trial}
        common = {"listen": "127.0.0.1:0", "log": {"format": "json"}}
        return {name: common | config for name, config in found.items()}

    # What happens

    def _jobs(self) -> list[Job]:
        return [
            *[self._job("builder-1/builds", 70, 512 * KIB, (2, 14), 5, 3) for _ in range(4)],
            self._job("builder-1/toolchains", 9, MIB, (4, 9), 7, 5),
            *[self._job("builder-2/models", 16, MIB, (4, 12), 7, 5) for _ in range(2)],
            *[self._job("builder-2/wheels", 40, 8 * KIB, (20, 90), 3) for _ in range(2)],
            self._job("builder-2/scratch", 30, 64 * KIB, (2, 8), 6),
            *[self._job("ci-small/jobs", 12, 512 * KIB, (6, 20), 2, 9) for _ in range(3)],
        ]

    def _job(self, where: str, projects: int, size: int, files: tuple[int, int], pause: float, hold: float = 1) -> Job:
        return Job(self._directory / where, projects, size, files, pause, hold)

    def _break_a_config(self) -> None:
        self._sidecars["ci-small"].write("roots: [")

    def _mend_it(self) -> None:
        self._sidecars["ci-small"].write(self._configs()["ci-small"])

    def _restart(self) -> None:
        self._sidecars["builder-2"].send(signal.SIGKILL)
        time.sleep(8)
        self._sidecars["builder-2"].__enter__()


class Named(Prometheus):
    """A Prometheus that knows its targets by name."""

    def __init__(self, directory: Path, ports: Mapping[str, int]) -> None:
        super().__init__(directory, *ports.values())
        targets = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": f"{name}:10977"}} for name, port in ports.items()
        ]
        seconds = f"{SCRAPE_SECONDS}s"
        config = {
            "global": {"scrape_interval": seconds, "scrape_timeout": seconds},
            "scrape_configs": [{"job_name": "gcsidecar", "static_configs": targets}],
        }
        # JSON is YAML, too.
        (directory / "prometheus/prometheus.yml").write_text(json.dumps(config))


# Each root: on which filesystem, its name, and what its config says.
ROOTS: dict[tuple[str, str], dict[str, Any]] = {
    ("builder-1", "builds"): {},
    ("builder-1", "toolchains"): {"keep": ["base-*"], "max_size": "60MiB", "max_folders": 6},
    ("builder-2", "models"): {"max_size": "90MiB"},
    ("builder-2", "wheels"): {"max_folders": 30},
    ("builder-2", "scratch"): {"max_idle": "40s"},
    ("ci-small", "jobs"): {"keep": ["base-*"], "lease": {"ttl": "30s"}},
}

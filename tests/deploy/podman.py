"""Podman with storage, configuration and locks of its own, so that nobody else's containers are touched; and pages of
the sidecars in its containers.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Any, Self

from prometheus_client.parser import text_string_to_metric_families

import needs

if TYPE_CHECKING:
    from pathlib import Path

# crun refuses the cgroups of some machines that runc takes; a host network needs no plugins; locks are files, since
# otherwise all of a machine's containers share one table, which a first start clears.
CONFIG = """\
[containers]
netns = "host"
default_ulimits = ["nofile={files}:{files}", "nproc=1000:1000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
image_default_format = "docker"
"""


class Podman:
    """One storage of images and containers, emptied in the end.

    Args:
        directory: Where it is to be.
    """

    def __init__(self, directory: Path) -> None:
        needs.root()
        for program in ("podman", "runc", "catatonit"):
            needs.program(program)
        self._directory = directory
        self._root = directory / "root"
        self.command = [
            shutil.which("podman") or "podman",
            f"--root={self._root}",
            f"--runroot={directory / 'run'}",
            f"--tmpdir={directory / 'tmp'}",
        ]
        config = directory / "containers.conf"
        config.write_text(CONFIG.format(files=min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
        # Its timers for health checks would be systemd's; tests ask for themselves.
        self.environment = os.environ | {"CONTAINERS_CONF": str(config), "DISABLE_HC_SYSTEMD": "true"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self("pod", "rm", "--all", "--force", "--time=0")
        self("rm", "--all", "--force", "--time=0", "--volumes")
        self("volume", "rm", "--all", "--force")
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            left = [line.split()[1] for line in mounts if line.split()[1].startswith(str(self._directory))]
        for path in reversed(left):
            subprocess.run(["umount", path], check=True)
        shutil.rmtree(self._directory)

    def __call__(self, *words: object, status: int = 0) -> str:
        """What a command prints; the test fails where it ends with another status."""
        command = [*self.command, *map(str, words)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def inspect(self, name: str) -> dict[str, Any]:
        """All that is known of a container or an image."""
        (found,) = json.loads(self("inspect", name))
        return dict(found)

    def pid(self, name: str) -> int:
        """Of a container's first process; 0 where it has ended."""
        return int(self.inspect(name)["State"]["Pid"])

    def logs(self, name: str) -> str:
        """What a container has written, to stdout and stderr alike."""
        command = [*self.command, "logs", name]
        done = subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
        )
        return done.stdout


class Pages:
    """What a sidecar in a container serves on a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """Whether `/readyz` says so."""
        return self.get("/readyz")[0] == 200

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric's series; 0 where nobody answers."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = [sample for family in families for sample in family.samples]
        return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

"""What a sidecar does when the holder of a lease is killed: the folder is kept until then, and goes right after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from cache.leasing import OTHER_BOOT_ID, put
from e2e.harness import Sidecar, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

# A job that works in a folder, and so does a child of it, until both are killed.
JOB = """
import os, sys, time
import gcsidecar
with gcsidecar.lease(sys.argv[1], purpose="build") as folder:
    child = os.fork() if "fork" in sys.argv else 0
    if child or "fork" not in sys.argv:
        print(os.getpid(), child, flush=True)
    time.sleep(600)
"""


class Job:
    """Uses a folder by our client."""

    def __init__(self, folder: Path, *how: str) -> None:
        command = [sys.executable, "-c", JOB, str(folder), *how]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.pid, self.child = map(int, self._process.stdout.readline().split())
        self._process.stdout.close()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def kill_child(self) -> None:
        os.kill(self.child, signal.SIGKILL)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "cache"
    for name in ("a", "b", "c"):
        (path / name).mkdir(parents=True)
        (path / name / "data").write_bytes(os.urandom(1 << 16))
        os.utime(path / name, (time.time() - 1000, time.time() - 1000))
    return path


@pytest.fixture
def jobs(cache: Path) -> Iterator[dict[str, Job]]:
    started = {"a": Job(cache / "a"), "b": Job(cache / "b", "fork"), "c": Job(cache / "c")}
    yield started
    for job in started.values():
        job.kill()
        if job.child:
            job.kill_child()


def config(path: Path, **keys: Any) -> dict[str, Any]:
    return {"roots": [{"name": "jobs", "path": str(path), "min_age": 0} | keys]}


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}


def leases(sidecar: Sidecar, state: str) -> float | None:
    return sidecar.metric("gcsidecar_leases", root="jobs", state=state)


def test_under_pressure_a_folder_goes_right_after_its_holder_was_killed_and_not_before(
    tmp_path: Path, cache: Path, jobs: dict[str, Job]
) -> None:
    with Sidecar(tmp_path, config(cache, max_folders=1)) as sidecar:
        eventually(lambda: leases(sidecar, "live") == 3, "all leases are seen")
        eventually(lambda: sidecar.events("nothing-to-evict"), "something should go")
        time.sleep(2)
        assert names(cache) == {"a", "b", "c"}
        jobs["a"].kill()
        eventually(lambda: names(cache) == {"b", "c"}, "the folder of the dead goes", 8)
        jobs["b"].kill()
        time.sleep(2)
        assert names(cache) == {"b", "c"}, "its child works on in it"
        jobs["b"].kill_child()
        eventually(lambda: names(cache) == {"c"}, "the folder of the dead goes", 8)
        reaped = sidecar.events("lease-reaped")
        assert [(one["folder"], one["pid"], one["why"], one["purpose"]) for one in reaped] == [
            ("a", jobs["a"].pid, "dead", "build"),
            ("b", jobs["b"].pid, "dead", "build"),
        ]
        assert sidecar.metric("gcsidecar_leases_reaped_total", reason="dead") == 2
        assert leases(sidecar, "live") == 1


def test_at_rest_the_dead_are_reaped_too_and_the_order_stays(tmp_path: Path, cache: Path, jobs: dict[str, Job]) -> None:
    killed_at = time.time()
    with Sidecar(tmp_path, config(cache)) as sidecar:
        eventually(lambda: leases(sidecar, "live") == 3, "all leases are seen")
        jobs["a"].kill()
        eventually(lambda: leases(sidecar, "live") == 2, "the death is seen", 5)
        eventually(lambda: sidecar.events("lease-reaped"), "the lease is reaped")
        assert leases(sidecar, "dead") == 0
        assert not list((cache / "a").glob(".lease*"))
        assert killed_at - 60 < (cache / "a").stat().st_mtime < time.time()
        assert names(cache) == {"a", "b", "c"}


def test_a_lease_of_another_run_of_the_kernel_is_not_judged_by_its_lock(tmp_path: Path, cache: Path) -> None:
    lease = put(cache / "a", boot_id=OTHER_BOOT_ID)
    with Sidecar(tmp_path, config(cache, max_folders=1)) as sidecar:
        eventually(lambda: names(cache) == {"a"}, "the others go")
        eventually(lambda: leases(sidecar, "live") == 1, "it counts")
        assert lease.exists()
        assert not sidecar.events("lease-reaped")

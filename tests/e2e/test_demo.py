"""The demo of `make run`: what it tells, what it leaves behind, and that its verdict could be another."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from demo.story import Story

TESTS = Path(__file__).parent.parent


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(TESTS), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "demo", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)


def left_of(session: int) -> list[str]:
    """What still runs of all that was started there."""
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                left.append(" ".join(process.cmdline()))
    return left


@pytest.mark.e2e
def test_the_demo_tells_of_evictions_in_the_order_of_last_use_and_ends_by_itself(tmp_path: Path) -> None:
    demo = start(tmp_path, "--duration", "12")
    told, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, told
    evicted = re.findall(r"SIDECAR  evicts (\w+) \(6\.0 MiB\): unleased and unused for longest", told)
    assert evicted, told
    assert "train" not in evicted
    number = len(evicted)
    assert f"{number} folders evicted ({6 * number}.0 MiB), {number} in the order of their last use" in told
    assert "0 leased folders touched" in told
    assert f'gcsidecar_evictions_total{{reason="size",root="builds"}} {number}.0' in told
    assert "has a problem" not in told
    assert os.listdir(tmp_path) == []
    assert left_of(demo.pid) == []


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_the_demo_at_once(tmp_path: Path, number: signal.Signals) -> None:
    demo = start(tmp_path)
    assert demo.stdout is not None
    assert any("takes a lease" in line for line in demo.stdout)
    began = time.monotonic()
    os.killpg(demo.pid, number)
    told, _ = demo.communicate(timeout=10)
    assert time.monotonic() - began < 2
    assert demo.returncode == 0, told
    assert os.listdir(tmp_path) == []
    assert left_of(demo.pid) == []


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class TestVerdict:
    def setup_method(self) -> None:
        self.clock = Clock()
        self.said: list[str] = []
        self.story = Story("builds", 6, say=self.said.append, clock=self.clock)

    def use(self, name: str, at: float) -> None:
        self.clock.now = at
        self.story.job_starts(name)
        for line in ("took 0", "filled 6", "found 6", "released"):
            self.story.job_says(name, line)

    def evict(self, name: str) -> None:
        event = {"event": "evicted", "level": "info", "folder": name, "reclaimed_size": 6 << 20, "idle_seconds": 1.0}
        self.story.sidecar_says(event)

    def test_it_is_good_where_the_least_recently_used_goes_first(self) -> None:
        self.use("old", 1.0)
        self.use("new", 2.0)
        self.evict("old")
        self.evict("new")
        assert self.story.went_well

    def test_it_is_bad_where_a_newer_one_goes_first(self) -> None:
        self.use("old", 1.0)
        self.use("new", 2.0)
        self.evict("new")
        assert not self.story.went_well
        assert "OUT OF ORDER" in self.said[-1]

    def test_an_older_one_in_use_may_stay(self) -> None:
        self.use("old", 1.0)
        self.use("new", 2.0)
        self.story.job_starts("old")
        self.evict("new")
        assert self.story.went_well

    def test_it_is_bad_where_a_job_misses_a_file_under_its_lease(self) -> None:
        self.story.job_starts("web")
        for line in ("took 0", "filled 6", "found 5"):
            self.story.job_says("web", line)
        assert not self.story.went_well
        assert "1 leased folders touched" in self.story.summary()

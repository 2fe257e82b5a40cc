"""The systemd unit: well-formed, locked up, and not more so than the work allows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

import needs
from deploy.podman import Pages, free_port
from e2e.harness import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "gcsidecar.service"
MOST_EXPOSED = 2.0


def settings(name: str) -> list[str]:
    """The values of a setting, in order."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def analyze(*arguments: object) -> str:
    program = needs.program("systemd-analyze", "systemd")
    command = [program, "--no-pager", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"TERM": "dumb"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_understands_it(tmp_path: Path) -> None:
    # It looks whether the program is there; here it is elsewhere.
    here = UNIT.read_text().replace("/opt/gcsidecar/bin/gcsidecar", str(Path(sys.executable).with_name("gcsidecar")))
    (tmp_path / UNIT.name).write_text(here)
    assert analyze("verify", tmp_path / UNIT.name) == ""


def test_it_is_locked_up() -> None:
    said = analyze("security", "--offline=true", f"--threshold={int(MOST_EXPOSED * 10)}", UNIT)
    print(said.splitlines()[-1])
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert exposure
    assert float(exposure[1]) <= MOST_EXPOSED


def test_it_tells_systemd_when_it_is_ready_and_that_it_lives() -> None:
    assert settings("Type") == ["notify"]
    assert settings("WatchdogSec") == ["30s"]
    assert settings("ExecReload") == ["/bin/kill -HUP $MAINPID"]


@pytest.mark.e2e
def test_it_makes_no_system_call_that_the_unit_refuses(tmp_path: Path) -> None:
    strace, trace = needs.program("strace"), tmp_path / "trace"
    # Daemonized, so that the process which is ended is the sidecar.
    run_and_evict(tmp_path, [strace, "--daemonize", "--follow-forks", f"--output={trace}"])
    eventually(lambda: "+++ exited with 0 +++" in trace.read_text()[-1000:], "strace has written all")
    made = set(re.findall(r"^\d+ +([a-z0-9_]+)\(", trace.read_text(), re.MULTILINE))
    assert {"execve", "renameat2", "unlinkat", "flock", "accept4"} <= made
    # As root, which the unit's user is not, SQLite gives its files the owner of their database; refused, it goes on.
    assert made - allowed() <= {"fchown"}


def allowed() -> set[str]:
    """What SystemCallFilter lets through, by this systemd's own lists."""
    found: set[str] = set()
    for value in settings("SystemCallFilter"):
        listed = set().union(*map(calls, value.removeprefix("~").split()))
        found = found - listed if value.startswith("~") else found | listed
    return found


def calls(name: str) -> set[str]:
    """The system calls of a set, and of those in it; what is no set is a call."""
    if not name.startswith("@"):
        return {name}
    lines = [line.strip() for line in analyze("syscall-filter", name).splitlines()[1:]]
    members = {line for line in lines if line and not line.startswith("#")}
    return members.union(*(calls(member) for member in members if member.startswith("@")))


@pytest.mark.e2e
def test_it_needs_no_memory_that_is_writable_and_executable(tmp_path: Path) -> None:
    """As MemoryDenyWriteExecute has it; the kernel has a switch for that, too (since 6.3)."""
    assert settings("MemoryDenyWriteExecute") == ["yes"]
    code = (
        "import ctypes, os, sys; libc = ctypes.CDLL(None, use_errno=True);"
        "refused = libc.prctl(65, 1, 0, 0, 0) and ctypes.get_errno();"
        "refused and print('not to be had:', os.strerror(refused), file=sys.stderr);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    run_and_evict(tmp_path, [sys.executable, "-c", code])


def run_and_evict(directory: Path, wrapper: Sequence[str]) -> None:
    """Run a sidecar below another program until it has evicted something, been scraped, and ended."""
    cache = directory / "cache"
    for name in ("old", "new"):
        (cache / name).mkdir(parents=True)
        (cache / name / "file").write_bytes(bytes(1 << 20))
    os.utime(cache / "old", (0, 0))
    config, port = directory / "gcsidecar.yaml", free_port()
    root = {"name": "jobs", "path": str(cache), "min_age": 0, "max_folders": 1}
    config.write_text(yaml.safe_dump({"listen": f"127.0.0.1:{port}", "roots": [root]}))
    sidecar = str(Path(sys.executable).with_name("gcsidecar"))
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([*wrapper, sidecar, "run", "--config", str(config)], stderr=output)
    try:
        eventually(lambda: Pages(port).total("gcsidecar_evictions_total") == 1, "the older folder is evicted", 60.0)
        assert sorted(os.listdir(cache)) == [".gcsidecar", "new"]
    finally:
        process.terminate()
        assert process.wait(20) == 0, log.read_text()

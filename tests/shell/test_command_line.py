"""The words of `gcsidecar lease`, what they cost, and what `--help` shows of them."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from gcsidecar.client.acquiring import TIMEOUT_SECONDS
from gcsidecar.sidecar.lease.flags import parse
from shell.holders import COMMAND, lease, run

if TYPE_CHECKING:
    from pathlib import Path

ACTIONS = ("run", "exec", "acquire", "release", "list")
DAEMONS = {"yaml", "tornado", "prometheus_client", "psutil", "watchdog", "bcrypt", "logging", "asyncio", "sqlite3"}
# Each takes milliseconds, and these commands are run once for each job.
SLOW = {"msgspec", "dataclasses", "typing", "subprocess", "shutil", "importlib.metadata", "threading"}


@pytest.mark.parametrize("action", ACTIONS)
def test_help_has_an_example_that_is_right(action: str) -> None:
    done = lease(action, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    (example,) = (line for line in done.stdout.partition("example:\n")[2].splitlines() if "gcsidecar lease" in line)
    words = shlex.split(example.partition("gcsidecar lease ")[2].partition(")")[0])
    assert parse(words).action == action
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_help_names_all_of_them() -> None:
    assert all(f"  {action} " in lease("--help").stdout for action in ACTIONS)
    assert "  lease " in run(*COMMAND, "--help").stdout


def test_it_tries_for_as_long_as_the_client_does() -> None:
    assert parse(["acquire", "f"]).timeout == TIMEOUT_SECONDS


@pytest.mark.parametrize("action", ACTIONS)
def test_it_imports_nothing_of_the_daemon(folder: Path, action: str) -> None:
    code = (
        "import json, sys; from gcsidecar.sidecar import cli; at_first = set(sys.modules);"
        "import os; os.execvpe = lambda *_: sys.exit(print(json.dumps(list(sys.modules))));"
        "cli.main(sys.argv[1:]); print(); print(json.dumps(list(sys.modules)))"
    )
    words = [folder] if action not in {"run", "exec"} else [folder, "--", "true"]
    done = run(sys.executable, "-c", code, "lease", action, *(words if action != "release" else [folder / ".lease.x"]))
    assert done.returncode == 0, done.stderr
    imported = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert imported & DAEMONS == set()
    assert action == "list" or imported & SLOW == set()

"""The project as such: its rooms, its wheel, its Makefile."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import gcsidecar
import needs

PROJECT = Path(__file__).parent.parent


def run(*command: object) -> str:
    """What a command prints; the test fails where it fails."""
    done = subprocess.run([str(word) for word in command], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs.module("hatchling")
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", directory)
    (found,) = directory.glob("*.whl")
    return found


def test_imports_go_down_only() -> None:
    assert "0 broken" in run(Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache")


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel: Path) -> None:
    files = set(zipfile.ZipFile(wheel).namelist())
    about = f"gcsidecar-{gcsidecar.__version__}.dist-info/"
    source = PROJECT / "src"
    ours = {str(path.relative_to(source)) for path in source.glob("gcsidecar/**/*") if path.suffix in {".py", ".typed"}}
    assert {file for file in files if not file.startswith(about)} == ours
    assert f"{about}licenses/LICENSE" in files


def test_an_installed_wheel_gives_the_command(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    # Its dependencies would come from the network; this much works without them.
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin" / "python")
    run(*pip, "install", "--no-deps", "--no-index", wheel)
    assert run(environment / "bin" / "gcsidecar", "--version") == f"gcsidecar {gcsidecar.__version__}\n"


def test_make_lists_its_targets() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets is not None
    listed = re.findall(r"^  make (\w+) +\S", run("make"), re.MULTILINE)
    assert listed == targets[1].split()
    assert {"run", "test", "lint", "types", "bench", "docs", "check"} <= set(listed)


@pytest.mark.parametrize("script", [".ci/run", "tools/setup", "tests/demo/job.sh"])
def test_scripts_are_well_formed(script: str) -> None:
    shell = "bash" if script == ".ci/run" else "sh"
    run(shell, "-n", PROJECT / script)
    assert script.startswith("tests/") or os.access(PROJECT / script, os.X_OK)

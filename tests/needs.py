"""What a test needs of the machine: without it the test is left out, and says why; with `CI` set it fails."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import NoReturn

import pytest


def unavailable(reason: str) -> NoReturn:
    """Leave a test out, and say why; with `CI` set nothing may be left out."""
    if os.environ.get("CI"):
        pytest.fail(f"CI is set, and nothing may be left out: {reason}")
    pytest.skip(reason)


def root() -> None:
    """The test mounts something, or is other users."""
    if os.geteuid() != 0:
        unavailable("it needs root")


def program(name: str, package: str | None = None) -> str:
    """The path of a program that the test runs; `make test` gets those that are missing (tools/setup)."""
    path = shutil.which(name)
    if path is None:
        unavailable(f"{name} is missing (Debian: {package or name})")
    return path


def module(name: str) -> None:
    """A module that the test runs, and that isn't ours."""
    if importlib.util.find_spec(name) is None:
        unavailable(f"the module {name} is missing; `make` installs it (pyproject.toml: dependency-groups)")

"""Roots as the tests here configure them, and what lies in them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# On a small filesystem, that is, and so looked after often; else every five seconds.
MEASURED_OFTEN = {"thresholds": {"disk": {"min_free": "1MiB"}, "inodes": None}}


def root(path: Path, name: str = "jobs", **keys: Any) -> dict[str, Any]:
    """One root in which nothing is too young to go."""
    return {"name": name, "path": str(path), "min_age": 0} | keys


def config(*roots: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A config in which nothing is scarce, unless it says what is."""
    return {"thresholds": {"disk": None, "inodes": None}} | keys | {"roots": list(roots)}


def names(path: Path) -> set[str]:
    """The folders of a root."""
    return {name for name in os.listdir(path) if not name.startswith(".")} - {"lost+found"}

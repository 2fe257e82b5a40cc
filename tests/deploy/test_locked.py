"""The lock files and the bill of materials: they agree with pyproject.toml and with each other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
CONTAINER = PROJECT / "deploy" / "container"
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
LOCKS = {
    "requirements.lock": PYPROJECT["project"]["dependencies"],
    "build.lock": PYPROJECT["build-system"]["requires"],
}


def pins(lock: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package of a lock file."""
    found: dict[str, tuple[str, list[str]]] = {}
    for block in re.split(r"^(?=\w)", (CONTAINER / lock).read_text(), flags=re.MULTILINE):
        if match := re.match(r"([\w.-]+)==(\S+)", block):
            found[canonicalize_name(match[1])] = (match[2], re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block))
    return found


def bill() -> str:
    files = ["deploy/container/requirements.lock", "pyproject.toml", "src/gcsidecar/__init__.py"]
    command = [sys.executable, "deploy/container/sbom.py", *files]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_has_what_is_needed_in_a_version_that_is_allowed(lock: str) -> None:
    locked = pins(lock)
    for text in LOCKS[lock]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)][0]), f"{text}: run `make lock`"


@pytest.mark.parametrize("lock", LOCKS)
def test_each_package_is_locked_by_the_hashes_of_its_files(lock: str) -> None:
    # Its source and a wheel at least.
    assert {name: hashes for name, (_, hashes) in pins(lock).items() if len(hashes) < 2} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_names_no_host_and_no_path(lock: str) -> None:
    assert not re.search(r"://|index-url|find-links|^/", (CONTAINER / lock).read_text(), re.MULTILINE)


def test_the_bill_of_materials_is_valid_cyclonedx() -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill()) is None


def test_the_bill_of_materials_has_what_is_locked_and_who_needs_it() -> None:
    found: dict[str, Any] = json.loads(bill())
    listed = {one["name"]: one for one in found["components"]}
    locked = pins("requirements.lock")
    assert {name: one["version"] for name, one in listed.items()} == {name: pin for name, (pin, _) in locked.items()}
    for name, (_, hashes) in locked.items():
        (files,) = listed[name]["externalReferences"]
        assert [f"--hash=sha256:{one['content']}" for one in files["hashes"]] == hashes
    own, *_ = found["dependencies"]
    direct = {f"pkg:pypi/{name}@{locked[name][0]}" for name in map(_name, LOCKS["requirements.lock"])}
    assert set(own["dependsOn"]) == direct


def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def test_the_bill_of_materials_is_the_same_each_time() -> None:
    assert bill() == bill()

"""What a user of the library meets: its names, what importing them costs, and their types."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

import gcsidecar

if TYPE_CHECKING:
    from pathlib import Path

NAMES = sorted(set(gcsidecar.__all__) - {"__version__"})
HEAVY = {"dataclasses", "inspect", "logging", "msgspec", "prometheus_client", "psutil", "tornado", "watchdog", "yaml"}


def loaded_by(code: str) -> set[str]:
    """The modules that this adds to a bare Python."""
    program = f"import sys, json; before = set(sys.modules); {code}; print(json.dumps([*set(sys.modules) - before]))"
    return set(json.loads(subprocess.check_output([sys.executable, "-c", program], text=True)))


def test_each_name_that_is_promised_has_a_home() -> None:
    assert sorted(gcsidecar._HOME) == NAMES
    assert dir(gcsidecar) == gcsidecar.__all__ == sorted(gcsidecar.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_each_name_can_be_imported_and_has_a_docstring(name: str) -> None:
    found = getattr(gcsidecar, name)
    assert found.__module__ == gcsidecar._HOME[name]
    assert inspect.getdoc(found)


@pytest.mark.parametrize("name", NAMES)
def test_each_public_method_has_a_docstring(name: str) -> None:
    found = getattr(gcsidecar, name)
    missing = [
        attribute
        for attribute, value in vars(found).items()
        if not attribute.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
        if not inspect.getdoc(value)
    ]
    assert missing == []


def test_a_name_that_is_not_there_is_missed_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'gcsidecar' has no attribute 'Garbage'"):
        _ = gcsidecar.Garbage
    assert not hasattr(gcsidecar, "Garbage")


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = loaded_by("import gcsidecar")
    assert "gcsidecar" in loaded
    assert loaded & HEAVY == set()
    assert {module for module in loaded if module.startswith("gcsidecar.")} == set()


@pytest.mark.parametrize("name", NAMES)
def test_the_library_brings_nothing_of_the_process_with_it(name: str) -> None:
    loaded = loaded_by(f"from gcsidecar import {name}")
    assert loaded & {"prometheus_client", "tornado", "watchdog", "yaml"} == set()
    assert {module for module in loaded if module.startswith(("gcsidecar.cache", "gcsidecar.sidecar"))} == set()


def test_the_version_is_that_of_the_package() -> None:
    assert gcsidecar.__version__ == version("gcsidecar")


SAMPLE = """
from gcsidecar import Collection, Disposable, DisposableResource, Gauge, GarbageCollector, Measurement, Resource
from gcsidecar import ResourceTracker, Threshold

class Model:
    def disk_size(self) -> int: return 1
    def memory_size(self) -> int: return 1
    def last_used(self) -> float: return 0.0
    def dispose(self) -> None: ...

class Counted(DisposableResource):
    def dispose(self) -> None:
        self.can_dispose()

class Quota:
    def measure(self) -> Measurement: return Measurement(Resource.SIZE, 10, 5, 0.0, "group")
    def threshold(self, measurement: Measurement) -> Threshold | None: return None

def keep_track(tracker: ResourceTracker, disposable: Disposable) -> bool:
    tracker.register(disposable)
    return tracker.unregister(disposable)

gc = GarbageCollector("/tmp", 1, gauges=[Quota()])
keep_track(gc, Model())
with Counted().acquired() as counted:
    keep_track(gc, counted)
collection: Collection = gc.collect()
"""


def check_types(folder: Path, code: str) -> str:
    """What mypy says of a program of a user's."""
    program = folder / "program.py"
    program.write_text(code)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "program.py"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder).stdout


def test_a_class_with_the_methods_is_a_disposable_to_the_type_checker(tmp_path: Path) -> None:
    assert check_types(tmp_path, SAMPLE) == "Success: no issues found in 1 source file\n"


def test_a_class_that_lacks_one_is_not(tmp_path: Path) -> None:
    wrong = SAMPLE.replace("    def last_used(self) -> float: return 0.0\n", "")
    assert 'incompatible type "Model"; expected "Disposable"' in check_types(tmp_path, wrong)

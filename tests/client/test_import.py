"""What the client costs a short job: no module that is slow to import, and a thread only where it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import gcsidecar

# Each of these takes a millisecond or more, or stands for others that do.
HEAVY = {
    "asyncio",
    "click",
    "collections",
    "contextlib",
    "ctypes",
    "dataclasses",
    "enum",
    "functools",
    "importlib.metadata",
}
HEAVY |= {"inspect", "json", "logging", "msgspec", "pathlib", "prometheus_client", "psutil", "random", "re", "secrets"}
HEAVY |= {"signal", "socket", "subprocess", "tempfile", "threading", "tornado", "typing", "watchdog", "yaml"}


def loaded_by(code: str, *arguments: object) -> set[str]:
    """The modules that this adds to a bare Python."""
    program = f"import sys; before = set(sys.modules); {code}; print(repr([*set(sys.modules) - before]))"
    output = subprocess.check_output([sys.executable, "-S", "-c", program, *map(str, arguments)], text=True)
    return set(json.loads(output.replace("'", '"')))


IMPORT = f"sys.path.insert(0, {str(Path(gcsidecar.__file__).parents[1])!r}); import gcsidecar; gcsidecar.lease"


def test_importing_the_client_imports_nothing_heavy() -> None:
    loaded = loaded_by(IMPORT)
    assert loaded & HEAVY == set()
    ours = {module for module in loaded if module.startswith("gcsidecar.")}
    assert {module.split(".")[1] for module in ours} == {"client", "contract", "errors"}
    assert len(loaded) < 30


def test_taking_a_lease_needs_no_more_than_json_and_globs(tmp_path: Path) -> None:
    (tmp_path / ".gcsidecar").mkdir()
    (tmp_path / ".gcsidecar/lock").write_text('{"contract": 1, "folders": "*", "lease_files": []}')
    loaded = loaded_by(f"{IMPORT}(sys.argv[1]).release()", tmp_path / "a")
    of_json = loaded_by("import json, fnmatch")
    assert (loaded - of_json) & HEAVY == set()
    assert "threading" not in loaded


def test_its_types_are_known_to_who_uses_it(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os\nfrom typing import assert_type\nimport gcsidecar\n"
        "with gcsidecar.lease('a', ttl=60.0, create=False, timeout=1, purpose='p') as folder:\n"
        "    assert_type(folder.created, bool)\n    assert_type(os.listdir(folder), list[str])\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "program.py"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout
    assert said == "Success: no issues found in 1 source file\n"

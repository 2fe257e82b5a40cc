"""Folders that a tool has locked, or a process has something open in: why they stay, and that they go afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cache.helpers import make_folder
from cache.users import LOCKS, let_go, process
from e2e.harness import Sidecar, eventually

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


def config(cache: Path, **keys: Any) -> dict[str, Any]:
    lease = {"locks": [".locks/{folder}/*.lock"], "lock_grace": "1s"}
    root = {"name": "hub", "path": str(cache), "min_age": 0, "max_folders": 1, "history": None}
    return {"roots": [root | {"lease": lease, "in_use": {"open_files": True}}], **keys}


def reasons(sidecar: Sidecar) -> set[tuple[str, str]]:
    return {(event["reason"], event["named"]) for event in sidecar.events("kept")}


def test_what_a_tool_has_locked_and_what_is_open_stays_says_so_and_goes_afterwards(tmp_path: Path) -> None:
    """The log and the plan say which it was: `locked` or `open`."""
    cache = tmp_path / "cache"
    for number, name in enumerate(["locked", "open", "idle"]):
        make_folder(cache, name, used_at=1e9 + number)
    (cache / ".locks/locked").mkdir(parents=True)
    with (
        process(LOCKS["filelock"], cache / ".locks/locked/1.lock") as tool,
        process("open(path)", cache / "open/data"),
        Sidecar(tmp_path, config(cache)) as sidecar,
    ):
        eventually(lambda: not (cache / "idle").exists(), "the idle folder goes")
        eventually(lambda: ("locked", "locked") in reasons(sidecar), "it is said why")
        eventually(lambda: sidecar.metric("gcsidecar_kept_total", root="hub", reason="leased"), "it is counted")
        let_go(tool)
        eventually(lambda: not (cache / "locked").exists(), "the folder goes once its lock is let go")
        assert (cache / "open/data").exists()
        assert sidecar.events("planned")[0]["kept_open"] == 1


def test_a_dry_run_knows_what_is_open(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for number, name in enumerate(["open", "idle"]):
        make_folder(cache, name, used_at=1e9 + number)
    with process("open(path)", cache / "open/data"), Sidecar(tmp_path, config(cache, dry_run=True)) as sidecar:
        planned = eventually(lambda: sidecar.events("planned"), "it is planned")[0]
        assert (planned["would_evict"], planned["kept_open"]) == ("idle", 1)

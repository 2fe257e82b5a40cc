"""What a real process knows again after its end, or after a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

import needs
from cache.history.looking import asked, change_history
from e2e.harness import Sidecar, eventually
from gcsidecar.cache.history.backlog import MANY_CHANGES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "cache"
    path.mkdir()
    return path


def config(cache: Path, **keys: Any) -> dict[str, Any]:
    off = {"disk": None, "inodes": None}
    return {"thresholds": off, "roots": [{"name": "jobs", "path": str(cache), "min_age": 0} | keys]}


def fill(cache: Path, *names: str) -> None:
    for name in names:
        (cache / name).mkdir()
        (cache / name / "data").write_bytes(b"x" * 10_000)
        time.sleep(0.02)


def there(cache: Path) -> set[str]:
    return {name for name in os.listdir(cache) if not name.startswith(".")}


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_keeps_arrivals_evictions_and_regrets(tmp_path: Path, cache: Path, end: signal.Signals) -> None:
    fill(cache, "adopted")
    with Sidecar(tmp_path, config(cache, max_folders=2)) as sidecar:
        eventually(lambda: asked(cache, "SELECT settled_at FROM recordings"), "it has seen all folders")
        fill(cache, "b", "c")
        eventually(lambda: there(cache) == {"b", "c"}, "the oldest goes")
        eventually(lambda: asked(cache, "SELECT folder FROM evictions"), "it is written")
        sidecar.send(end)
        eventually(sidecar.has_ended, "it ends")
    arrived = dict(asked(cache, "SELECT name, arrived_at FROM folders WHERE departed_at IS NULL"))
    assert arrived.keys() == {b"b", b"c"}
    assert all(time.time() - 60 < at < time.time() for at in arrived.values())
    (eviction,) = asked(
        cache,
        "SELECT name, arrived_at, departure, reasons, resource, root, capacity, free, target, deficit"
        " FROM folders JOIN evictions AS e ON e.folder = id JOIN wants AS w ON w.folder = id",
    )
    assert eviction == (b"adopted", None, "evicted", "folders", "folders", "jobs", 2, -1, 0, 1)

    fill(cache, "adopted")  # while nobody looks
    os.utime(cache / "b", (1, 1))
    with Sidecar(tmp_path, config(cache, max_folders=3)) as sidecar:
        (regret,) = eventually(lambda: sidecar.events("regretted"), "it came back")
        assert regret["folder"] == "adopted"
        assert regret["evicted_seconds_ago"] > 0
        assert sidecar.metric("gcsidecar_regrets_total", root="jobs") == 1
        eventually(lambda: asked(cache, "SELECT returned_at FROM folders WHERE returned_at > 0"), "that is written")
        assert arrived.items() <= dict(asked(cache, "SELECT name, arrived_at FROM folders")).items()
        sidecar.stop()
    assert asked(cache, "PRAGMA integrity_check") == ["ok"]


def test_a_young_folder_stays_young_over_a_restart(tmp_path: Path, cache: Path) -> None:
    fill(cache, "adopted")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with Sidecar(tmp_path / "one", config(cache, min_age="10m")) as sidecar:
        fill(cache, "young")
        os.utime(cache / "young", (1, 1))  # it looks like the one used longest ago
        query = "SELECT count(*) FROM folders WHERE name = ? AND arrived_at IS NOT NULL"
        eventually(lambda: asked(cache, query, b"young") == [1], "its arrival is written")
        sidecar.stop()
    with Sidecar(tmp_path / "two", config(cache, min_age="10m", max_folders=1)) as sidecar:
        eventually(lambda: there(cache) == {"young"}, "the other one goes")
        assert sidecar.metric("gcsidecar_root_folders", state="young") == 1


@pytest.mark.parametrize("damage", ["bytes", "link", "newer"])
def test_a_history_that_can_not_be_used_is_set_aside_with_a_line_and_evictions_go_on(
    tmp_path: Path, cache: Path, damage: str
) -> None:
    path = cache / ".gcsidecar/history.sqlite"
    path.parent.mkdir()
    if damage == "bytes":
        path.write_bytes(os.urandom(20_000))
    elif damage == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        with Sidecar(tmp_path, config(cache)) as sidecar:
            eventually(lambda: asked(cache, "SELECT settled_at FROM recordings"), "it is there")
            sidecar.stop()
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version=99")
        connection.close()
    with Sidecar(tmp_path, config(cache, max_folders=1)) as sidecar:
        fill(cache, "a", "b")
        eventually(lambda: there(cache) == {"b"}, "it evicts")
        assert len(sidecar.events("history-set-aside")) == 1
        eventually(lambda: asked(cache, "SELECT folder FROM evictions"), "and it records")
    assert os.path.lexists(cache / ".gcsidecar/history.sqlite.damaged")
    assert not (tmp_path / "elsewhere").exists()


def test_with_history_null_nothing_is_kept(tmp_path: Path, cache: Path) -> None:
    with Sidecar(tmp_path, config(cache, max_folders=1, history=None)) as sidecar:
        fill(cache, "a", "b")
        eventually(lambda: there(cache) == {"b"}, "it evicts")
        fill(cache, "a")
        eventually(lambda: sidecar.events("regretted"), "a regret is one all the same")
    assert not list((cache / ".gcsidecar").glob("history*"))


def test_a_restart_lists_no_folder_that_stands_still_and_has_all_sizes_when_it_is_ready(
    tmp_path: Path, cache: Path
) -> None:
    names = [f"f{number:02}" for number in range(50)]
    for name in names:
        (cache / name).mkdir()
        (cache / name / "data").write_bytes(b"x" * 10_000)
    # Its end waits for the history for a moment only, which on a busy machine may not be enough.
    while asked(cache, "SELECT count(*) FROM folders WHERE disk_bytes IS NOT NULL") != [len(names)]:
        with Sidecar(tmp_path, config(cache)) as sidecar:
            eventually(lambda: sidecar.metric("gcsidecar_root_unmeasured_folders", root="jobs") == 0, "all is measured")
            size_bytes = sidecar.metric("gcsidecar_root_size_bytes", root="jobs", state="idle")
            assert size_bytes is not None
            assert size_bytes > 50 * 10_000
            sidecar.stop()
    change_history(cache, "UPDATE folders SET leaseless = 1")  # as it is two minutes later
    (cache / "f07/new").touch()
    trace = tmp_path / "trace"
    under = [needs.program("strace"), "--daemonize", "--follow-forks", "--decode-fds=path", f"--output={trace}"]
    with Sidecar(tmp_path, config(cache), under=[*under, "--trace=getdents64"]) as sidecar:
        assert sidecar.metric("gcsidecar_root_size_bytes", root="jobs", state="idle") == size_bytes
        assert sidecar.metric("gcsidecar_root_unmeasured_folders", root="jobs") == 0
        eventually(lambda: (sidecar.metric("gcsidecar_watch_directories") or 0) > 50, "all are watched")
        sidecar.stop()
        eventually(lambda: "+++ exited with 0 +++" in trace.read_text()[-1000:], "strace has written all")
    listed = {name for name in names if f"{cache}/{name}>" in trace.read_text()}
    assert listed == {"f07"}


def test_a_first_scan_that_was_killed_goes_on_where_it_was(tmp_path: Path, cache: Path) -> None:
    for number in range(MANY_CHANGES + 200):
        (cache / f"f{number:04}").mkdir()
    query = "SELECT count(*) FROM folders WHERE disk_bytes IS NOT NULL"
    with Sidecar(tmp_path, config(cache)) as sidecar:
        eventually(lambda: asked(cache, query)[:1] > [0], "some are measured, and written")
        sidecar.send(signal.SIGKILL)
        eventually(sidecar.has_ended, "it ends")
    known = asked(cache, query)[0]
    with Sidecar(tmp_path, config(cache)) as sidecar:
        unmeasured = sidecar.metric("gcsidecar_root_unmeasured_folders", root="jobs")
        assert unmeasured is not None
        assert unmeasured <= MANY_CHANGES + 200 - known
        eventually(lambda: sidecar.metric("gcsidecar_root_unmeasured_folders", root="jobs") == 0, "the rest is, too")

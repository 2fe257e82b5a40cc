"""`gcsidecar lease list`: who holds what."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from cache.helpers import make_folder
from e2e.harness import eventually
from gcsidecar.contract import decoded
from shell.holders import LEASE, WAITING, acquired, lease, running, shell


def listed(*paths: Path) -> list[dict[str, Any]]:
    done = lease("list", "--output", "json", *paths)
    assert (done.returncode, done.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def with_a_dead_one(folder: Path) -> dict[str, Any] | None:
    found = {one["lease"]: one for one in listed(folder)}
    return found if any(one["state"] == "dead" for one in found.values()) else None


def test_it_says_who_holds_a_folder_since_when_and_how_that_is_known(folder: Path) -> None:
    """Of each it says the folder, the holder with its host and purpose, since when, how that is known (`file`,
    `heartbeat`, `lock`), and its state (`live`, `stale`, `dead`).
    """
    began = time.time()
    with (
        running(*LEASE, "run", "--purpose", "build 17", folder, "--", *WAITING) as running_one,
        acquired(folder, "--ttl", "60") as beating,
        acquired(folder) as bare,
    ):
        (folder / ".lease").touch()
        os.utime(folder / ".lease", (0, 0))
        with running(*LEASE, "run", folder, "--", *WAITING) as dead:
            dead.kill()
            dead.wait()
            assert sum(one["how"] == "lock" and one["state"] == "live" for one in listed(folder)) == 2
        found = eventually(lambda: with_a_dead_one(folder), "it is dead")
        live = next(one for one in found.values() if one["holder"] and one["holder"]["pid"] == running_one.pid)
        assert (live["how"], live["state"]) == ("lock", "live")
        assert live["folder"] == str(folder)
        assert live["holder"]["purpose"] == "build 17"
        assert live["holder"]["host"] == os.uname().nodename
        assert began <= live["since"] <= time.time()
        assert decoded(Path(live["lease"]).read_bytes()) is not None
        assert [found[file]["how"] for file in (beating, bare)] == ["heartbeat", "file"]
        assert [found[file]["state"] for file in (beating, bare)] == ["live", "live"]
        old = found[str(folder / ".lease")]
        assert (old["how"], old["state"], old["since"], old["holder"]) == ("file", "stale", 0.0, None)
        os.utime(beating, (0, 0))
        found = {one["lease"]: one for one in listed(folder)}
        assert (found[beating]["how"], found[beating]["state"]) == ("heartbeat", "dead")
        ended = next(one for one in found.values() if one["holder"] and one["holder"]["pid"] == dead.pid)
        assert (ended["how"], ended["state"]) == ("lock", "dead")
        table = lease("list", folder).stdout
    lines = table.splitlines()
    assert len(lines) == 1 + len(found)
    assert lines[0].split() == ["FOLDER", "STATE", "HOW", "SINCE", "HOLDER", "PURPOSE"]
    assert any(line.endswith(f"{running_one.pid} on {os.uname().nodename}  build 17") for line in lines)


def test_it_lists_all_folders_of_a_root_and_changes_nothing(cache: Path, folder: Path) -> None:
    """It lists the leases on a folder, or on all folders of a root where a sidecar has been, and changes nothing."""
    for name in ("a/x", "a/y", "b/z"):
        make_folder(cache, name)
    (cache / "a/x/in-use").touch()
    (cache / "b/z.busy").touch()
    (folder / "in-use").touch()
    (cache / ".gcsidecar").mkdir()
    files = '["{folder}/in-use", "{folder}.busy"]'
    (cache / ".gcsidecar/lock").write_text(f'{{"contract": 1, "folders": "*/*", "lease_files": {files}}}')
    before = shell('find "$1" -printf "%p %C@\n"', cache).stdout
    with running("flock", "-s", cache / "a/y", *WAITING):
        assert [one["folder"] for one in listed(cache)] == [str(cache / name) for name in ("a/x", "a/y", "b/z")]
    assert [one["folder"] for one in listed(cache / "b/z")] == [str(cache / "b/z")]
    assert listed(cache / "a/y") == []
    assert shell('find "$1" -printf "%p %C@\n"', cache).stdout == before
    assert lease("list", folder).returncode == 1  # it lies above the folders of this root


def test_a_lock_on_the_folder_is_listed(folder: Path) -> None:
    """A lock on the folder itself that belongs to none of the leases is listed, too; nothing says whose it is."""
    for kind in ("-s", "-x"):
        with running("flock", kind, folder, *WAITING):
            (one,) = listed(folder)
            assert (one["how"], one["state"], one["lease"], one["holder"]) == ("lock", "live", None, None)
            assert "somebody" in lease("list", folder).stdout
    assert lease("list", folder).stdout == ""


def test_it_is_here_unless_it_is_told_where(folder: Path) -> None:
    (folder / ".lease.x").touch()
    assert str(folder / ".lease.x") in lease("list", "--output", "json", cwd=folder).stdout


def test_what_it_cant_look_at_it_says_and_goes_on(folder: Path) -> None:
    (folder / ".lease.x").touch()
    done = lease("list", folder.parent / "nonesuch", folder, folder / "data")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 2
    assert "Traceback" not in done.stderr
    assert ".lease.x" in done.stdout


def test_strange_files_do_no_harm(folder: Path) -> None:
    os.mkfifo(folder / ".lease.fifo")
    (folder / ".lease.directory").mkdir()
    (folder / ".lease.link").symlink_to("/dev/zero")
    (folder / ".lease.big").write_bytes(b"{" * (1 << 20))
    late = b'{"gcsidecar":1,"at":9.9e11,"boot_id":"","device":0,"host":"\\u001b[2J","locked":true,"mount_namespace":0,'
    late += b'"pid":0,"pid_namespace":0,"purpose":"\\n","started":0,"ttl_seconds":null}'
    (folder / ".lease.\n").write_bytes(late)
    found = listed(folder)
    assert len(found) == 5
    assert {one["how"] for one in found} == {"file"}
    table = lease("list", folder).stdout
    assert table.count("\n") == 6
    assert "\x1b" not in table


def test_its_reader_may_have_seen_enough(cache: Path) -> None:
    (cache / ".gcsidecar").mkdir()
    (cache / ".gcsidecar/lock").write_text('{"contract": 1, "folders": "*", "lease_files": ["{folder}/.lease"]}')
    for number in range(1500):
        (cache / f"folder-{number}-{'x' * 60}").mkdir()
        (cache / f"folder-{number}-{'x' * 60}" / ".lease").touch()
    command = " ".join([*LEASE, "list", str(cache)])
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command} | head -1"], capture_output=True, check=False)
    assert done.stdout.startswith(b"FOLDER")
    assert done.stderr == b""
    assert done.returncode in {0, 141}

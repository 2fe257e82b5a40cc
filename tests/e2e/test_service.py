"""What an operator does to a running sidecar, and what it does then."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from cache.conftest import hung_mount
from e2e.harness import Sidecar, eventually

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "cache"
    path.mkdir()
    return path


def root(path: Path, **keys: Any) -> dict[str, Any]:
    return {"name": "jobs", "path": str(path), "min_age": 0} | keys


def fill(path: Path, *names: str, size: int = 1 << 20) -> None:
    for name in names:
        (path / name).mkdir()
        (path / name / "data").write_bytes(os.urandom(size))
        time.sleep(0.02)


def names(path: Path) -> set[str]:
    return {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}


def test_it_evicts_the_least_recently_used_and_keeps_what_is_leased(tmp_path: Path, cache: Path) -> None:
    fill(cache, "a", "b", "c")
    (cache / "a/.lease.1").touch()
    # Four fit in, with what the sidecar itself needs; of five two have to go.
    with Sidecar(tmp_path, {"roots": [root(cache, max_size="4900KiB", target_size="3900KiB")]}) as sidecar:
        fill(cache, "d", "e")
        eventually(lambda: sidecar.metric("gcsidecar_evictions_total", root="jobs", reason="size") == 2, "evictions")
        assert names(cache) == {"a", "d", "e"}
        assert [event["folder"] for event in sidecar.events("evicted")] == ["b", "c"]


def test_sigterm_ends_it_within_a_second_even_amid_a_deletion(tmp_path: Path, cache: Path) -> None:
    (cache / "big").mkdir()
    for number in range(60_000):
        os.close(os.open(cache / f"big/{number}", os.O_CREAT | os.O_WRONLY))
    with Sidecar(tmp_path, {"roots": [root(cache, max_folders=1)]}) as sidecar:
        fill(cache, "new", size=1)
        os.utime(cache / "new", (time.time() + 100, time.time() + 100))
        eventually(lambda: list((cache / ".gcsidecar/condemned").glob("*/big%-*")), "the folder is being deleted")
        status, seconds = sidecar.stop()
        assert (status, seconds < 1.0) == (0, True), seconds
    with Sidecar(tmp_path, {"roots": [root(cache)]}):
        eventually(lambda: not list((cache / ".gcsidecar/condemned").glob("*/*")), "the rest is deleted")
    assert names(cache) == {"new"}


def test_sighup_and_a_changed_file_are_followed_and_a_bad_config_is_refused(tmp_path: Path, cache: Path) -> None:
    fill(cache, "a", "b", "c")
    with Sidecar(tmp_path, {"roots": [root(cache)]}) as sidecar:
        good = {"listen": "127.0.0.1:0", "log": {"format": "json"}}
        sidecar.write("roots: [")
        eventually(lambda: sidecar.metric("gcsidecar_config_last_reload_successful") == 0, "the bad config is refused")
        assert sidecar.events("config-refused")
        assert names(cache) == {"a", "b", "c"}
        sidecar.write(good | {"roots": [root(cache, max_folders=2)]})
        sidecar.send(signal.SIGHUP)
        eventually(lambda: names(cache) == {"b", "c"}, "the new cap holds")
        assert sidecar.metric("gcsidecar_config_last_reload_successful") == 1


def test_a_config_map_changes_by_swapping_a_link(tmp_path: Path, cache: Path) -> None:
    fill(cache, "a", "b")
    for version, keys in (("v1", {}), ("v2", {"max_folders": 1})):
        (tmp_path / version).mkdir()
        Sidecar(tmp_path / version, {"roots": [root(cache, **keys)]})
    (tmp_path / "data").symlink_to("v1")
    (tmp_path / "c.yaml").symlink_to("data/gcsidecar.yaml")
    with Sidecar(tmp_path, {}, config_path=tmp_path / "c.yaml"):
        (tmp_path / "new").symlink_to("v2")
        (tmp_path / "new").rename(tmp_path / "data")
        eventually(lambda: names(cache) == {"b"}, "the new config holds")


def test_a_missing_root_holds_nothing_up_and_is_taken_in_once_it_is_there(tmp_path: Path, cache: Path) -> None:
    later = tmp_path / "later"
    roots = [root(cache), root(later, name="later", max_folders=1)]
    with Sidecar(tmp_path, {"roots": roots}) as sidecar:
        assert "later: missing" in sidecar.get("/readyz")[1]
        later.mkdir()
        fill(later, "a", "b")
        eventually(lambda: names(later) == {"b"}, "the root that came later is kept")


@pytest.mark.root
def test_a_root_that_hangs_holds_up_neither_another_one_nor_a_scrape_nor_the_end(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "dead").mkdir()
    fill(cache, "a")
    roots = [root(tmp_path / "dead", name="dead"), root(cache, max_folders=1)]
    with hung_mount(tmp_path / "dead"), Sidecar(tmp_path, {"roots": roots}) as sidecar:
        fill(cache, "b", "c")
        eventually(lambda: names(cache) == {"c"}, "the other root is kept")
        assert sidecar.metric("gcsidecar_root_role", root="dead", role="missing") == 1
        assert "dead: missing" in sidecar.get("/readyz")[1]
        status, seconds = sidecar.stop()
        assert (status, seconds < 1.0) == (0, True), seconds


def test_a_second_sidecar_stands_by_says_so_and_takes_over(tmp_path: Path, cache: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    config = {"roots": [root(cache, max_folders=1)]}
    with Sidecar(tmp_path / "one", config) as first, Sidecar(tmp_path / "two", config) as second:
        assert "jobs: standby" in second.get("/readyz")[1]
        first.send(signal.SIGKILL)
        fill(cache, "a", "b")
        eventually(lambda: names(cache) == {"b"}, "the second one acts now")


def test_with_dry_run_nothing_is_made_and_nothing_goes(tmp_path: Path, cache: Path) -> None:
    fill(cache, "a", "b")
    before = {(path, path.lstat().st_mtime_ns) for path in [cache, *cache.rglob("*")]}
    with Sidecar(tmp_path, {"dry_run": True, "roots": [root(cache, max_folders=1)]}) as sidecar:
        planned = eventually(lambda: sidecar.events("planned"), "it says what it would do")
        assert planned[0]["would_evict"] == "a"
    assert {(path, path.lstat().st_mtime_ns) for path in [cache, *cache.rglob("*")]} == before


def test_a_root_that_is_replaced_is_opened_anew(tmp_path: Path, cache: Path) -> None:
    fill(cache, "a")
    with Sidecar(tmp_path, {"roots": [root(cache, max_folders=1)]}) as sidecar:
        cache.rename(tmp_path / "away")
        cache.mkdir()
        sidecar.send(signal.SIGHUP)
        fill(cache, "b", "c")
        eventually(lambda: names(cache) == {"c"}, "the new directory is kept", 90)
    assert names(tmp_path / "away") == {"a"}


def test_folders_that_are_idle_for_too_long_go_without_any_pressure(tmp_path: Path, cache: Path) -> None:
    fill(cache, "a")
    with Sidecar(tmp_path, {"roots": [root(cache, max_idle="1s")]}) as sidecar:
        eventually(lambda: names(cache) == set(), "it is idle for too long")
        eventually(lambda: sidecar.metric("gcsidecar_evictions_total", reason="max-idle") == 1, "it is counted")


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "empty"), ("roots: [{name: a}]", "path"), ("roots: [{name: a, path: /}]", "roots[0].path")],
)
def test_a_wrong_config_ends_it_with_words(tmp_path: Path, text: str, says: str) -> None:
    sidecar = Sidecar(tmp_path, {})
    sidecar.write(text)
    process = sidecar.start().process
    assert process is not None
    assert process.wait(10) == 1
    said = sidecar.log_path.read_text()
    assert says in said
    assert "Traceback" not in said

"""A real process that meets the kernel's limit of watches, or of its queue of hints, and floods of folders.

What is lost is found again by reconciling, the metrics say that it may be late, and nothing leased goes.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import needs
from e2e.harness import Sidecar, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cache.conftest import MakeFilesystem

pytestmark = pytest.mark.e2e

LIMITS = (0, 100, 8192)
# More than may be watched, and of these so many with a lease.
MORE_FOLDERS, LEASED = 40, 20
QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
# Each is told of more than once as it comes and as it goes, so they are more than the queue holds.
FLOOD = int(os.environ.get("FLOOD_FOLDERS", "100000"))


def config(cache: Path, **keys: Any) -> dict[str, Any]:
    off = {"disk": None, "inodes": None}
    root = {"name": "jobs", "path": str(cache), "min_age": 0, "top_folders": 0, "history": None}
    return {"thresholds": off, "listen": "127.0.0.1:0", "log": {"format": "json"}, "roots": [root | keys]}


def make(cache: Path, *numbers: int) -> None:
    for number in numbers:
        (cache / f"{number:06}").mkdir()


def lease(cache: Path, *numbers: int) -> None:
    """On folders that would go first: neither they nor their leases were touched for an hour."""
    an_hour_ago = time.time() - 3600
    for number in numbers:
        folder = cache / f"{number:06}"
        (folder / ".lease").touch()
        os.utime(folder / ".lease", (an_hour_ago, an_hour_ago))
        os.utime(folder, (an_hour_ago, an_hour_ago))


def names(cache: Path) -> set[str]:
    return {entry.name for entry in os.scandir(cache) if not entry.name.startswith(".")}


class Watched:
    """A sidecar and its cache.

    Args:
        directory: For its config.
        cache: Its cache, which it makes.
        limit: How many watches it may have; else as many as anybody.
    """

    def __init__(self, directory: Path, cache: Path, limit: int | None = None, **keys: Any) -> None:
        self.cache = cache
        for path in (directory, cache):
            path.mkdir(parents=True, exist_ok=True)
        limited = f'echo {limit} > /proc/sys/user/max_inotify_watches && exec "$@"'
        under = () if limit is None else ("unshare", "--user", "--map-root-user", "sh", "-c", limited, "sh")
        self.sidecar = Sidecar(directory, config(self.cache, **keys), under=under)

    def reload(self, **keys: Any) -> None:
        """With another config of the root."""
        self.sidecar.write(config(self.cache, **keys))
        self.sidecar.send(signal.SIGHUP)

    def shows(self, **expected: float) -> bool:
        """Whether one scrape has all of these: each metric by the rest of its name, all its series together."""
        lines = [line.rpartition(" ") for line in self.sidecar.get("/metrics")[1].splitlines()]
        values = [(series.partition("{")[0], float(value)) for series, _, value in lines if series[:1] != "#"]
        found = dict.fromkeys(expected, 0.0)
        for name, value in values:
            if (rest := name.removeprefix("gcsidecar_")) in found:
                found[rest] += value
        return found == expected

    @property
    def state(self) -> str:
        states = ("ok", "degraded", "off")
        return next(one for one in states if self.sidecar.metric("gcsidecar_watch_state", state=one) == 1)


@contextmanager
def stopped(sidecar: Sidecar) -> Iterator[None]:
    """Whatever happens meanwhile it hears of late, if at all."""
    sidecar.send(signal.SIGSTOP)
    try:
        yield
    finally:
        sidecar.send(signal.SIGCONT)


@contextmanager
def limited(directory: Path, limits: tuple[int, ...]) -> Iterator[dict[int, Watched]]:
    """For each limit a sidecar that has more folders than it may watch; all at once, since each waits now and then."""
    made = {}
    with ExitStack() as stack:
        for limit in limits:
            count = limit + MORE_FOLDERS
            one = Watched(directory / f"{limit}", directory / f"{limit}/cache", limit, max_folders=count)
            make(one.cache, *range(count))
            stack.callback(one.sidecar.__exit__)
            one.sidecar.start()
            made[limit] = one
        for limit, one in made.items():
            eventually(partial(one.shows, root_folders=limit + MORE_FOLDERS), "it knows all folders")
            # The root itself takes one.
            eventually(partial(one.shows, watch_directories=limit, watch_refused_directories=1 + MORE_FOLDERS), "limit")
        yield made


def test_with_too_few_watches_all_is_found_by_reconciling_and_nothing_leased_goes(tmp_path: Path) -> None:
    needs.program("unshare", "util-linux")
    with limited(tmp_path, LIMITS) as made:
        for limit, one in made.items():
            assert one.state == "degraded"
            # Which of the folders are watched nobody can say. As these come as many others have to go.
            lease(one.cache, *range(LEASED))
            make(one.cache, *range(900_000, 900_010))
            (one.cache / f"{limit + MORE_FOLDERS - 1:06}").rmdir()
        for limit, one in made.items():
            found = partial(one.shows, root_folders=limit + MORE_FOLDERS, leases=LEASED)
            eventually(found, f"all is found with {limit} watches, and evicted down to the cap")
            assert {f"{number:06}" for number in (*range(LEASED), *range(900_000, 900_010))} <= names(one.cache)
            assert len(names(one.cache)) == limit + MORE_FOLDERS
            assert one.state == "degraded"


def test_when_watches_are_to_be_had_again_what_was_not_watched_is(tmp_path: Path) -> None:
    needs.program("nsenter", "util-linux")
    with limited(tmp_path, (100,)) as made:
        one = made[100]
        more = ["nsenter", "--user", "--target", str(one.sidecar.pid), "sh", "-c"]
        subprocess.run([*more, "echo 1000 > /proc/sys/user/max_inotify_watches"], check=True)
        eventually(partial(one.shows, watch_directories=101 + MORE_FOLDERS, watch_refused_directories=0), "all are")
        assert one.state == "ok"


def test_when_the_queue_overflows_all_is_found_again_and_nothing_leased_goes(tmp_path: Path) -> None:
    watched = Watched(tmp_path, tmp_path / "cache", max_folders=MORE_FOLDERS)
    make(watched.cache, *range(MORE_FOLDERS))
    with watched.sidecar as sidecar:
        eventually(partial(watched.shows, root_folders=MORE_FOLDERS, leases=0), "it knows all folders")
        with stopped(sidecar):
            for _ in range(QUEUE // 2 + 1):  # two events, in turn: of the same one again the kernel tells once
                os.utime(watched.cache / "000000")
                os.utime(watched.cache / "000001")
            # None of this is heard of, and the leased ones would go first.
            lease(watched.cache, *range(LEASED))
            make(watched.cache, *range(900_000, 900_010))
            (watched.cache / "000039").rmdir()
        eventually(partial(watched.shows, root_folders=MORE_FOLDERS, leases=LEASED), "all is found")
        assert watched.shows(watch_overflows_total=1)
        assert watched.state == "ok"
        assert {f"{number:06}" for number in (*range(LEASED), *range(900_000, 900_010))} <= names(watched.cache)


@pytest.mark.root
def test_floods_of_folders_that_come_and_that_are_evicted_in_one_go_lose_no_hint(
    tmp_path: Path, tmpfs: MakeFilesystem
) -> None:
    watched = Watched(tmp_path, tmpfs() / "cache")
    with watched.sidecar:
        times = [time.monotonic()]
        for number in range(FLOOD):
            make(watched.cache, number)
            os.utime(watched.cache / f"{number:06}")
        lease(watched.cache, *range(LEASED))
        times.append(time.monotonic())
        eventually(partial(watched.shows, root_folders=FLOOD, leases=LEASED), "it knows all folders", FLOOD / 200)
        times.append(time.monotonic())
        assert watched.shows(watch_directories=FLOOD + 1, watch_overflows_total=0)
        watched.reload(max_folders=LEASED)
        eventually(partial(watched.shows, root_folders=LEASED, leases=LEASED), "all others are evicted", FLOOD / 200)
        assert names(watched.cache) == {f"{number:06}" for number in range(LEASED)}
        eventually(partial(watched.shows, watch_directories=LEASED + 1, watch_overflows_total=0), "no watch is left")
        times.append(time.monotonic())
        made, known, gone = (until - since for since, until in itertools.pairwise(times))
        print(f"{FLOOD} folders: made in {made:.1f} s, known {known:.1f} s later, evicted in {gone:.1f} s")

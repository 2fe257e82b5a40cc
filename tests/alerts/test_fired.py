"""Each alert fired for real: its cause is made to happen to a real sidecar, and a real Prometheus tells of it."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

import pytest

import needs
from alerts.fleet import FleetPrometheus
from alerts.hurry import hurried
from alerts.rules import ALERTS, documents
from e2e.conftest import ext4, mounts, tmpfs
from e2e.harness import Sidecar, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.conftest import MakeFilesystem

__all__ = ["ext4", "mounts", "tmpfs"]
pytestmark = [pytest.mark.e2e, pytest.mark.root]

MIB = 1 << 20
PATIENCE_SECONDS = 100.0
DAY_SECONDS = 86400.0
# The bytes by which sqlite's programs tell each other that they have a file open, as length and start.
SQLITE_LOCK = (512, 0x40000000)
MORE_THAN_CAN_WAIT = 11_000
# So many that their first reconcile, through FUSE, takes a while.
HUNG_FOLDERS = 4000
# Of a user whom the user namespace of a sidecar doesn't know.
SOMEBODY = 12345
DISK = {"disk": {"min_free": "20%", "target_free": "25%"}, "inodes": None}
OFF = {"disk": None, "inodes": None}

# What each cause brings about, and nothing else does.
EXPECTED = {
    "healthy": set[str](),
    "standby": {"Standby"},
    "full": {"FillsUp", "NothingToEvict", "AlmostFull", "CapUnmeetable", "LeaseStale", "LeaseOld"},
    "stuck": {"EvictionsFailing", "FoldersBackedOff", "CondemnedStay", "CapExceeded"},
    "held": {"EvictionPaused", "ReclaimShortfall", "NothingToEvict"},
    "parked": {"FolderParked", "RootBlocked"},
    "hung": {"MeasurementStale", "ReconcileStale"},
    "idle": {"DryRun", "RootMissing", "ConfigReloadFailed", "ForeignUseHigh"},
    "unwatched": {"WatchDegraded", "SizesUnknown"},
    "restarted": {"RestartsOften", "Down"},
    "small": {"RegretsHigh"},
    "unrecorded": {"HistoryUnhealthy", "HistoryDropsRecords"},
}
# When no target is left.
AT_THE_END = {("", "GcsidecarAbsent")}


class Unwatched(Sidecar):
    """In a user namespace of its own, in which the kernel gives no inotify watch to anybody."""

    def start(self) -> Self:
        command = [sys.executable, "-m", "gcsidecar.sidecar.cli", "run", "--config", str(self.config_path)]
        limit = 'echo 0 > /proc/sys/user/max_inotify_watches && exec "$@"'
        with self.log_path.open("ab") as log:
            unshare = ["unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh", *command]
            self.process = subprocess.Popen(unshare, stderr=log)
        return self


class Stage:
    """Where the causes are set up: each begins with a sidecar, and some come about only once that has been scraped.

    Each has a disk of its own: on the machine's own others may write as fast as they can.
    """

    def __init__(self, directory: Path, undo: ExitStack, tmpfs: MakeFilesystem, ext4: MakeFilesystem) -> None:
        self.directory, self.undo, self.tmpfs, self.ext4 = directory, undo, tmpfs, ext4
        self.ports: dict[str, int] = {}
        self.later: list[Callable[[FleetPrometheus], object]] = []

    def place(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def run(self, cause: str, config: dict[str, Any], kind: type[Sidecar] = Sidecar) -> Sidecar:
        """A sidecar that is ready."""
        sidecar = kind(self.place(f"sidecar-{cause}"), config)
        self.undo.enter_context(sidecar)
        self.ports[cause] = sidecar.port
        return sidecar


def root(path: Path, name: str = "jobs", **keys: Any) -> dict[str, Any]:
    return {"name": name, "path": str(path), "min_age": 0} | keys


def config(*roots: dict[str, Any], thresholds: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    common = {"listen": "127.0.0.1:0", "log": {"format": "json"}, "thresholds": thresholds or OFF}
    return common | keys | {"roots": list(roots)}


def folder(path: Path, name: str, size: int = 4096, *, idle_seconds: float = 1000.0) -> Path:
    made = path / name
    made.mkdir(parents=True)
    (made / "data").write_bytes(os.urandom(size))
    used = time.time() - idle_seconds
    os.utime(made / "data", (used, used))
    os.utime(made, (used, used))
    return made


# The causes


def healthy_and_standby(stage: Stage) -> None:
    """Two sidecars on one root: the first one has no trouble at all, and evicts now and then."""
    cache = stage.tmpfs(32 * MIB)
    for number in range(4):
        folder(cache, f"f{number}")
    stage.run("healthy", config(root(cache, max_folders=3)))
    stage.run("standby", config(root(cache, max_folders=3)))
    stage.later.append(lambda _: folder(cache, "new"))


def full(stage: Stage) -> None:
    """A leased folder grows until the disk is full; its holder took the lease a week ago, and died."""
    cache = stage.tmpfs(32 * MIB)
    leased = folder(cache, "leased", 12 * MIB)
    lease = leased / ".lease.1"
    lease.touch()
    long_ago = time.time() - 8 * DAY_SECONDS
    os.utime(lease, (long_ago, long_ago))
    stage.run("full", config(root(cache, max_size="4MiB", lease={"ttl": "1s"}), thresholds=DISK))
    stop = threading.Event()

    def write() -> None:
        with (leased / "data").open("ab", buffering=0) as data:
            while not stop.wait(0.2) and os.statvfs(cache).f_bavail * 4096 > MIB // 2:
                data.write(bytes(MIB // 4))
                # A change of its leases makes the sidecar look at them, which it does each minute otherwise.
                (leased / ".lease.2").touch()
                (leased / ".lease.2").unlink()

    writer = threading.Thread(target=write)
    stage.undo.callback(writer.join)
    stage.undo.callback(stop.set)
    stage.later.append(lambda _: writer.start())


def stuck(stage: Stage) -> None:
    """Of three folders that are to go two can't be moved, and the third (seen too late) can't be deleted whole."""
    cache = stage.ext4()
    for length in (254, 255):  # no slot has an entry for a name that is three times as long there
        folder(cache, "%" * length)
    lease = folder(cache, "c") / ".lease.1"
    lease.touch()
    sidecar = stage.run("stuck", config(root(cache, max_folders=1)))

    def release(_: FleetPrometheus) -> None:
        eventually(lambda: sidecar.metric("gcsidecar_root_unmeasured_folders", root="jobs") == 0, "all are measured")
        subprocess.run([needs.program("chattr", "e2fsprogs"), "+i", str(cache / "c/data")], check=True)
        lease.unlink()

    stage.later.append(release)


def held(stage: Stage) -> None:
    """Somebody has the files of folders open, so that deleting them brings nothing back."""
    cache = stage.tmpfs(32 * MIB)
    for number in range(4):
        made = folder(cache, f"f{number}", 5 * MIB)
        stage.undo.enter_context((made / "data").open("rb"))
    sidecar = stage.run("held", config(root(cache), thresholds=DISK))
    more = {"disk": {"min_free": "60%", "target_free": "65%"}, "inodes": None}
    stage.later.append(lambda _: sidecar.write(config(root(cache), thresholds=more)))


def parked(stage: Stage) -> None:
    """After a crash a leased folder can't go back, since its name was taken; beside it a root that can't be used."""
    disk = stage.tmpfs(32 * MIB)
    cache, blocked = disk / "parked", disk / "blocked"
    folder(cache / ".gcsidecar/evicting/1-0", "a")
    (cache / ".gcsidecar/evicting/1-0/a/.lease").touch()
    folder(cache, "a")
    blocked.mkdir()
    (blocked / ".gcsidecar").touch()
    stage.run("parked", config(root(cache), root(blocked, "blocked")))


def hung(stage: Stage) -> None:
    """A network filesystem stops to answer, while its root is reconciled for the first time."""
    if not os.path.exists("/dev/fuse"):
        needs.unavailable("a filesystem is to hang, for which /dev/fuse is missing")
    source, mount = stage.place("source"), stage.place("mount")
    for number in range(HUNG_FOLDERS):
        (source / f"f{number}").mkdir()
    sidecar = Sidecar(stage.place("sidecar-hung"), config(root(mount), thresholds=DISK))
    stage.undo.push(sidecar)
    # It ends before the sidecar does, which no signal would end while it waits for an answer.
    server = subprocess.Popen([needs.program("bindfs"), "-f", str(source), str(mount)])
    stage.undo.callback(subprocess.run, ["umount", "--lazy", str(mount)], check=False)
    stage.undo.callback(server.wait)
    stage.undo.callback(server.kill)
    eventually(lambda: os.path.ismount(mount), "bindfs has mounted it")
    sidecar.start()
    eventually(lambda: sidecar.metric("gcsidecar_root_role", role="active"), "the root is open")
    server.send_signal(signal.SIGSTOP)
    stage.ports["hung"] = sidecar.port


def idle(stage: Stage) -> None:
    """A sidecar that only says what it would do, with a root that isn't there, where others take the disk."""
    disk = stage.tmpfs(16 * MIB)
    (disk / "others").write_bytes(bytes(13 * MIB))
    folder(disk / "cache", "a")
    roots = (root(disk / "cache"), root(stage.directory / "nowhere", "missing"))
    sidecar = stage.run("idle", config(*roots, thresholds=DISK, dry_run=True))
    stage.later.append(lambda _: sidecar.write("roots: ["))


def unwatched(stage: Stage) -> None:
    """The kernel refuses to watch anything; and one of two folders belongs to somebody who lets nobody in."""
    cache = stage.tmpfs(32 * MIB)
    folder(cache, "a")
    others = folder(cache, "b")
    others.chmod(0o700)
    os.chown(others, SOMEBODY, SOMEBODY)
    stage.run("unwatched", config(root(cache)), Unwatched)


def restarted(stage: Stage) -> None:
    """It dies again and again, and in the end isn't started any more."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cache = stage.tmpfs(32 * MIB)
    folder(cache, "a")
    sidecar = stage.run("restarted", config(root(cache), listen=f"127.0.0.1:{port}"))
    started = 'process_start_time_seconds{cause="restarted"}'

    def kill_again_and_again(prometheus: FleetPrometheus) -> None:
        for _ in range(5):
            before = prometheus.value(started)
            sidecar.__exit__()
            sidecar.start()
            eventually(lambda: prometheus.has(f"{started} != {before!r}"), "it is scraped again")  # noqa: B023  at once
        sidecar.__exit__()

    stage.later.append(kill_again_and_again)


def small(stage: Stage) -> None:
    """What is evicted is wanted again at once."""
    cache = stage.tmpfs(32 * MIB)
    for number in range(6):
        folder(cache, f"f{number}", MIB // 8)
    stage.run("small", config(root(cache, max_folders=6)))

    def want_all_again(_: FleetPrometheus) -> None:
        for new in ("new", "f"):
            for number in range(6):
                folder(cache, f"{new}{number}", MIB // 8, idle_seconds=0)
            eventually(lambda: len([*cache.glob("[!.]*")]) == 6, "as many have gone")

    stage.later.append(want_all_again)


def unrecorded(stage: Stage) -> None:
    """Another program has the history open for longer than what happens meanwhile can wait to be written."""
    cache = stage.tmpfs(64 * MIB)
    (cache / ".gcsidecar").mkdir()
    history = stage.undo.enter_context((cache / ".gcsidecar/history.sqlite").open("wb"))
    fcntl.lockf(history, fcntl.LOCK_EX | fcntl.LOCK_NB, *SQLITE_LOCK)
    stage.run("unrecorded", config(root(cache)))

    def happen(_: FleetPrometheus) -> None:
        for number in range(MORE_THAN_CAN_WAIT):
            (cache / f"f{number}").mkdir()

    stage.later.append(happen)


@contextmanager
def fleet(tmp_path: Path, tmpfs: MakeFilesystem, ext4: MakeFilesystem) -> Iterator[Stage]:
    with ExitStack() as undo:
        stage = Stage(tmp_path, undo, tmpfs, ext4)
        # The last ends first: what hangs is let go before anything else is to end.
        for cause in (
            healthy_and_standby,
            full,
            stuck,
            held,
            parked,
            idle,
            unwatched,
            small,
            unrecorded,
            restarted,
            hung,
        ):
            cause(stage)
        yield stage


def test_each_alert_fires_where_its_cause_happens_and_only_there(
    tmp_path: Path, tmpfs: MakeFilesystem, ext4: MakeFilesystem
) -> None:
    began = time.monotonic()
    expected = {(cause, f"Gcsidecar{name}") for cause, names in EXPECTED.items() for name in names}
    assert {name for _, name in expected | AT_THE_END} == {alert.name for alert in ALERTS}
    with fleet(tmp_path, tmpfs, ext4) as stage, FleetPrometheus(tmp_path, stage.ports) as prometheus:
        print(f"{time.monotonic() - began:.1f} s until all is set up")
        eventually(lambda: len(prometheus.query("up == 1")) == len(stage.ports), "each is scraped")
        eventually(lambda: prometheus.value("min(count_over_time(up[1m]))") > 2, "each is scraped a few times")
        for happen in stage.later:
            happen(prometheus)
        print(f"{time.monotonic() - began:.1f} s until all has happened")
        wait_for(expected, prometheus)
        print(f"{time.monotonic() - began:.1f} s until all have fired but one")
        prometheus.lose()
        wait_for(AT_THE_END, prometheus)
        print(f"{time.monotonic() - began:.1f} s until all have fired")
        assert prometheus.fired.keys() - expected - AT_THE_END == set()
        for (_, name), annotations in prometheus.fired.items():
            print(f"{name}: {annotations['description']}")
            assert not {"<error", "<no value>", "NaN"} & set(annotations["description"].split())
            assert "error expanding" not in annotations["description"]


def wait_for(expected: set[tuple[str, str]], prometheus: FleetPrometheus) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not expected <= prometheus.look():
        assert time.monotonic() < until, f"these have not fired: {sorted(expected - prometheus.fired.keys())}"
        time.sleep(0.25)


def test_a_hurry_changes_durations_and_nothing_else() -> None:
    rule = {
        "alert": "A",
        "expr": "time() - x_seconds > 120 and increase(y[5m]) > 3600 unless changes(z[1d]) > 1",
        "for": "5m",
        "keep_firing_for": "1h",
        "labels": {"severity": "info"},
    }
    assert hurried({"groups": [{"name": "g", "rules": [rule]}]})["groups"][0]["rules"] == [
        rule
        | {
            "expr": "time() - x_seconds > 10 and increase(y[5s]) > 3600 unless changes(z[30s]) > 1",
            "for": "3s",
            "keep_firing_for": "3s",
        }
    ]
    before, after = documents(), hurried(documents())
    assert [rule.keys() for group in after["groups"] for rule in group["rules"]] == [
        rule.keys() for group in before["groups"] for rule in group["rules"]
    ]

"""One run after which every metric has something to say: sidecars, a real Prometheus, and a story full of trouble.

It stays up in the state in which the story ends, so that tests can ask Prometheus.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import needs
from cache.leasing import locked, put
from e2e.crew import Crew
from e2e.harness import Sidecar, eventually
from e2e.prometheus import SCRAPE_SECONDS, Prometheus
from e2e.writers import Work

if TYPE_CHECKING:
    from pathlib import Path

KIB, MIB = 1 << 10, 1 << 20
# Each is a tmpfs of its own: the size, and how many inodes it has.
FILESYSTEMS = {
    "main": (24 * MIB, 4000),
    "caps": (64 * MIB, 4000),
    "stuck": (32 * MIB, 4000),
    "many": (32 * MIB, 256),
    "ram": (32 * MIB, 4000),
    "shared": (32 * MIB, 4000),
}
# In which root a folder goes for which reason.
EVICTED = {"jobs": "disk", "many": "inodes", "ram": "memory", "sized": "size", "counted": "folders", "aged": "max-idle"}
# In a user namespace of its own a process may have as few watches as one likes.
UNSHARE = ("unshare", "--user", "--map-root-user")
CGROUP_BYTES = 64 * MIB
# How many bytes sqlite locks, and where.
SQLITE_LOCK = (512, 1 << 30)
PRESSURE = """\
some avg10=1.20 avg60=0.80 avg300=0.20 total={some}
full avg10=0.50 avg60=0.30 avg300=0.10 total={full}
"""


class Run:
    """The main sidecar with all the trouble, another that acts on one of its roots, and a third on trial (dry run).

    Args:
        directory: Where everything lies.

    Attributes:
        sidecar: The main one.
        other: Acts on the root `shared`, so that the main one stands by there; nothing is wrong with it.
        trial: Evicts nothing, can't measure one of its filesystems, and may watch hardly any directory.
        prometheus: Scrapes all three each second.
    """

    sidecar: Sidecar
    other: Sidecar
    trial: Sidecar
    prometheus: Prometheus

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        needs.root()
        for program, package in (("prometheus", None), ("chattr", "e2fsprogs"), ("unshare", "util-linux")):
            needs.program(program, package)
        if subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode != 0:
            needs.unavailable("no user namespace can be made here, in which watches are few")
        try:
            self._prepare()
            self._start()
            self._play()
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._undo.close()

    def root(self, name: str) -> Path:
        """The directory of a root."""
        filesystem = ROOTS[name][0]
        return self._directory / filesystem / name

    # Before anything runs

    def _prepare(self) -> None:
        for name, (size_bytes, inodes) in FILESYSTEMS.items():
            self._mount(self._directory / name, f"size={size_bytes},nr_inodes={inodes}")
        for name in ROOTS:
            self.root(name).mkdir()
        self._make_cgroup(used_bytes=CGROUP_BYTES // 8)
        make(self.root("jobs") / "base-tools", MIB)
        make(self.root("jobs") / "abandoned", MIB)
        lease = self.root("jobs") / "abandoned/.lease.gone"
        lease.touch()
        os.utime(lease, (time.time() - 3600, time.time() - 3600))
        make(self.root("tight") / "busy", MIB)
        (self.root("tight") / "busy/.lease").touch()
        make(self.root("many") / "base-many", 4 * KIB, files=180)
        make(self.root("ram") / "base-ram", MIB)
        self._leave_behind_what_a_crash_leaves()
        self._hold_a_history()
        self._fill_with_what_never_comes_back()

    def _mount(self, path: Path, options: str) -> None:
        path.mkdir()
        run = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True, check=False
        )
        if run.returncode != 0:
            needs.unavailable(f"nothing can be mounted here: {run.stderr.strip()}")
        self._undo.callback(subprocess.run, ["umount", "--lazy", str(path)], check=True)

    def _make_cgroup(self, used_bytes: int) -> None:
        """A directory that looks like a cgroup whose memory is used to so much."""
        directory = self._directory / "cgroup"
        directory.mkdir(exist_ok=True)
        figures = {"memory.max": CGROUP_BYTES, "memory.current": used_bytes, "memory.stat": "inactive_file 0"}
        for name, figure in figures.items():
            (directory / name).write_text(f"{figure}\n")
        for resource in ("io", "memory"):
            (directory / f"{resource}.pressure").write_text(PRESSURE.format(some=2_500_000, full=1_000_000))

    def _leave_behind_what_a_crash_leaves(self) -> None:
        """A folder that was on its way out, with a lease and its name taken; and one that can't be deleted."""
        state = self.root("counted") / ".gcsidecar"
        state.mkdir()
        for side in ("evicting", "condemned"):
            (state / side).mkdir(mode=0o700)
            (state / side / "1-dead").mkdir(mode=0o700)
        make(state / "evicting/1-dead/parked", 64 * KIB)
        (state / "evicting/1-dead/parked/.lease").touch()
        make(self.root("counted") / "parked", 64 * KIB)
        make(state / "condemned/1-dead/rest", 64 * KIB)
        change_attribute("+i", state / "condemned/1-dead/rest/0")

    def _hold_a_history(self) -> None:
        """As another program does that has it open: nothing can be recorded."""
        path = self.root("tight") / ".gcsidecar/history.sqlite"
        path.parent.mkdir()
        path.touch(0o600)
        fcntl.lockf(self._undo.enter_context(path.open("r+b")), fcntl.LOCK_EX, *SQLITE_LOCK)

    def _fill_with_what_never_comes_back(self) -> None:
        """Folders whose files we hold open: evicting them brings nothing."""
        for number in range(8):
            folder = make(self.root("stuck") / f"held-{number}", 3 * MIB)
            self._undo.enter_context((folder / "0").open("rb"))

    def _kill_clients(self) -> None:
        """Two that had leases: these are there, and nobody has them locked; one can't be removed."""
        folder = self.root("jobs") / "base-tools"
        put(folder, ".lease.goes")
        made = put(folder, "made")
        with locked(made):  # until it can't be removed, since the sidecar would do that at once
            change_attribute("+i", made.rename(folder / ".lease.stays"))

    # The processes

    def _start(self) -> None:
        with_cgroup = {"cgroup": str(self._directory / "cgroup"), "min_available": "30%", "target_available": "40%"}
        thresholds = {"disk": {"min_free": "20%", "target_free": "30%"}, "inodes": {"min_free": "5%"}}
        places: dict[str, Any] = {
            name: {"name": name, "path": str(self.root(name)), "min_age": 0} | keys for name, (_, keys) in ROOTS.items()
        }
        places["ram"]["thresholds"] = {"memory": with_cgroup}
        shared = places["shared"]
        later = {"name": "later", "path": str(self._directory / "main/later")}
        self.other = self._sidecar("other", {"roots": [shared]})
        eventually(lambda: self.other.metric("gcsidecar_root_role", role="active"), "the other one acts")
        unread = places["many"] | {"thresholds": {"memory": with_cgroup | {"cgroup": str(self._directory / "none")}}}
        self.trial = self._sidecar(
            "trial",
            {"dry_run": True, "thresholds": thresholds, "roots": [places["stuck"], unread]},
            under=(*UNSHARE, "sh", "-c", 'echo 1 >/proc/sys/user/max_inotify_watches && exec "$@"', "sh"),
        )
        self.sidecar = self._sidecar("main", {"thresholds": thresholds, "roots": [*places.values(), later]})
        ports = (self.sidecar.port, self.other.port, self.trial.port)
        self.prometheus = self._undo.enter_context(Prometheus(self._directory, *ports))
        eventually(lambda: len(self.prometheus.query("up == 1")) == len(ports), "each was scraped once")

    def _sidecar(self, name: str, config: dict[str, Any], *, under: tuple[str, ...] = ()) -> Sidecar:
        directory = self._directory / f"sidecar-{name}"
        directory.mkdir()
        return self._undo.enter_context(Sidecar(directory, config, under=under))

    # The story

    def _play(self) -> None:
        self._hire_writers()
        self._overrun_caps()
        self._kill_clients()
        make(self.root("fresh") / "new", 64 * KIB)
        make(self.root("many") / "small", 4 * KIB, files=20)
        make(self.root("ram") / "idle", MIB)
        self._make_cgroup(used_bytes=CGROUP_BYTES * 7 // 8)
        for root, reason in EVICTED.items():
            counted = partial(self._count, "evictions_total", root=root, reason=reason)
            eventually(counted, f"an eviction for {reason}")
        self._want_back("aged", "unloved")
        eventually(lambda: self._count("regrets_total", root="aged"), "it is a regret")
        eventually(lambda: self._count("eviction_failures_total", root="stubborn"), "an eviction fails")
        eventually(lambda: self._count("leases", state="stale", root="jobs"), "a lease is stale")
        eventually(lambda: self._count("leases_reaped_total", reason="dead"), "a lease is reaped")
        eventually(lambda: self._count("leases", state="dead", root="jobs"), "a dead lease can't be removed")
        eventually(lambda: self._count("filesystem_paused", filesystem="stuck"), "an eviction brings nothing")
        self.sidecar.write("roots: [")
        self.sidecar.send(signal.SIGHUP)
        eventually(lambda: self._count("config_reload_failures_total"), "a config is refused")
        time.sleep(2 * SCRAPE_SECONDS + 0.5)

    def _count(self, name: str, **labels: str) -> float:
        return self.sidecar.metric(f"gcsidecar_{name}", **labels) or 0

    def _hire_writers(self) -> None:
        """Two go on until the end: something always fills, is leased, and goes. A third crosses a trigger and stops."""
        crew = self._undo.enter_context(Crew(self._directory))
        for name, speed in (("slow", MIB), ("fast", 4 * MIB)):
            crew.hire(Work(str(self.root("jobs")), name, 1, 8, 128 * KIB, speed, reuse=0.25, hold_seconds=0.2))
        # An eviction that brings nothing is one only where it is known what it should bring, and no writer took it.
        eventually(lambda: self._count("root_unmeasured_folders", root="stuck") == 0, "sizes are known")
        crew.hire(Work(str(self.root("stuck")), "last", 3, 12, 128 * KIB, MIB, hold_seconds=3600))

    def _overrun_caps(self) -> None:
        slots = self.root("stubborn") / ".gcsidecar/evicting"
        for slot in slots.iterdir():
            change_attribute("+i", slot)
        for root, count, size_bytes in (("sized", 6, 512 * KIB), ("counted", 4, 64 * KIB), ("stubborn", 3, 64 * KIB)):
            for number in range(count):
                make(self.root(root) / f"f{number}", size_bytes)
        make(self.root("aged") / "unloved", 256 * KIB)

    def _want_back(self, root: str, name: str) -> None:
        """A folder that was evicted is made again."""
        path = self.root(root) / name
        eventually(lambda: not path.exists(), f"{name} goes")
        make(path, 256 * KIB)


# Each root: on which filesystem, and what its config says.
ROOTS: dict[str, tuple[str, dict[str, Any]]] = {
    "jobs": ("main", {"keep": ["base-*"], "lease": {"ttl": "3s"}}),
    "fresh": ("main", {"min_age": "1h"}),
    "sized": ("caps", {"max_size": "2MiB", "target_size": "1MiB"}),
    "counted": ("caps", {"max_folders": 2}),
    "aged": ("caps", {"max_idle": "2s"}),
    "tight": ("caps", {"max_size": "300KiB"}),
    "stubborn": ("caps", {"max_folders": 1}),
    "stuck": ("stuck", {"thresholds": {"disk": {"min_free": "20%", "target_free": "60%"}}}),
    "many": ("many", {"keep": ["base-*"], "thresholds": {"inodes": {"min_free": "30%", "target_free": "50%"}}}),
    "ram": ("ram", {"keep": ["base-*"]}),
    "shared": ("shared", {}),
}


def make(folder: Path, size_bytes: int, *, files: int = 1) -> Path:
    """A folder of so many files, so large together, as it comes into its root: whole."""
    # A folder that grows would be measured, and found too small.
    made = folder.with_name(f".{folder.name}")
    made.mkdir()
    for number in range(files):
        (made / str(number)).write_bytes(os.urandom(max(1, size_bytes // files)))
    made.rename(folder)
    return folder


def change_attribute(change: str, path: Path) -> None:
    """`chattr`, where the filesystem has it."""
    run = subprocess.run([shutil.which("chattr") or "", change, str(path)], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        needs.unavailable(f"chattr doesn't work here: {run.stderr.strip()}")

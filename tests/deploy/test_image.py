"""The container image: what it is made of, and that it needs next to nothing to run."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

import gcsidecar
from deploy.podman import Pages, Podman, free_port
from e2e.harness import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.conftest import Image, MakeFilesystem

pytestmark = pytest.mark.e2e

MIB = 1 << 20
FOLDERS, MOST_FOLDERS = 1000, 900
MEMORY_BYTES = 64 * MIB
USER = 12345
CONFIG = "/etc/gcsidecar/gcsidecar.yaml"
# With /dev/null in its place a shell can't be run.
SHELLS = ("/usr/bin/dash", "/usr/bin/bash")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A container that may do as little as there is."""

    name: str
    cache: Path
    pages: Pages


def configure(directory: Path, port: int, **root: object) -> Path:
    """A config below a directory that is mounted where the image looks for it."""
    directory.mkdir()
    roots = [{"name": "jobs", "path": "/cache", "min_age": 0} | root]
    config = {"listen": f"127.0.0.1:{port}", "thresholds": {"disk": None, "inodes": None}, "roots": roots}
    (directory / "gcsidecar.yaml").write_text(yaml.safe_dump(config))
    return directory


def folder(cache: Path, name: str, *, user: int, mode: int = 0o755) -> Path:
    made = cache / name
    made.mkdir()
    (made / "file").write_bytes(bytes(4096))
    os.chown(made / "file", user, user)
    os.chown(made, user, user)
    made.chmod(mode)
    return made


def run(podman: Podman, image: Image, name: str, cache: Path, config: Path, *options: object) -> None:
    mounts = (f"--volume={cache}:/cache", f"--volume={config}:/etc/gcsidecar:ro")
    podman("run", "--detach", f"--name={name}", "--read-only", "--cap-drop=all", *mounts, *options, image.name)


@pytest.fixture(scope="module")
def sealed(podman: Podman, image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    directory, port = tmp_path_factory.mktemp("sealed"), free_port()
    cache = directory / "cache"
    cache.mkdir()
    os.chown(cache, USER, USER)
    for number in range(FOLDERS):
        folder(cache, f"folder{number}", user=USER)
    config = configure(directory / "config", port, max_folders=MOST_FOLDERS)
    without_shells = [f"--volume=/dev/null:{shell}:ro" for shell in SHELLS]
    options = (f"--user={USER}:0", "--security-opt=no-new-privileges", f"--memory={MEMORY_BYTES}", *without_shells)
    run(podman, image, "sealed", cache, config, *options)
    yield Sealed("sealed", cache, Pages(port))
    podman("rm", "--force", "--time=0", "sealed")


def test_it_adds_little_to_its_base(image: Image) -> None:
    print(image.said)
    added = re.search(r"of which ([0-9.]+) MiB on top of", image.said)
    assert added
    assert float(added[1]) < 16


def test_it_says_what_it_is(podman: Podman, image: Image) -> None:
    about = podman.inspect(image.name)
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in about["Labels"].items()}
    assert labels["title"] == "gcsidecar"
    assert labels["version"] == gcsidecar.__version__
    assert labels["licenses"] == "MIT"
    assert labels["base.name"] == image.base
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", labels["revision"])
    assert time.time() - 3600 < _seconds(labels["created"]) <= time.time()
    assert {"description", "source", "documentation"} <= labels.keys()


def _seconds(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone


def test_it_starts_as_an_ordinary_user_and_without_a_shell(podman: Podman, image: Image) -> None:
    about = podman.inspect(image.name)
    config = about["Config"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"]), "Kubernetes wants a number to know that it isn't root"
    assert config["Entrypoint"] == ["/opt/gcsidecar/bin/gcsidecar"]
    assert config["Cmd"] == ["run", "--config", CONFIG]
    assert about["Healthcheck"]["Test"][:3] == ["CMD", "/opt/gcsidecar/bin/gcsidecar", "healthcheck"]
    assert "10977/tcp" in config["ExposedPorts"]


def test_it_holds_what_was_locked_and_no_more(podman: Podman, image: Image) -> None:
    code = "import importlib.metadata as m; print(*sorted(f'{d.name.lower()}=={d.version}' for d in m.distributions()))"
    installed = podman("run", "--rm", "--entrypoint=/opt/gcsidecar/bin/python3", image.name, "-c", code).split()
    bill = podman("run", "--rm", "--entrypoint=/usr/bin/cat", image.name, "/opt/gcsidecar/share/gcsidecar.cdx.json")
    listed = [f"{one['name']}=={one['version']}" for one in json.loads(bill)["components"]]
    assert [name.replace("_", "-") for name in installed] == sorted([*listed, f"gcsidecar=={gcsidecar.__version__}"])


def test_its_modules_are_compiled(podman: Podman, image: Image) -> None:
    """On a read-only filesystem they would be compiled anew at each start, which takes longer than all the rest."""
    code = (
        "import sys; from gcsidecar.sidecar import cli, service;"
        "from pathlib import Path;"
        "files = [m.__cached__ for m in list(sys.modules.values()) if getattr(m, '__cached__', None)];"
        "print(len(files), [file for file in files if not Path(file).exists()])"
    )
    said = podman("run", "--rm", "--entrypoint=/opt/gcsidecar/bin/python3", image.name, "-c", code).split(maxsplit=1)
    assert int(said[0]) > 100
    assert said[1].strip() == "[]"


def test_it_needs_no_user_of_its_own_no_capability_no_shell_and_writes_nowhere_else(
    podman: Podman, sealed: Sealed
) -> None:
    eventually(lambda: _folders(sealed) == MOST_FOLDERS, "the folders that are too many are evicted")
    status = Path(f"/proc/{podman.pid(sealed.name)}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["Uid"].split() == [str(USER)] * 4
    assert {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd")} == {0}
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    podman("exec", sealed.name, "/bin/sh", "-c", "true", status=126)
    written = [line for line in podman("diff", sealed.name).splitlines() if line.startswith("A ")]
    assert [line for line in written if not line.startswith(("A /cache", "A /etc/gcsidecar"))] == []


def _folders(sealed: Sealed) -> int:
    return len([name for name in os.listdir(sealed.cache) if not name.startswith(".")])


def test_64_mib_are_enough_for_a_thousand_folders(podman: Podman, sealed: Sealed) -> None:
    eventually(sealed.pages.is_ready, "it is ready")
    eventually(lambda: sealed.pages.total("gcsidecar_root_unmeasured_folders") == 0, "all folders are measured")
    for _ in range(20):
        assert sealed.pages.get("/metrics")[0] == 200
    about = podman.inspect(sealed.name)
    assert about["HostConfig"]["Memory"] == MEMORY_BYTES
    assert _limit(podman.pid(sealed.name)) == MEMORY_BYTES
    assert about["State"]["Running"]
    assert not about["State"]["OOMKilled"]
    print(f"{sealed.pages.total('process_resident_memory_bytes') / MIB:.1f} MiB with {MOST_FOLDERS} folders")


def _limit(pid: int) -> int:
    """What the kernel holds a process's cgroup to; both kinds of hierarchy are about."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            return int(Path(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes").read_text())
        if not controllers and Path(f"/sys/fs/cgroup{path}/memory.max").exists():
            return int(Path(f"/sys/fs/cgroup{path}/memory.max").read_text())
    raise AssertionError(f"process {pid} is in no memory cgroup")


def test_its_health_check_says_how_it_is(podman: Podman, sealed: Sealed) -> None:
    eventually(sealed.pages.is_ready, "it is ready")
    podman("healthcheck", "run", sealed.name)
    pid = podman.pid(sealed.name)
    os.kill(pid, signal.SIGSTOP)
    try:
        podman("healthcheck", "run", sealed.name, status=1)
    finally:
        os.kill(pid, signal.SIGCONT)
    podman("healthcheck", "run", sealed.name)


def test_it_ends_well_when_told_to(podman: Podman, sealed: Sealed) -> None:
    eventually(sealed.pages.is_ready, "it is ready")
    began = time.monotonic()
    podman("stop", "--time=10", sealed.name)
    assert time.monotonic() - began < 5
    assert podman.inspect(sealed.name)["State"]["ExitCode"] == 0


@pytest.mark.parametrize(
    ("capabilities", "deleted"),
    [
        (("DAC_OVERRIDE", "FOWNER"), {"open", "closed", "read-only", "sticky"}),
        (("DAC_OVERRIDE",), {"open", "closed", "read-only"}),
        ((), set()),
    ],
)
def test_uid_0_needs_two_capabilities_for_folders_of_several_users(
    podman: Podman,
    image: Image,
    tmpfs: MakeFilesystem,
    tmp_path: Path,
    capabilities: tuple[str, ...],
    deleted: set[str],
) -> None:
    port, cache = free_port(), tmpfs(16 * MIB)
    modes = {"mine": (0, 0o755), "open": (1001, 0o755), "closed": (1002, 0o700), "read-only": (1003, 0o555)}
    for name, (user, mode) in (modes | {"sticky": (1004, 0o1777)}).items():
        folder(cache, name, user=user, mode=mode)
    name, pages = f"rights{len(capabilities)}", Pages(port)
    added = [f"--cap-add={capability}" for capability in capabilities]
    run(podman, image, name, cache, configure(tmp_path / "config", port, max_idle="1s"), "--user=0:0", *added)
    try:
        eventually(lambda: left(cache) == (set(modes) | {"sticky"}) - deleted - {"mine"}, "what it may delete goes")
        kept = pages.total("gcsidecar_kept_total") + pages.total("gcsidecar_eviction_failures_total")
        assert (kept > 0) == (len(deleted) < 4), podman.logs(name)
    finally:
        podman("rm", "--force", "--time=0", name)


def left(cache: Path) -> set[str]:
    """The folders whose files are there still, under their names or condemned."""
    return {os.path.basename(directory) for directory, _, files in os.walk(cache) if "file" in files}

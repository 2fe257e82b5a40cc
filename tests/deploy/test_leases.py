"""A client in one container and the sidecar in another, on one volume: the kernel that both share ends the lease."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from deploy.podman import Pages, Podman, free_port
from deploy.test_image import USER, configure, folder, run
from e2e.harness import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deploy.conftest import Image

pytestmark = pytest.mark.e2e

MAX_IDLE_SECONDS = 1
# Several times as long as nobody could leave it idle.
HELD_SECONDS = 2.5

PYTHON = "import gcsidecar, time; lease = gcsidecar.lease('/cache/f', purpose='python'); time.sleep(600)"
CLIENTS = {
    "run": ((), ("lease", "run", "/cache/f", "--purpose", "run", "--", "/usr/bin/sleep", "600")),
    "python": (("--entrypoint=/opt/gcsidecar/bin/python3",), ("-c", PYTHON)),
}


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("volume")
    os.chown(path, USER, USER)
    return path


@pytest.fixture(scope="module")
def pages(podman: Podman, image: Image, volume: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """Of a sidecar that evicts whatever nobody holds."""
    port = free_port()
    config = configure(tmp_path_factory.mktemp("config") / "etc", port, max_idle=f"{MAX_IDLE_SECONDS}s")
    run(podman, image, "sidecar", volume, config, f"--user={USER}:0")
    asked = Pages(port)
    eventually(asked.is_ready, "the sidecar is ready")
    yield asked
    podman("rm", "--force", "--time=0", "sidecar")


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_lease_ends_at_once_when_its_holder_in_another_container_is_killed_and_not_before(
    podman: Podman, image: Image, volume: Path, pages: Pages, kind: str
) -> None:
    held = volume / "f"
    options, command = CLIENTS[kind]
    mounted = f"--volume={volume}:/cache"
    # It makes the folder, since one that nobody holds yet would go.
    podman("run", "--detach", "--name=client", f"--user={USER}:0", mounted, *options, image.name, *command)
    try:
        eventually(lambda: held.is_dir() and list(held.glob(".lease.*")), "the client has its lease")
        pid = podman.pid("client")
        assert namespace(pid) != namespace(podman.pid("sidecar"))
        (held / "file").write_bytes(bytes(4096))
        folder(volume, f"idle-{kind}", user=USER)
        eventually(lambda: not (volume / f"idle-{kind}").exists(), "what nobody holds goes")
        os.kill(pid, signal.SIGSTOP)  # a holder that does nothing holds
        time.sleep(HELD_SECONDS)
        assert (held / "file").exists()
        assert pages.total("gcsidecar_leases", state="live") == 1

        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not list(held.glob(".lease.*")), "the lease ends")
        print(f"{kind}: ended {time.monotonic() - began:.2f} s after its holder was killed")
        eventually(lambda: not held.exists(), "the folder goes")
        assert "event=lease-reaped root=jobs folder=f lease=.lease." in podman.logs("sidecar")
        assert f"purpose={kind}" in podman.logs("sidecar")
    finally:
        podman("rm", "--force", "--time=0", "client")


def namespace(pid: int) -> str:
    """The namespace of process ids that a process lives in."""
    return os.readlink(f"/proc/{pid}/ns/pid")

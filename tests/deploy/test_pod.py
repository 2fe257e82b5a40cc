"""The pod that our manifests make, really run: podman plays it, on a small tmpfs, and a real Prometheus scrapes it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from deploy import kustomize
from deploy.podman import Pages, Podman, free_port
from e2e.harness import eventually
from e2e.prometheus import Prometheus

if TYPE_CHECKING:
    from deploy.conftest import Image, MakeFilesystem
    from deploy.kustomize import Object

pytestmark = pytest.mark.e2e

DEMO = Path(__file__).parents[2] / "deploy" / "kubernetes" / "demo"
MIB = 1 << 20
# As large as the emptyDir of the manifest.
CAPACITY_BYTES = 128 * MIB
USER = 10001
# In it: one Prometheus scrape 5 s after its start, and a cache that has to be filled first.
PATIENCE_SECONDS = 60.0


def playable(volume: Path, port: int) -> list[Object]:
    """The demo's objects as podman 4.3 can play them.

    It takes a native sidecar for an init container that has to end first, so that one becomes a container like the
    others; it gives an emptyDir no size, so the cache is a tmpfs; and since the pod has this machine's network, the
    port is one that is free here.
    """
    objects = []
    for one in kustomize.build(DEMO):
        if one["kind"] == "ConfigMap":
            data = {name: text.replace('":10977"', f'"127.0.0.1:{port}"') for name, text in one["data"].items()}
            objects.append(one | {"data": data})
        elif one["kind"] == "Deployment":
            template = one["spec"]["template"]
            _move_sidecar(template["spec"], volume)
            metadata = template["metadata"] | {"name": "demo"}
            objects.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
    return objects


def _move_sidecar(pod: Object, volume: Path) -> None:
    (sidecar,) = pod.pop("initContainers")
    assert sidecar.pop("restartPolicy") == "Always"
    assert pod.setdefault("restartPolicy", "Always") == "Always"
    del sidecar["ports"]
    # What lies on a tmpfs counts as memory of who wrote it.
    (workload,) = pod["containers"]
    workload["resources"]["limits"]["memory"] = str(
        in_bytes(workload["resources"]["limits"]["memory"]) + CAPACITY_BYTES
    )
    pod["containers"].insert(0, sidecar)
    (cache,) = (one for one in pod["volumes"] if one["name"] == "cache")
    assert in_bytes(cache.pop("emptyDir")["sizeLimit"]) == CAPACITY_BYTES
    cache["hostPath"] = {"path": str(volume), "type": "Directory"}


def in_bytes(quantity: str) -> int:
    assert quantity.endswith("Mi")
    return int(quantity.removesuffix("Mi")) * MIB


def test_a_pod_keeps_its_cache_in_bounds_and_goes_on_after_its_sidecar_was_killed(
    podman: Podman, image: Image, tmpfs: MakeFilesystem, tmp_path: Path
) -> None:
    assert image.name == f"localhost/{sidecar_image()}", "the image that the manifest names"
    cache, port = tmpfs(CAPACITY_BYTES, f"uid={USER}", f"gid={USER}"), free_port()
    held = hold(cache)
    manifest = tmp_path / "pod.yaml"
    manifest.write_text(yaml.safe_dump_all(playable(cache, port)))
    pages = Pages(port)
    podman("kube", "play", "--network=host", manifest)
    try:
        eventually(pages.is_ready, "the sidecar is ready")
        with Prometheus(tmp_path, port) as prometheus:
            evicted = "sum(gcsidecar_evictions_total) >= 1"
            eventually(lambda: prometheus.has(evicted), "Prometheus sees evictions", PATIENCE_SECONDS)
            # A scrape sees the moment of crossing hardly ever.
            assert prometheus.value("max_over_time(gcsidecar_root_cap_pressure_ratio[1m])") > 0.5
            assert prometheus.value("min_over_time(gcsidecar_filesystem_disk_free_bytes[1m])") > 0

            before = prometheus.value("process_start_time_seconds")
            os.kill(podman.pid("demo-gcsidecar"), signal.SIGKILL)
            again = f"process_start_time_seconds > {before} and on() {evicted}"
            eventually(lambda: prometheus.has(again), "it is started anew and goes on evicting", PATIENCE_SECONDS)
            assert prometheus.value('gcsidecar_root_folders{state="leased"}') >= 1
        assert sorted(os.listdir(held)) == [".lease.test", "precious"]
        assert "No space left" not in podman.logs("demo-workload")
        podman("pod", "stop", "--time=10", "demo")
        for name, restarts in (("demo-gcsidecar", 1), ("demo-workload", 0)):
            about = podman.inspect(name)
            assert (about["State"]["ExitCode"], about["RestartCount"]) == (0, restarts), podman.logs(name)
    finally:
        podman("pod", "rm", "--force", "--time=0", "demo")
        podman("volume", "rm", "--all")


def sidecar_image() -> str:
    (pod,) = (pod for one in kustomize.build(DEMO) if (pod := kustomize.pod_spec(one)))
    return str(pod["initContainers"][0]["image"])


def hold(cache: Path) -> Path:
    """A folder that would be the first to go, but for its lease."""
    folder = cache / "held"
    folder.mkdir()
    (folder / "precious").write_bytes(bytes(MIB))
    (folder / ".lease.test").touch()
    for path in (*folder.iterdir(), folder):
        os.chown(path, USER, USER)
        os.utime(path, (0, 0))
    return folder

"""The Compose file: right by the Compose specification, whole, and its sidecar and workload run with podman as it says.

There is no Docker here; what Grafana makes of its part has to be taken from its documentation.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import gcsidecar
import needs
from deploy.podman import Pages, Podman, free_port
from e2e.harness import eventually
from gcsidecar.sidecar.config import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deploy.conftest import Image, Mounts

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose"
FILE = COMPOSE / "compose.yaml"
ALL: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = ALL["services"]
OURS = ("gcsidecar", "workload")
# How long the workload takes to fill the volume, on a busy machine.
PATIENCE_SECONDS = 60.0
# What of a service podman is told, and what means nothing for a single container.
TRANSLATED = {
    *("image", "user", "volumes", "entrypoint", "command"),
    *("read_only", "cap_drop", "security_opt", "mem_limit", "pids_limit"),
}
LEFT_OUT = {"build", "depends_on", "healthcheck", "logging", "ports", "restart", "stop_grace_period"}

every_service = pytest.mark.parametrize("name", SERVICES)


def volumes_of(name: str) -> Iterator[tuple[str, str, str]]:
    """Source, target and mode of each volume of a service."""
    for volume in SERVICES[name]["volumes"]:
        source, target, *mode = volume.split(":")
        yield source, target, ":".join(mode)


def test_it_is_right_by_the_compose_specification() -> None:
    needs.module("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema=vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@every_service
def test_what_it_mounts_is_there(name: str) -> None:
    for source, _, _ in volumes_of(name):
        assert source in ALL["volumes"] if source[0] != "." else (COMPOSE / source).is_dir(), source


@every_service
def test_each_service_is_hardened_and_reached_from_this_machine_only(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "mem_limit" in service
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in service.get("ports", []))


@every_service
def test_each_image_has_a_version(name: str) -> None:
    image = SERVICES[name]["image"]
    if name in OURS:
        assert image == f"gcsidecar:{gcsidecar.__version__}"
    else:
        assert re.search(r":v?\d+\.\d+\.\d+$", image), image


def test_the_image_is_built_from_here() -> None:
    build = SERVICES["gcsidecar"]["build"]
    assert (COMPOSE / build["context"] / build["dockerfile"]).is_file()
    assert (COMPOSE / build["context"] / "pyproject.toml").is_file()


def test_the_sidecars_config_is_right() -> None:
    config = load(str(COMPOSE / "config" / "gcsidecar.yaml"), {})
    (published,) = SERVICES["gcsidecar"]["ports"]
    assert config.listen_addresses == (f":{published.split(':')[-1]}",)
    assert {root.path for root in config.roots} <= {target for _, target, _ in volumes_of("gcsidecar")}


def test_the_workload_needs_more_than_the_cache_holds() -> None:
    words = dict(word.removeprefix("--").split("=") for word in SERVICES["workload"]["command"] if "=" in word)
    size = re.search(r"size=(\d+)m", ALL["volumes"]["cache"]["driver_opts"]["o"])
    assert size
    assert int(words["folders"]) * int(words["mib"]) > int(size[1])
    # What is in use at once has to fit below the trigger, or nothing can be evicted.
    assert int(words["jobs"]) * int(words["mib"]) < int(size[1]) // 2
    assert SERVICES["workload"]["user"] == SERVICES["gcsidecar"]["user"]
    # A tmpfs counts as memory of who wrote to it.
    assert int(SERVICES["workload"]["mem_limit"].rstrip("m")) > int(size[1]) + 64


def test_prometheus_scrapes_the_sidecar_with_our_rules() -> None:
    (flag,) = (word for word in SERVICES["prometheus"]["command"] if word.startswith("--config.file="))
    config = _inside("prometheus", flag.removeprefix("--config.file="))
    jobs = yaml.safe_load(config.read_text())["scrape_configs"]
    targets = [target for job in jobs for static in job["static_configs"] for target in static["targets"]]
    assert targets == ["gcsidecar:10977"]
    promtool = needs.program("promtool", "prometheus")
    done = subprocess.run([promtool, "check", "config", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_prometheus_and_our_dashboards() -> None:
    provisioning = _inside("grafana", "/etc/grafana/provisioning")
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert source["isDefault"] is True
    assert source["url"] == f"http://prometheus:{SERVICES['prometheus']['ports'][0].split(':')[-1]}"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "gcsidecar.yaml").read_text())["providers"]
    names = {path.name for path in _inside("grafana", provider["options"]["path"]).glob("*.json")}
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"]
    assert home.name in names
    assert len(names) == 3


def _inside(name: str, path: str) -> Path:
    """The file here that a service sees at a path."""
    for source, target, mode in volumes_of(name):
        if path == target or path.startswith(f"{target}/"):
            assert mode == "ro"
            return (COMPOSE / source / path.removeprefix(target).lstrip("/")).resolve()
    raise AssertionError(f"{name} mounts nothing at {path}")


@pytest.mark.e2e
def test_the_workload_fills_the_volume_and_the_sidecar_evicts(
    podman: Podman, image: Image, mounts: Mounts, tmp_path: Path
) -> None:
    port = free_port()
    config = (COMPOSE / "config" / "gcsidecar.yaml").read_text().replace('":10977"', f'"127.0.0.1:{port}"')
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "gcsidecar.yaml").write_text(config)
    # Podman 4.3 takes the size of a volume for a quota, so the volume is made as Docker would make it.
    volume = ALL["volumes"]["cache"]["driver_opts"]
    cache = mounts.mount(tmp_path / "cache", "-t", volume["type"], "-o", volume["o"], volume["device"])
    places = {"cache": cache, "./config": tmp_path / "config"}
    pages = Pages(port)
    assert image.name == f"localhost/{SERVICES['gcsidecar']['image']}"
    try:
        start(podman, "gcsidecar", places)
        eventually(pages.is_ready, "the sidecar is ready")
        podman("healthcheck", "run", "gcsidecar")
        start(podman, "workload", places)
        eventually(lambda: pages.total("gcsidecar_evictions_total", reason="disk") > 0, "folders go", PATIENCE_SECONDS)
        for name in OURS:
            podman("stop", "--time=10", name)
            about = podman.inspect(name)["State"]
            assert (about["ExitCode"], about["OOMKilled"]) == (0, False), podman.logs(name)
    finally:
        podman("rm", "--force", "--time=0", "--ignore", *OURS)


def start(podman: Podman, name: str, places: Mapping[str, Path]) -> None:
    """Run a service as the Compose file says; where it differs here, `places` says what is mounted."""
    service = SERVICES[name]
    assert service.keys() <= TRANSLATED | LEFT_OUT
    volumes = [
        f"--volume={':'.join(filter(None, (str(places.get(source, (COMPOSE / source).resolve())), target, mode)))}"
        for source, target, mode in volumes_of(name)
    ]
    limits = [f"--memory={service['mem_limit']}", f"--pids-limit={service['pids_limit']}"]
    rights = [f"--cap-drop={service['cap_drop'][0]}", f"--security-opt={service['security_opt'][0]}", "--read-only"]
    entrypoint = [f"--entrypoint={service['entrypoint'][0]}"] if "entrypoint" in service else []
    command = [*service.get("entrypoint", [])[1:], *service.get("command", [])]
    options = [f"--name={name}", f"--user={service['user']}", *limits, *rights, *volumes, *entrypoint]
    podman("run", "--detach", *options, service["image"], *command)

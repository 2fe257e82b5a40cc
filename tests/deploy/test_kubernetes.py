"""The Kubernetes manifests: complete, valid for today's API servers, least in privilege, with configs that load."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions

from deploy import kustomize
from deploy.kustomize import Object, build, identity, pod_spec
from gcsidecar import __version__
from gcsidecar.sidecar.config import ConfigError, load
from gcsidecar.sidecar.config.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
BUILDS = ["demo", "daemonset", "overlays/pvc", "overlays/node"]
NEWEST = all_versions()[-5:]
# Those of the Prometheus operator; no API server of its own knows them.
OPERATOR = "monitoring.coreos.com/v1"
SUFFIXES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}

every_build = pytest.mark.parametrize("name", BUILDS)


def pods(name: str) -> Iterator[tuple[Object, Object]]:
    """The workloads of a build, each with its pod."""
    for one in build(KUBERNETES / name):
        pod = pod_spec(one)
        if pod is not None:
            yield one, pod


def containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def sidecar(name: str) -> Object:
    """The container of gcsidecar in a build."""
    (found,) = (one for _, pod in pods(name) for one in containers(pod) if one["name"] == "gcsidecar")
    return found


def config(objects: list[Object]) -> str:
    (text,) = (one["data"]["gcsidecar.yaml"] for one in objects if identity(one) == ("ConfigMap", "gcsidecar"))
    return str(text)


def in_bytes(quantity: str) -> int:
    """A quantity as Kubernetes writes it."""
    match = re.fullmatch(r"(\d+)(Ki|Mi|Gi)", quantity)
    assert match, quantity
    return int(match[1]) * SUFFIXES[match[2]]


@every_build
@pytest.mark.parametrize("version", NEWEST)
def test_the_api_server_knows_every_field(name: str, version: str) -> None:
    for one in build(KUBERNETES / name):
        if one["apiVersion"] != OPERATOR:
            kubernetes_validate.validate(one, version, strict=True)


def test_a_field_that_is_not_known_is_refused() -> None:
    (one,) = (one for one in build(KUBERNETES / "daemonset") if one["kind"] == "DaemonSet")
    one["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFileSystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(one, NEWEST[-1], strict=True)


@every_build
def test_it_is_built_as_kubectl_builds_it(name: str) -> None:
    objects = {identity(one): one for one in build(KUBERNETES / name)}
    for patch in (KUBERNETES / name).glob("*.yaml"):
        assert list(yaml.safe_load_all(patch.read_text())), patch
    # Debian's kubectl is too old for components, so no test can ask for one; where there is one, it has the last word.
    if shutil.which("kubectl"):
        command = ["kubectl", "kustomize", str(KUBERNETES / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        theirs = {identity(one): one for one in yaml.safe_load_all(done.stdout)}
        assert _sorted(objects) == _sorted(theirs)


def _sorted(objects: dict[tuple[str, str], Object]) -> str:
    """As text in which the order of a list says nothing; the order of mounts and volumes has no meaning."""

    def normal(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: normal(value[key]) for key in sorted(value)}
        if isinstance(value, list):
            return sorted((normal(element) for element in value), key=json.dumps)
        return value

    return json.dumps([normal(objects[key]) for key in sorted(objects)], indent=1)


def test_every_file_is_part_of_a_build() -> None:
    used = {KUBERNETES / name / "kustomization.yaml" for name in [*BUILDS, "sidecar", "monitoring"]}
    for path in list(used):
        one = kustomize.load(path)
        files = [file for generator in one.get("configMapGenerator", []) for file in generator["files"]]
        patches = [patch["path"] for patch in one.get("patches", [])]
        used |= {path.parent / name for name in [*one.get("resources", []), *files, *patches]}
    assert {path for path in KUBERNETES.rglob("*") if path.is_file() and path.suffix != ".pyc"} <= used


@every_build
def test_what_a_pod_mounts_is_there(name: str) -> None:
    there = {identity(one) for one in build(KUBERNETES / name)}
    for _, pod in pods(name):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for container in containers(pod):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there
        account = pod.get("serviceAccountName")
        assert account is None or ("ServiceAccount", account) in there


@every_build
def test_its_config_is_right(name: str, tmp_path: Path) -> None:
    objects = build(KUBERNETES / name)
    (tmp_path / "gcsidecar.yaml").write_text(config(objects))
    found = load(str(tmp_path / "gcsidecar.yaml"), environment(name))
    port = sidecar(name)["ports"][0]["containerPort"]
    assert found.listen_addresses == (f":{port}",)
    # Each root is a mount by itself: a folder of it, mounted alone, could be moved without notice.
    mounted = {mount["mountPath"] for mount in sidecar(name)["volumeMounts"]}
    assert {root.path for root in found.roots} <= mounted
    assert sidecar(name)["args"][-1].removesuffix("/gcsidecar.yaml") in mounted


def environment(name: str) -> dict[str, str]:
    """What kubelet would put in: an annotation that is missing is an empty text."""
    ((one, _),) = pods(name)
    annotations = one["spec"]["template"]["metadata"].get("annotations", {})
    found = {}
    for variable in sidecar(name).get("env", []):
        match = re.fullmatch(r"metadata\.annotations\['(.+)'\]", variable["valueFrom"]["fieldRef"]["fieldPath"])
        assert match, variable
        found[variable["name"]] = annotations.get(match[1], "")
    return found


def test_a_cache_stops_growing_well_before_kubelet_evicts_its_pod() -> None:
    ((_, pod),) = pods("demo")
    (limit,) = (volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume)
    assert 0.5 < parse_size(environment("demo")["GCSIDECAR_MAX_SIZE"]) / in_bytes(limit) <= 0.8


def test_without_the_annotation_the_sidecar_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "gcsidecar.yaml").write_text(config(build(KUBERNETES / "demo")))
    with pytest.raises(ConfigError, match="the annotation gcsidecar/max-size is missing"):
        load(str(tmp_path / "gcsidecar.yaml"), {"GCSIDECAR_MAX_SIZE": "", "GCSIDECAR_MIN_AGE": ""})


@every_build
def test_the_sidecar_may_do_as_little_as_possible(name: str) -> None:
    ((one, pod),) = pods(name)
    is_daemonset = one["kind"] == "DaemonSet"
    for container in containers(pod):
        rights = pod.get("securityContext", {}) | container["securityContext"]
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
        assert rights["runAsNonRoot"] is not is_daemonset
        wanted = {"drop": ["ALL"]} | ({"add": ["DAC_OVERRIDE", "FOWNER"]} if is_daemonset else {})
        assert rights["capabilities"] == wanted
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()


@pytest.mark.parametrize("name", ["demo", "overlays/pvc"])
def test_the_sidecar_is_native_and_the_same_user_as_its_workload(name: str) -> None:
    ((_, pod),) = pods(name)
    (native,) = pod["initContainers"]
    assert native["restartPolicy"] == "Always"
    assert "runAsUser" not in native["securityContext"]
    assert all("runAsUser" not in container["securityContext"] for container in pod["containers"])
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"]
    shared = {mount["mountPath"] for mount in native["volumeMounts"] if mount["name"] == "cache"}
    assert shared == {m["mountPath"] for c in pod["containers"] for m in c["volumeMounts"] if m["name"] == "cache"}


@every_build
def test_probes_ask_for_pages_that_are_there(name: str) -> None:
    container = sidecar(name)
    (port,) = container["ports"]
    paths = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    assert {kind: probe["path"] for kind, probe in paths.items()} == {
        "startup": "/healthz",
        "readiness": "/readyz",
        "liveness": "/healthz",
    }
    assert {probe["port"] for probe in paths.values()} == {port["name"]}


@every_build
def test_memory_is_asked_for_as_measured_and_cpu_is_not_limited(name: str) -> None:
    resources = sidecar(name)["resources"]
    few_bytes, many_bytes = 38 * 2**20, 354 * 2**20  # with 1,000 and with 100,000 folders
    assert few_bytes < in_bytes(resources["requests"]["memory"]) < 2 * few_bytes
    assert many_bytes < in_bytes(resources["limits"]["memory"]) < 2 * many_bytes
    assert "cpu" not in resources["limits"]


@pytest.mark.parametrize("name", ["overlays/pvc", "overlays/node"])
def test_the_operator_finds_the_pods_and_the_rules(name: str) -> None:
    objects = build(KUBERNETES / name)
    own = {one["kind"]: one for one in objects if one["apiVersion"] == OPERATOR}
    assert own.keys() == {"PodMonitor", "PrometheusRule"}
    monitor = own["PodMonitor"]["spec"]
    assert monitor.keys() == {"selector", "podMetricsEndpoints"}
    (expression,) = monitor["selector"]["matchExpressions"]
    assert expression["operator"] == "Exists"
    ((workload, _),) = pods(name)
    assert expression["key"] in workload["spec"]["template"]["metadata"]["labels"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] == sidecar(name)["ports"][0]["name"]
    assert all(group["rules"] for group in own["PrometheusRule"]["spec"]["groups"])
    assert {one["metadata"]["namespace"] for one in own.values()} == {workload["metadata"]["namespace"]}


@every_build
def test_only_prometheus_gets_in(name: str) -> None:
    objects = build(KUBERNETES / name)
    (policy,) = (one["spec"] for one in objects if one["kind"] == "NetworkPolicy")
    ((workload, _),) = pods(name)
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"port": sidecar(name)["ports"][0]["name"], "protocol": "TCP"}]


def test_images_have_the_version_of_the_package() -> None:
    for name in BUILDS:
        for _, pod in pods(name):
            assert {container["image"].split(":")[1] for container in containers(pod)} == {__version__}

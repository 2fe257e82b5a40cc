"""Builds our kustomizations as `kubectl kustomize` does, as far as they use it; what they don't use it refuses.

There is no kubectl with components in Debian; where one is installed, a test compares the two.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

if TYPE_CHECKING:
    from pathlib import Path

Object: TypeAlias = dict[str, Any]

KEYS = {
    "apiVersion",
    "kind",
    "resources",
    "components",
    "patches",
    "configMapGenerator",
    "generatorOptions",
    "images",
    "namespace",
}
# By which field the elements of a list are the same, when a patch meets them.
MERGE_KEYS = {
    "containers": "name",
    "env": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
CLUSTER_WIDE = {"Namespace"}


def build(directory: Path) -> list[Object]:
    """The objects of a kustomization."""
    objects = _accumulate(directory, [])
    assert len({identity(one) for one in objects}) == len(objects), f"{directory}: two objects of one name"
    return objects


def identity(one: Object) -> tuple[str, str]:
    """Kind and name."""
    return one["kind"], one["metadata"]["name"]


def load(path: Path) -> Object:
    """A file with a single object."""
    (one,) = yaml.safe_load_all(path.read_text())
    return dict(one)


def pod_spec(one: Object) -> Object | None:
    """The pod in an object; none where there is none."""
    spec: Object | None = one["spec"]["template"]["spec"] if one["kind"] in {"Deployment", "DaemonSet"} else None
    return spec


def _accumulate(directory: Path, objects: list[Object]) -> list[Object]:
    kustomization = load(directory / "kustomization.yaml")
    assert kustomization.keys() <= KEYS, f"{directory}: {kustomization.keys() - KEYS} is not known here"
    assert kustomization.get("generatorOptions", {}) in ({}, {"disableNameSuffixHash": True}), directory
    for name in kustomization.get("resources", []):
        path = directory / name
        objects = [*objects, *(_accumulate(path, []) if path.is_dir() else [load(path)])]
    for generator in kustomization.get("configMapGenerator", []):
        objects = _generated(directory, generator, objects)
    for name in kustomization.get("components", []):
        assert load(directory / name / "kustomization.yaml")["kind"] == "Component", name
        objects = _accumulate(directory / name, objects)
    for patch in kustomization.get("patches", []):
        objects = _patched(load(directory / patch["path"]), patch.get("target"), objects)
    return [_transformed(kustomization, one) for one in objects]


def _generated(directory: Path, generator: Object, objects: list[Object]) -> list[Object]:
    assert generator.keys() <= {"name", "files", "behavior"}, directory
    data = {name: (directory / name).read_text() for name in generator["files"]}
    new = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}
    others = [one for one in objects if identity(one) != identity(new)]
    is_replaced = len(others) < len(objects)
    assert is_replaced == (generator.get("behavior") == "replace"), f"{directory}: {generator['name']}"
    return [*others, new]


def _patched(patch: Object, target: Object | None, objects: list[Object]) -> list[Object]:
    hits = [one for one in objects if _is_target(one, patch, target)]
    # A patch of a base that is used by itself may find nothing to do; ours all have something to do.
    assert hits, f"nothing to patch with {identity(patch)}"
    new = {key: value for key, value in patch.items() if key not in {"apiVersion", "kind", "metadata"}}
    return [_merged(one, new) if one in hits else one for one in objects]


def _is_target(one: Object, patch: Object, target: Object | None) -> bool:
    if target is None:
        return identity(one) == identity(patch)
    key, value = target["labelSelector"].split("=")
    assert target.keys() == {"labelSelector"}
    return bool(one["metadata"].get("labels", {}).get(key) == value)


def _merged(old: Any, new: Any, key: str = "") -> Any:
    """A strategic merge: null takes a field away, lists of the API are merged by what names their elements."""
    if isinstance(old, dict) and isinstance(new, dict):
        rest = {name: value for name, value in old.items() if name not in new}
        put = {name: _merged(old.get(name), value, name) for name, value in new.items() if value is not None}
        return rest | put
    if isinstance(old, list) and key in MERGE_KEYS:
        by = MERGE_KEYS[key]
        fresh = {element[by]: element for element in new}
        kept = [_merged(element, fresh.pop(element[by], {})) for element in old]
        return [*fresh.values(), *kept]
    return copy.deepcopy(new)


def _transformed(kustomization: Object, one: Object) -> Object:
    one = copy.deepcopy(one)
    namespace = kustomization.get("namespace")
    if namespace and one["kind"] not in CLUSTER_WIDE:
        one["metadata"]["namespace"] = namespace
    pod = pod_spec(one)
    for image in kustomization.get("images", []) if pod else []:
        for container in [*pod.get("initContainers", []), *pod["containers"]] if pod else []:
            if container["image"].split(":")[0] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
    return one

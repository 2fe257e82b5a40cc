"""The schema that editors use: the one that is committed, and of one mind with the loader where a schema can tell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gcsidecar.sidecar.config.loader import read_text
from gcsidecar.sidecar.config.model import Config
from gcsidecar.sidecar.config.schema import json_schema

CONFIG = Path(__file__).resolve().parents[3] / "config"
VALIDATOR = Draft202012Validator(json_schema())
ROOT = {"name": "jobs", "path": "/cache/jobs"}
DEFAULTED = {"roots": [ROOT]}


def schema_takes(document: Any) -> bool:
    return bool(VALIDATOR.is_valid(document))


def loader_takes(document: Any) -> bool:
    return read_text(yaml.safe_dump(document).encode(), {"A": "1"}).config is not None


def with_root(**values: Any) -> dict[str, Any]:
    return {"roots": [{**ROOT, **values}]}


def test_the_committed_schema_is_the_generated_one() -> None:
    assert json.loads((CONFIG / "gcsidecar.schema.json").read_text()) == json_schema()


def test_the_module_prints_the_committed_schema() -> None:
    command = [sys.executable, "-m", "gcsidecar.sidecar.config.schema"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed == (CONFIG / "gcsidecar.schema.json").read_text()


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_the_example_is_right_by_schema_and_loader() -> None:
    text = (CONFIG / "gcsidecar.yaml").read_text()
    assert "# yaml-language-server: $schema=gcsidecar.schema.json" in text.splitlines()
    assert schema_takes(yaml.safe_load(text))
    reading = read_text(text.encode(), {})
    assert reading.config is not None
    assert not reading.problems


def test_the_example_is_the_defaults_save_for_its_pin() -> None:
    reading = read_text((CONFIG / "gcsidecar.yaml").read_bytes(), {})
    bare = read_text(yaml.safe_dump(with_root(keep=["base-*"])).encode(), {})
    assert reading.config == bare.config


def test_the_example_has_every_key() -> None:
    document = yaml.safe_load((CONFIG / "gcsidecar.yaml").read_text())
    schema = json_schema()
    assert set(document) == set(schema["properties"]) == set(Config.__struct_fields__)
    root = schema["roots"] if "roots" in schema else schema["properties"]["roots"]["items"]
    assert set(document["roots"][0]) == set(root["properties"]) - {"thresholds"}
    assert set(document["roots"][0]["lease"]) == set(root["properties"]["lease"]["properties"])
    assert set(document["thresholds"]) == set(schema["properties"]["thresholds"]["properties"])


def _mappings(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, dict):
        own = [schema] if schema.get("type") == "object" else []
        return own + [one for value in schema.values() for one in _mappings(value)]
    return [one for value in schema for one in _mappings(value)] if isinstance(schema, list) else []


def test_every_mapping_is_strict_and_every_key_described() -> None:
    mappings = _mappings(json_schema())
    assert len(mappings) > 8
    for mapping in mappings:
        assert mapping["additionalProperties"] is False
        assert all(one.get("description") for one in mapping["properties"].values())


GOOD: list[Any] = [
    DEFAULTED,
    {**DEFAULTED, "listen": ":1"},
    {**DEFAULTED, "listen": [":1", "localhost:2"]},
    {**DEFAULTED, "dry_run": True},
    {**DEFAULTED, "dry_run": "${B:-true}"},
    {**DEFAULTED, "log": {"level": "${L:-debug}"}},
    {**DEFAULTED, "thresholds": {"disk": None, "inodes": None, "memory": None}},
    {**DEFAULTED, "thresholds": {"disk": {"min_free": "10GiB"}}},
    {**DEFAULTED, "thresholds": {"disk": {"target_free": "30%"}}},
    {**DEFAULTED, "thresholds": {"disk": {"min_free": 0}}},
    {**DEFAULTED, "thresholds": {"disk": {"min_free": 1_000_000}}},
    {**DEFAULTED, "thresholds": {"inodes": {"min_free": 10}}},
    {**DEFAULTED, "thresholds": {"inodes": {"min_free": "10"}}},
    {**DEFAULTED, "thresholds": {"memory": {"cgroup": "host", "min_available": "5%"}}},
    with_root(max_size="1.5TiB", target_size="80%"),
    with_root(max_size="10 Gi"),
    with_root(max_size=5),
    with_root(max_size="${S:-1GiB}"),
    with_root(max_folders="${S:-3}"),
    with_root(min_age=0),
    with_root(min_age="1h30m", max_idle="7d"),
    with_root(min_age="${D:-1m}"),
    with_root(name="${N:-jobs}"),
    with_root(thresholds={}),
    with_root(thresholds={"disk": {"target_free": "30%"}, "inodes": None}),
    with_root(lease={"ttl": "5m", "on_stale": "expire"}),
    with_root(lease={"locks": ["{folder}/lock"], "lock_grace": 0}, in_use={"open_files": True}),
    with_root(lease={"locks": []}, in_use={"open_files": "${O:-true}"}),
]

BAD: list[Any] = [
    None,
    [],
    {},
    {"roots": []},
    {"roots": None},
    {"roots": [{"name": "jobs"}]},
    {"roots": [{"path": "/cache/a"}]},
    {**DEFAULTED, "x": 1},
    {**DEFAULTED, "listen": 1},
    {**DEFAULTED, "listen": []},
    {**DEFAULTED, "listen": None},
    {**DEFAULTED, "dry_run": "yes"},
    {**DEFAULTED, "dry_run": None},
    {**DEFAULTED, "log": None},
    {**DEFAULTED, "log": {"level": "loud"}},
    {**DEFAULTED, "thresholds": None},
    {**DEFAULTED, "thresholds": {"cpu": None}},
    {**DEFAULTED, "thresholds": {"disk": "10%"}},
    {**DEFAULTED, "thresholds": {"disk": {"min_free": 20}}},
    {**DEFAULTED, "thresholds": {"disk": {"min_free": 0.2}}},
    {**DEFAULTED, "thresholds": {"disk": {"min_free": None}}},
    {**DEFAULTED, "thresholds": {"disk": {"min_free": "lots"}}},
    {**DEFAULTED, "thresholds": {"inodes": {"min_free": "10GiB"}}},
    {**DEFAULTED, "thresholds": {"inodes": {"min_free": -1}}},
    with_root(name="a b"),
    with_root(name=5),
    with_root(name="x" * 64),
    with_root(path=None),
    with_root(folders=["*"]),
    with_root(keep="*"),
    with_root(keep=[1]),
    with_root(lease={"files": []}),
    with_root(lease={"on_stale": "maybe"}),
    with_root(lease={"parked_ttl": None}),
    with_root(lease={"locks": None}),
    with_root(lease={"lock_grace": None}),
    with_root(in_use={"open_files": "yes"}),
    with_root(in_use={"files": True}),
    with_root(min_age=30),
    with_root(min_age="30"),
    with_root(min_age="30m1h"),
    with_root(min_age=""),
    with_root(min_age=None),
    with_root(max_size=-1),
    with_root(max_size="10gib"),
    with_root(max_size=True),
    with_root(max_folders=0),
    with_root(max_folders="3"),
    with_root(top_folders=1001),
    with_root(keep_newest=1.5),
    with_root(thresholds={"disk": {"min_free": 20}}),
    with_root(thresholds=None),
]


@pytest.mark.parametrize("document", GOOD, ids=json.dumps)
def test_what_is_right_is_right_by_both(document: Any) -> None:
    assert schema_takes(document)
    assert loader_takes(document)


@pytest.mark.parametrize("document", BAD, ids=json.dumps)
def test_what_is_wrong_is_wrong_by_both(document: Any) -> None:
    assert not schema_takes(document)
    assert not loader_takes(document)


_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        7,
        100,
        101,
        -1,
        1.5,
        "",
        "a",
        "0",
        "5",
        "5m",
        "5 m",
        "10%",
        "1GiB",
        "1gib",
        "null",
        [],
        {},
        ["{folder}.x"],
        ["a"],
    ]
)
_ROOT_KEYS = sorted(json_schema()["properties"]["roots"]["items"]["properties"])


@given(st.sampled_from(_ROOT_KEYS), _VALUES)
def test_what_the_loader_takes_the_schema_takes(key: str, value: Any) -> None:
    document = with_root(**{key: value})
    assert schema_takes(document) or not loader_takes(document)

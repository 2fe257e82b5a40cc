"""The examples of configs for tools' caches, and which directories of a tool's layout they make folders."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from jsonschema import Draft202012Validator

from cache.helpers import opened
from fakes import FakeClock
from gcsidecar.cache.folders.listing import FolderGlob
from gcsidecar.cache.spec import Thresholds
from gcsidecar.cache.use.lease import LeasePatterns
from gcsidecar.gc.errors import DisposableInUseError
from gcsidecar.sidecar.config import check, load
from gcsidecar.sidecar.config.schema import json_schema
from gcsidecar.sidecar.config.stores import UNITS
from presets.layouts import BASE, PRESETS, Preset, build

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsidecar.cache.spec import RootSpec

PROJECT = Path(__file__).parent.parent.parent
EXAMPLES = sorted((PROJECT / "config" / "examples").glob("*.yaml"))
PAGE = (PROJECT / "docs" / "presets.md").read_text()
WORDS = ("Unit", "Never", "Comes back", "Protected")


def root_of(preset: Preset, cache: Path) -> RootSpec:
    config = load(str(PROJECT / "config" / "examples" / f"{preset.example}.yaml"), {"GCSIDECAR_CACHE": str(cache)})
    (root,) = (root for root in config.roots if root.path == f"{cache}/{preset.at}")
    return root


def glob_of(root: RootSpec) -> FolderGlob:
    return FolderGlob(root.folders, LeasePatterns(root.lease.files))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_nothing_is_wrong_with_an_example_but_that_its_caches_are_not_here(example: Path, tmp_path: Path) -> None:
    problems = check(str(example), {"GCSIDECAR_CACHE": str(tmp_path / "cache")})
    assert problems
    assert all(problem.what.endswith(" is missing") for problem in problems)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_what_goes_what_stays_how_it_comes_back_and_what_protects_it(example: Path) -> None:
    text = example.read_text()
    assert [word for word in WORDS if f"\n# {word:<13} " not in text] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_editor_finds_an_example_right(example: Path) -> None:
    text = example.read_text()
    assert text.startswith("# yaml-language-server: $schema=../gcsidecar.schema.json\n")
    assert list(Draft202012Validator(json_schema()).iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_page_names_each_example(example: Path) -> None:
    assert f"(../config/examples/{example.name})" in PAGE


def test_the_page_names_no_example_that_is_not_there() -> None:
    assert set(re.findall(r"config/examples/([\w-]+\.yaml)", PAGE)) == {example.name for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_acts_where_the_defaults_act(example: Path) -> None:
    assert load(str(example), {}).thresholds == Thresholds()


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.at)
def test_the_units_of_a_tool_are_folders_and_nothing_else_is(preset: Preset, tmp_path: Path) -> None:
    root = root_of(preset, tmp_path)
    build(Path(root.path), preset.tree)
    fd = os.open(root.path, os.O_RDONLY)
    try:
        assert {found.name for found in glob_of(root).list(fd)} == preset.folders
    finally:
        os.close(fd)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.at)
def test_what_must_stay_is_no_folder_whatever_comes_later(preset: Preset, tmp_path: Path) -> None:
    root = root_of(preset, tmp_path)
    build(Path(root.path), preset.tree)
    assert [name for name in preset.never if not (Path(root.path) / name).is_dir()] == []
    assert [name for name in preset.never if glob_of(root).matches(name)] == []


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.at)
def test_check_finds_a_tools_own_layout_fine_for_its_example(preset: Preset, tmp_path: Path) -> None:
    root = root_of(preset, tmp_path)
    build(Path(root.path), preset.tree)
    example = PROJECT / "config" / "examples" / f"{preset.example}.yaml"
    said = check(str(example), {"GCSIDECAR_CACHE": str(tmp_path)})
    assert [problem for problem in said if not problem.what.endswith(" is missing")] == []


def test_the_globs_that_check_proposes_are_those_of_the_examples() -> None:
    examples = {root.folders.rpartition("/")[2] for example in EXAMPLES for root in load(str(example), {}).roots}
    assert {units.folders for units in UNITS} <= examples


def by_flock(fd: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_EX)


def by_process(fd: int) -> None:
    fcntl.lockf(fd, fcntl.LOCK_EX)


def by_open_file(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("@hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 4096, 0))


LOCKS = [
    ("huggingface", "models--org--name", ".locks/models--org--name/*.lock", by_flock),
    ("gradle-wrapper", "gradle-8.0-bin/3qw40n2ls0kw871ht9kseydqh", "gradle-8.0-bin/*/*.lck", by_process),
    ("bazel", f"_bazel_root/{BASE}", f"_bazel_root/{BASE}/lock", by_open_file),
]


@pytest.mark.parametrize(("example", "folder", "lock", "take"), LOCKS, ids=[lock[0] for lock in LOCKS])
def test_the_lock_that_a_tool_keeps_is_found_and_it_keeps_that_folder(
    tmp_path: Path, example: str, folder: str, lock: str, take: Callable[[int], None]
) -> None:
    preset = next(preset for preset in PRESETS if preset.example == example)
    root = root_of(preset, tmp_path)
    build(Path(root.path), preset.tree)
    (path,) = Path(root.path).glob(lock)
    for long_ago in (path, path.parent):
        os.utime(long_ago, (1, 1))
    clock = FakeClock(time.time())
    with opened(Path(root.path), folders=root.folders, lease=root.lease, clock=clock) as watched:
        found = watched.census.get(folder)
        assert found is not None
        with path.open("r+") as file:
            take(file.fileno())
            with pytest.raises(DisposableInUseError) as kept:
                found.dispose()
            assert kept.value.reason == "locked"
        clock.advance(121)
        found.dispose()

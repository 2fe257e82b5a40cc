"""What `check` says of a root that is a tool's own store: told by its layout, as the tool makes it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from gcsidecar.sidecar.config import check
from gcsidecar.sidecar.config.marks import store_around, store_at
from gcsidecar.sidecar.config.stores import STORES
from presets.layouts import BASE, KEPT, OTHER_BASE, PRESETS, XET, Kept, build

if TYPE_CHECKING:
    from pathlib import Path

    from gcsidecar.sidecar.config import Problem

HUB = next(preset for preset in PRESETS if preset.example == "huggingface").tree
BROWSERS = next(preset for preset in PRESETS if preset.example == "playwright").tree
SHARED = f"""blobs/.huggingface-shared-blobs
    blobs/ab/{XET}
    blobs/ab/{XET}.lock
    blobs/ab/{XET}.refs
    models--org--name/blobs/f252 -> ../../blobs/ab/{XET}"""


def said(tmp_path: Path, root: Path, folders: str = "*") -> list[Problem]:
    """The warnings about a root; there is nothing but warnings."""
    file = tmp_path / "config.yaml"
    file.write_text(
        f"roots: [{{name: a, path: {root}, folders: '{folders}'}}]\nthresholds: {{disk: null, inodes: null}}\n"
    )
    problems = check(str(file), {})
    assert {problem.severity for problem in problems} <= {"warning"}
    return list(problems)


def test_each_store_that_is_known_has_a_layout_to_be_told_by() -> None:
    assert {kept.title for kept in KEPT} == {store.title for store in STORES}


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.title)
def test_a_root_that_is_a_tools_own_store_is_warned_of_with_the_reason_and_a_way(kept: Kept, tmp_path: Path) -> None:
    build(tmp_path / "data", kept.tree)
    (problem,) = said(tmp_path, tmp_path / "data")
    assert problem.key == "roots[0].path"
    assert re.fullmatch(rf'"{tmp_path}/data" is {kept.title}: \w.{{20,}}', problem.what)
    assert problem.remedy


@pytest.mark.parametrize("kept", [kept for kept in KEPT if kept.inside], ids=lambda kept: kept.title)
def test_so_is_a_root_that_lies_in_one(kept: Kept, tmp_path: Path) -> None:
    build(tmp_path / "store", kept.tree)
    (problem,) = said(tmp_path, tmp_path / f"store/{kept.inside}")
    assert re.search(rf'" lies in ".*/store", {kept.title}: ', problem.what)  # a long path is shown in part


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.title)
def test_behind_a_symlink_it_is_the_same(kept: Kept, tmp_path: Path) -> None:
    build(tmp_path / "store", kept.tree)
    (tmp_path / "data").symlink_to("store")
    assert store_around(str(tmp_path / "data")) == (str(tmp_path / "store"), store_at(str(tmp_path / "store")))


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.title)
def test_a_folder_may_be_such_a_store_as_a_whole_but_not_be_taken_apart(kept: Kept, tmp_path: Path) -> None:
    for project in ("one", "two"):
        build(tmp_path / "data" / project, kept.tree)
    assert said(tmp_path, tmp_path / "data") == []
    (problem,) = said(tmp_path, tmp_path / "data", "*/[!_]*" if kept.title != "npm's cache" else "*/*")
    assert problem.key == "roots[0].folders"
    assert f'takes apart "{tmp_path}/data/one", {kept.title}: ' in problem.what


def test_what_lies_beside_the_caches_of_a_home_is_fine(tmp_path: Path) -> None:
    for name in ("one", "two"):
        build(tmp_path / "gradle", f"caches/\nwrapper/dists/{name}/abc/")
        build(tmp_path / "hf", f"hub/CACHEDIR.TAG\nhub/models--org--{name}/")
    assert said(tmp_path, tmp_path / "gradle/wrapper/dists", "*/*") == []
    assert said(tmp_path, tmp_path / "hf/hub", "*--*") == []


def test_a_hub_with_a_single_model_is_fine(tmp_path: Path) -> None:
    build(tmp_path / "data", "models--org--one/")
    assert said(tmp_path, tmp_path / "data", "*--*") == []


def test_names_that_merely_look_alike_are_fine(tmp_path: Path) -> None:
    build(tmp_path / "data", "blobs/\ncas/\n00/\n0/data\ntmp/\nhttp/\ncache/\n.links/\nlibrary/\nREADME\nCACHEDIR.TAG")
    assert said(tmp_path, tmp_path / "data") == []


@pytest.mark.parametrize(
    ("tree", "folders", "covered", "instead"),
    [
        (HUB, "*", '"blobs"', "*--*"),
        (HUB, ".*", '".locks"', "*--*"),
        (HUB, "[.bm]*", '"blobs"', "*--*"),
        (BROWSERS, "*", '"__dirlock"', "*-[0-9]*"),
        (BROWSERS, ".*", '".links"', "*-[0-9]*"),
        (f"{BASE}/lock\n{OTHER_BASE}/lock\ncache/repos/", "*", '"cache" and "install"', "?" * 32),
    ],
)
def test_a_glob_that_covers_what_the_other_folders_hang_on_is_warned_of(
    tmp_path: Path, tree: str, folders: str, covered: str, instead: str
) -> None:
    build(tmp_path / "data", tree)
    problem, *_ = said(tmp_path, tmp_path / "data", folders)
    assert problem.key == "roots[0].folders"
    assert problem.what.startswith(f'"{folders}" covers {covered} of "{tmp_path}/data", ')
    assert problem.remedy == f'its units only, as "{instead}" does'


def test_it_is_warned_of_before_there_is_anything_to_cover(tmp_path: Path) -> None:
    build(tmp_path / "data", "models--org--one/\nmodels--org--two/")
    (problem,) = said(tmp_path, tmp_path / "data")
    assert problem.what.startswith('"*" covers "blobs" of ')


def test_a_glob_two_levels_down_is_judged_where_its_folders_lie(tmp_path: Path) -> None:
    build(
        tmp_path / "data", f"_bazel_ann/{BASE}/\n_bazel_ann/{OTHER_BASE}/\n_bazel_ann/install/\n_bazel_ann/cache/repos/"
    )
    (problem,) = said(tmp_path, tmp_path / "data", "*/*")
    assert f'"cache" and "install" of "{tmp_path}/data/_bazel_ann", ' in problem.what
    assert said(tmp_path, tmp_path / "data", f"*/{'?' * 32}") == []


def test_a_hub_whose_models_share_payloads_is_warned_of(tmp_path: Path) -> None:
    build(tmp_path / "data", f"{SHARED}\nmodels--org--other/")
    (problem,) = said(tmp_path, tmp_path / "data", "*--*")
    assert problem.key == "roots[0].path"
    assert problem.what.endswith("evicting a model brings next to nothing back")
    assert "HF_HUB_DISABLE_SHARED_BLOBS=1" in problem.remedy


def test_a_hub_that_shares_no_longer_is_fine(tmp_path: Path) -> None:
    build(tmp_path / "data", f"{SHARED}\nmodels--org--other/")
    (tmp_path / f"data/blobs/ab/{XET}").unlink()
    assert said(tmp_path, tmp_path / "data", "*--*") == []


def test_what_cannot_be_read_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert store_at(str(tmp_path / "missing")) is None
    assert store_around(str(tmp_path / "file")) is None

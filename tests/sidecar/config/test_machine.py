"""What `check` says of a machine: real directories, real mounts, each problem told apart from those of the text."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

import needs
from gcsidecar.sidecar.config import check, load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gcsidecar.sidecar.config import Problem

OFF = "thresholds: {disk: null, inodes: null}\n"


def problems(tmp_path: Path, text: str) -> list[Problem]:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return [problem for problem in check(str(file), {}) if problem.about == "machine"]


def told(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    return [(problem.key, problem.what) for problem in problems(tmp_path, text)]


def roots(*paths: Path, more: str = "") -> str:
    entries = "".join(f"- {{name: r{number}, path: {path}{more}}}\n" for number, path in enumerate(paths))
    return f"roots:\n{entries}"


def directory(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.mkdir()
    return path


@pytest.fixture
def tmpfs(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    needs.root()
    path = directory(tmp_path, "mount")
    options = getattr(request, "param", "size=16m,nr_inodes=1000")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_root_that_is_right_has_no_problems(tmp_path: Path) -> None:
    assert not told(tmp_path, roots(directory(tmp_path, "a")) + OFF)


def test_a_missing_root_fails_the_check_and_not_the_loading(tmp_path: Path) -> None:
    text = roots(tmp_path / "a") + OFF
    (problem,) = problems(tmp_path, text)
    assert (problem.key, problem.line, problem.severity) == ("roots[0].path", 2, "error")
    assert problem.what == f'"{tmp_path}/a" is missing'
    assert load(str(tmp_path / "config.yaml"), {}).roots


def test_a_root_that_is_a_file_is_not_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert told(tmp_path, roots(tmp_path / "a") + OFF) == [("roots[0].path", f'"{tmp_path}/a" is not a directory')]


def test_a_root_below_a_file_is_an_error_too(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    ((_, what),) = told(tmp_path, roots(tmp_path / "a" / "b") + OFF)
    assert what == f'"{tmp_path}/a/b" can\'t be looked at: Not a directory'


@pytest.mark.root
@pytest.mark.parametrize("tmpfs", ["ro"], indirect=True)
def test_a_root_that_is_not_writable_is_an_error_unless_nothing_is_to_be_evicted(tmp_path: Path, tmpfs: Path) -> None:
    assert told(tmp_path, roots(tmpfs) + OFF) == [("roots[0].path", f'"{tmpfs}" is not writable by this user')]
    assert not told(tmp_path, "dry_run: true\n" + roots(tmpfs) + OFF)


@pytest.mark.root
@pytest.mark.parametrize("tmpfs", ["noatime"], indirect=True)
def test_atime_on_a_mount_without_it_is_an_error(tmp_path: Path, tmpfs: Path) -> None:
    ((key, what),) = told(tmp_path, roots(tmpfs, more=", last_used: atime") + OFF)
    assert (key, what.partition(",")[0]) == ("roots[0].last_used", "is atime")
    assert not told(tmp_path, roots(tmpfs) + OFF)


@pytest.mark.root
@pytest.mark.parametrize(
    ("levels", "what"),
    [
        ("disk: {min_free: 16MiB}", "has a min_free of 16MiB, all that there is (16MiB)"),
        ("disk: {min_free: 8MiB, target_free: 17MiB}", "has a target_free of 17MiB, more than there is (16MiB)"),
        ("disk: {min_free: 8MiB, target_free: 25%}", "has target_free 25% below min_free 8MiB of 16MiB"),
        ("inodes: {min_free: 50%, target_free: 400}", "has target_free 400 below min_free 50% of 1000"),
    ],
)
def test_a_level_that_this_filesystem_cannot_meet_is_an_error(
    tmp_path: Path, tmpfs: Path, levels: str, what: str
) -> None:
    text = roots(tmpfs) + f"thresholds: {{{levels}}}\n"
    assert told(tmp_path, text) == [(f"thresholds.{levels.split(':', maxsplit=1)[0]}", what)]


@pytest.mark.root
def test_a_budget_larger_than_its_filesystem_is_a_warning(tmp_path: Path, tmpfs: Path) -> None:
    (problem,) = problems(tmp_path, roots(tmpfs, more=", max_size: 32MiB") + OFF)
    assert (problem.key, problem.severity) == ("roots[0].max_size", "warning")


def test_roots_that_overlap_behind_a_symlink_are_an_error(tmp_path: Path) -> None:
    real = directory(tmp_path, "a")
    (tmp_path / "b").symlink_to(real)
    below = directory(real, "c")
    directory(real, "d")
    assert told(tmp_path, roots(real, tmp_path / "b") + OFF) == [
        ("roots[1].path", f'"{tmp_path}/b" is the same directory as roots[0]')
    ]
    assert told(tmp_path, roots(tmp_path / "b", below) + OFF)[0] == (
        "roots[1].path",
        f'"{below}" lies inside roots[0], "{real}"',
    )


@pytest.mark.root
def test_roots_that_are_one_directory_by_a_bind_mount_are_an_error(tmp_path: Path, tmpfs: Path) -> None:
    real = directory(tmpfs, "a")
    bound = directory(tmp_path, "b")
    subprocess.run(["mount", "--bind", str(real), str(bound)], check=True)
    try:
        assert told(tmp_path, roots(real, bound) + OFF) == [
            ("roots[1].path", f'"{bound}" is the same directory as roots[0]')
        ]
    finally:
        subprocess.run(["umount", str(bound)], check=True)


def test_a_symlink_to_a_system_directory_is_no_root(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("/var/lib")
    ((key, what),) = [
        one for one in told(tmp_path, "dry_run: true\n" + roots(tmp_path / "a") + OFF) if "leads" in one[1]
    ]
    assert key == "roots[0].path"
    assert what == f'"{tmp_path}/a" leads to a place where "/var/lib" is a directory of the system'


def test_a_root_with_a_single_folder_is_a_warning(tmp_path: Path) -> None:
    root = directory(tmp_path, "a")
    directory(root, "only")
    directory(root, ".hidden")
    directory(root, ".gcsidecar")
    assert told(tmp_path, roots(root) + OFF) == [
        ("roots[0].path", f'"{root}" has a single folder, "only": the whole cache goes at once')
    ]
    ((_, hidden),) = told(tmp_path, roots(root, more=', folders: ".*"') + OFF)
    assert '".hidden"' in hidden
    directory(root, "second")
    assert not told(tmp_path, roots(root) + OFF)


@pytest.mark.root
def test_roots_on_one_filesystem_with_different_thresholds_are_told_what_holds(tmp_path: Path, tmpfs: Path) -> None:
    one, two = directory(tmpfs, "one"), directory(tmpfs, "two")
    text = f"""\
roots:
- {{name: a, path: {one}}}
- {{name: b, path: {two}, thresholds: {{disk: {{min_free: 8MiB}}}}}}
thresholds: {{disk: {{min_free: 25%, target_free: 75%}}, inodes: null}}
"""
    (problem,) = problems(tmp_path, text)
    assert (problem.key, problem.severity) == ("roots[1].thresholds.disk", "warning")
    assert problem.what == 'differs for root "b" and root "a", which share a filesystem'
    assert problem.remedy == "the strictest of each holds for both: min_free 8MiB, target_free 12MiB"


def test_an_address_of_another_machine_is_an_error(tmp_path: Path) -> None:
    text = "listen: ['127.0.0.1:0', '192.0.2.1:10977']\n" + roots(directory(tmp_path, "a")) + OFF
    assert told(tmp_path, text) == [("listen[1]", '"192.0.2.1:10977" is not an address of this machine')]


def test_the_machine_is_looked_at_even_where_the_text_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(roots(tmp_path / "a") + OFF + "x: 1\n")
    assert [(problem.key, problem.about) for problem in check(str(file), {})] == [
        ("roots[0].path", "machine"),
        ("x", "text"),
    ]

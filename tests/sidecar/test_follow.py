from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gcsidecar.sidecar.follow import Followed, identity_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "cert", tmp_path / "key"
    for path in paths:
        path.write_text("1")
    return paths


def followed(*paths: Path) -> Followed:
    followed = Followed()
    for path in paths:
        followed.add(str(path))
    return followed


def test_what_stays_as_it_is_has_not_changed(pair: tuple[Path, Path]) -> None:
    files = followed(*pair)
    assert [files.have_changed() for _ in range(3)] == [False] * 3


def test_a_change_is_told_once_it_has_come_to_rest_and_until_the_files_are_taken_anew(pair: tuple[Path, Path]) -> None:
    files = followed(*pair)
    pair[0].write_text("22")
    first = files.have_changed()
    pair[1].write_text("22")
    assert [first, *(files.have_changed() for _ in range(3))] == [False, False, True, True]
    assert not followed(*pair).have_changed()


def test_a_file_of_the_same_size_and_time_in_the_place_of_another_is_a_change(pair: tuple[Path, Path]) -> None:
    files, times = followed(*pair), pair[0].stat()
    new = pair[0].with_name("new")
    new.write_text("2")
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    new.rename(pair[0])
    assert [files.have_changed(), files.have_changed()] == [False, True]


def test_a_link_that_is_swapped_further_up_is_a_change(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "cert").write_text("same")
    (tmp_path / "data").symlink_to("v1")
    (tmp_path / "cert").symlink_to("data/cert")
    files = followed(tmp_path / "cert")
    (tmp_path / "new").symlink_to("v2")
    (tmp_path / "new").rename(tmp_path / "data")
    assert [files.have_changed(), files.have_changed()] == [False, True]


def test_a_file_that_goes_and_one_that_comes_are_changes(tmp_path: Path) -> None:
    path = tmp_path / "cert"
    assert identity_of(str(path)) is None
    files = followed(path)
    path.write_text("")
    assert [files.have_changed(), files.have_changed()] == [False, True]
    files = followed(path)
    path.unlink()
    assert [files.have_changed(), files.have_changed()] == [False, True]

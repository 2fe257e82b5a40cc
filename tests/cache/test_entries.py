"""What is told of the entries of a directory without an object for each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gcsidecar.cache.entries import may_have

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NEEDLE = b".lease"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield tmp_path, fd
    finally:
        os.close(fd)


def test_of_very_many_names_the_one_that_holds_it_is_found_wherever_it_stands(place: tuple[Path, int]) -> None:
    path, fd = place
    for number in range(3000):  # many times what is read at once
        (path / f"{number:04}.leas").touch()
    assert not may_have(fd, [NEEDLE])
    for number in range(0, 3000, 500):
        found = path / f"{number:04}{os.fsdecode(NEEDLE)}"
        found.touch()
        assert may_have(fd, [b"nowhere", NEEDLE])
        found.unlink()
    assert not may_have(fd, [NEEDLE])


def test_the_longest_name_is_seen_whole_and_one_that_is_not_utf_8_too(place: tuple[Path, int]) -> None:
    path, fd = place
    for name in (b"x" * 249 + NEEDLE, b"\xff" + NEEDLE):
        made = path / os.fsdecode(name)
        made.touch()
        assert may_have(fd, [NEEDLE])
        assert may_have(fd, [name])
        made.unlink()
        assert not may_have(fd, [NEEDLE])


def test_what_is_in_every_name_may_be_in_any(place: tuple[Path, int]) -> None:
    assert may_have(place[1], [b""])


def test_nobody_else_who_lists_the_directory_misses_an_entry(place: tuple[Path, int]) -> None:
    path, fd = place
    names = {f"f{number}" for number in range(100)}
    for name in names:
        (path / name).touch()
    with os.scandir(fd) as others:
        first = next(others)
        assert not may_have(fd, [NEEDLE])
        assert {first.name, *(entry.name for entry in others)} == names


def test_what_was_deleted_has_no_entries(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    fd = os.open(tmp_path / "gone", os.O_RDONLY)
    (tmp_path / "gone").rmdir()
    assert not may_have(fd, [NEEDLE])
    os.close(fd)


def test_what_can_not_be_read_is_an_error_and_no_answer(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    with pytest.raises(NotADirectoryError):
        may_have(fd, [NEEDLE])
    os.close(fd)

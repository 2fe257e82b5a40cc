"""Hints of one root: what is noted of each, and when somebody is woken."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder, opened
from gcsidecar.cache.watching.hints import Hints, Noted
from gcsidecar.cache.watching.watcher import Change, ChangeKind, Watcher
from gcsidecar.cache.watching.watches import OVERFLOW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def hints_of(path: Path, woken: list[None], folders: str = "*") -> Iterator[Hints]:
    watcher = Watcher()
    hints = Hints(watcher, str(path), lambda: woken.append(None))
    try:
        with opened(path, watch=hints, folders=folders) as root:
            hints.attach(root)
            hints.take()
            woken.clear()
            yield hints
            hints.detach()
    finally:
        watcher.close()


@pytest.mark.parametrize(
    ("change", "noted"),
    [
        (Change("", "a", ChangeKind.APPEARED), {"everything": True}),
        (Change("", "x", ChangeKind.VANISHED), {"everything": True}),
        (Change("x/", "a", ChangeKind.MODIFIED), {"names": {"x/a": None}}),
        (Change("x/", "a.lease", ChangeKind.APPEARED), {"names": {"x/a": None}}),
        (Change("x/a", ".lease", ChangeKind.APPEARED), {"names": {"x/a": None}}),
        (Change("x/a", "", ChangeKind.MODIFIED), {"names": {"x/a": None}}),
        (Change("x/a", "", ChangeKind.GONE), {"gone": {"x/a": None}}),
        (Change("x/", "", ChangeKind.GONE), {"everything": True}),
        (Change("", "", ChangeKind.MODIFIED), {"everything": True}),
        (Change("x/a", "b", ChangeKind.MODIFIED), {"names": {"x/a": None}}),
        (OVERFLOW, {"everything": True}),
    ],
)
def test_what_a_hint_says_is_noted(tmp_path: Path, change: Change, noted: dict[str, object]) -> None:
    woken: list[None] = []
    with hints_of(tmp_path, woken, "*/*") as hints:
        hints._heard(change)
        assert hints.take() == Noted(**noted)  # type: ignore[arg-type]
        assert len(woken) == 1


def test_whoever_looks_is_woken_once_for_all_that_is_noted_meanwhile_and_not_by_what_is_of_no_interest(
    tmp_path: Path,
) -> None:
    make_folder(tmp_path, "a")
    woken: list[None] = []
    with hints_of(tmp_path, woken) as hints:
        hints._heard(Change("", ".hidden", ChangeKind.APPEARED))
        assert woken == []
        for _ in range(2):
            for name in ("a", "b", "c"):
                hints._heard(Change(name, ".lease", ChangeKind.APPEARED))
            assert list(hints.take().names) == ["a", "b", "c"]
        assert len(woken) == 2


def test_that_a_folder_vanished_which_nobody_knows_is_no_reason_to_look_but_that_one_appeared_is(
    tmp_path: Path,
) -> None:
    make_folder(tmp_path, "a")
    woken: list[None] = []
    with hints_of(tmp_path, woken) as hints:
        hints._heard(Change("", "evicted", ChangeKind.VANISHED))
        assert not hints.take()
        assert woken == []
        hints._heard(Change("", "a", ChangeKind.VANISHED))
        hints._heard(Change("", "new", ChangeKind.APPEARED))
        hints._heard(Change("", "new", ChangeKind.VANISHED))
        assert list(hints.take().names) == ["a", "new"]


def test_that_a_folder_vanished_which_could_not_be_watched_is_a_reason_to_look_though_nobody_knows_it_yet(
    tmp_path: Path,
) -> None:
    with hints_of(tmp_path, []) as hints:
        assert hints._watches is not None
        hints._watches.refuse("new", limited=True)  # as while it is looked at for the first time
        hints._heard(Change("", "new", ChangeKind.VANISHED))
        assert list(hints.take().names) == ["new"]


def test_after_it_ends_nothing_is_noted_or_watched(tmp_path: Path) -> None:
    make_folder(tmp_path, "a")
    woken: list[None] = []
    with hints_of(tmp_path, woken) as hints:
        hints.detach()
        hints._heard(Change("", "a", ChangeKind.APPEARED))
        assert not hints.add("a")
        assert list(hints.try_again()) == []
        assert (woken, bool(hints.take())) == ([], False)

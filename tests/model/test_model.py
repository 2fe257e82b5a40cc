"""The protocol as a model, explored to its last state: what it promises holds, and no check can be left out.

`make model` explores more, and prints a table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from model.spin import MODEL
from model.table import CASES, CHECKS, HOLDING, KEPT, REFUTED, Case

if TYPE_CHECKING:
    from collections.abc import Iterable

    from model.run import Run

README = MODEL.with_name("README.md").read_text()


def short(cases: Iterable[Case]) -> pytest.MarkDecorator:
    chosen = [case for case in cases if not case.is_long]
    return pytest.mark.parametrize("case", chosen, ids=lambda case: case.configuration)


@short(HOLDING)
def test_all_that_is_promised_holds_in_every_state(explored: Run, case: Case) -> None:
    assert explored.verdict(case).violated is None


@short(check.case for check in CHECKS)
def test_without_the_check_it_does_not(explored: Run, case: Case) -> None:
    assert explored.verdict(case).violated is not None, f"nothing is refuted {case.refutes}"


@short(REFUTED)
def test_what_nobody_can_guarantee_is_known_to_fail(explored: Run, case: Case) -> None:
    assert explored.verdict(case).violated is not None, case.refutes


def test_each_check_of_the_model_can_be_left_out_and_it_is_said_what_for_it_is_there() -> None:
    checks = MODEL.read_text().partition("/* The checks of the evictor. */")[2].partition("#ifdef REPLACER")[0]
    assert set(re.findall(r"^#ifndef (\w+)$", checks, re.MULTILINE)) == {check.name for check in CHECKS} | set(KEPT)


def test_the_readme_names_every_configuration_and_every_check() -> None:
    named = set(re.findall(r"`([^`]+)`", README))
    assert {case.configuration for case in CASES} - named == set()
    assert {check.name for check in CHECKS} | set(KEPT) <= named

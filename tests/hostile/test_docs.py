"""docs/security.md and docs/filesystems.md: what they say is tried, they name where, and they lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
# Each page, and where tests lie that it has to name, all of them.
PAGES = {"security.md": "hostile", "filesystems.md": "filesystems"}
pages = pytest.mark.parametrize("page", PAGES)


def text_of(page: str) -> str:
    return (TOP / "docs" / page).read_text()


@pages
def test_each_test_that_it_names_is_there(page: str) -> None:
    named = set(re.findall(r"`(tests/[^`]+)`", text_of(page)))
    assert len(named) > 10
    assert sorted(path for path in named if not (TOP / path).is_file()) == []


@pages
def test_each_page_that_it_links_to_is_there(page: str) -> None:
    linked = re.findall(r"\]\(([^)#:]+)[^):]*\)", text_of(page))
    assert linked
    assert sorted(path for path in linked if not (TOP / "docs" / path).is_file()) == []


@pages
def test_all_tests_of_its_kind_are_named(page: str) -> None:
    lies_in = TOP / "tests" / PAGES[page]
    tests = {str(path.relative_to(TOP)) for path in lies_in.glob("test_*.py")} - {str(Path(__file__).relative_to(TOP))}
    assert sorted(test for test in tests if test not in text_of(page)) == []

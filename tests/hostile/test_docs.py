"""docs/security.md: what it says is tried, it names where, and it leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs" / "security.md").read_text()


def test_each_test_that_it_names_is_there() -> None:
    named = set(re.findall(r"`(tests/[^`]+)`", PAGE))
    assert len(named) > 10
    assert sorted(path for path in named if not (TOP / path).is_file()) == []


def test_each_page_that_it_links_to_is_there() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert linked
    assert sorted(path for path in linked if not (TOP / "docs" / path).is_file()) == []


def test_all_tests_of_hostile_trees_are_named() -> None:
    tests = {str(path.relative_to(TOP)) for path in Path(__file__).parent.glob("test_*.py")} - {
        str(Path(__file__).relative_to(TOP))
    }
    assert sorted(test for test in tests if test not in PAGE) == []

"""Explores the configurations of all selected tests together, and prints in the end how many states each has."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from model.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.table import Case

_RUN = pytest.StashKey[Run]()


@pytest.fixture(scope="module")
def explored(request: pytest.FixtureRequest) -> Iterator[Run]:
    """What came of the configurations of the tests that were selected."""
    here = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == request.path]
    cases = [cast("Case", item.callspec.params["case"]) for item in here if hasattr(item, "callspec")]
    with Run(cases) as run:
        request.config.stash[_RUN] = run
        yield run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    run = terminalreporter.config.stash.get(_RUN, None)
    if run is not None:
        terminalreporter.section("states of the protocol's model")
        for line in run.table():
            terminalreporter.write_line(line)

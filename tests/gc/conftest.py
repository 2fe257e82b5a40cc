"""One fake clock for each test of the library."""

from __future__ import annotations

import pytest

from fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()

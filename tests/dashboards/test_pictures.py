"""The pictures of the dashboards in the docs."""

from __future__ import annotations

import re

import pytest

from grafana.board import NAMES, PROJECT
from grafana.picture import MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_the_docs_show_each_dashboard(name: str) -> None:
    picture = PROJECT / "docs" / f"{name.replace('gcsidecar', 'dashboard')}.png"
    assert picture.stat().st_size < MOST_BYTES
    assert re.search(rf"!\[[^\]]+\]\({picture.name}\)", (PROJECT / "docs/dashboards.md").read_text())

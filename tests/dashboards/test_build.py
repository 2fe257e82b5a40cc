"""What is committed is what is built."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from builder.__main__ import documents, main
from grafana.board import NAMES, PROJECT

if TYPE_CHECKING:
    from pathlib import Path


def test_the_committed_dashboards_are_those_that_are_built() -> None:
    committed = {path.name: path.read_text() for path in (PROJECT / "dashboards").glob("*.json")}
    assert committed == documents(), "run `make dashboards`"


def test_the_dashboards_are_three(tmp_path: Path) -> None:
    main(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_has_its_files_name_as_its_uid_which_grafana_can_take(name: str) -> None:
    raw = json.loads(documents()[f"{name}.json"])
    assert raw["uid"] == name
    assert len(name) <= 40
    assert "id" not in raw

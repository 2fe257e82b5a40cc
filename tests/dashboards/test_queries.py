"""Every query of every dashboard, with its variables filled in, has an answer after a run full of trouble.

Whatever shows nothing while all is well shows something here.
"""

from __future__ import annotations

import math
import signal
import time
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from e2e.harness import Sidecar, eventually
from e2e.prometheus import Prometheus, free_port
from grafana.asking import answer, ask
from grafana.board import NAMES, Board, Panel, Target
from grafana.choice import Choice, Span, choose
from grafana.picture import MOST_BYTES, WIDTH, draw, save
from grafana.tables import rows

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.run import Run

pytestmark = [pytest.mark.e2e, pytest.mark.root]

BOARDS = {name: Board.read(name) for name in NAMES}
QUERIES = [
    pytest.param(name, panel, target, id=f"{name}-{panel.title}-{target.ref}")
    for name, board in BOARDS.items()
    for panel in board.panels()
    for target in panel.targets
]
SHOWN_SECONDS = 120


@pytest.fixture(scope="module")
def span() -> Span:
    now = time.time()
    return Span(now - SHOWN_SECONDS, now, step=2)


@pytest.fixture(scope="module")
def choices(run: Run, span: Span) -> dict[str, Choice]:
    main = {"instance": f"127.0.0.1:{run.sidecar.port}"}
    return {name: choose(board, run.prometheus, span, main) for name, board in BOARDS.items()}


@pytest.mark.parametrize("name", NAMES)
def test_each_variable_has_something_to_choose_from(run: Run, choices: dict[str, Choice], name: str) -> None:
    chosen = choices[name].values
    assert chosen["job"] == "gcsidecar"
    assert str(run.sidecar.port) in chosen["instance"]
    if name == "gcsidecar-cache":
        assert {"jobs", "sized", "shared"} <= set(chosen["root"].strip("()").split("|"))
        assert {"jobs", "many"} <= set(chosen["filesystem"].strip("()").split("|"))


@pytest.mark.parametrize(("name", "panel", "target"), QUERIES)
def test_a_query_of_a_panel_has_an_answer(
    run: Run, choices: dict[str, Choice], span: Span, name: str, panel: Panel, target: Target
) -> None:
    lines = answer(target, choices[name], span, run.prometheus)
    assert any(not math.isnan(value) for line in lines for value in line.values), target.expr
    assert all(line.name for line in lines), f"{panel.title} has series without a name"
    names = [line.name for line in lines]
    assert len(set(names)) == len(names), f"{panel.title} has several series of one name"


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_can_be_drawn_of_it(
    run: Run, choices: dict[str, Choice], span: Span, tmp_path: Path, name: str
) -> None:
    board = BOARDS[name]
    canvas = draw(board, choices[name], span, run.prometheus)
    assert save(canvas, tmp_path / "picture.png") < MOST_BYTES
    with Image.open(tmp_path / "picture.png") as image:
        assert image.width == WIDTH
        assert len(image.convert("RGB").getcolors() or []) > 50
    said = {text.get_text() for text in canvas.figure.texts}
    assert {panel.title for panel in board.shown() if panel.kind != "row"} <= said
    assert "No data" not in said


def test_restarts_and_reloads_are_noted(tmp_path: Path) -> None:
    port = free_port()
    root = {"name": "jobs", "path": str(tmp_path / "jobs")}
    (tmp_path / "jobs").mkdir()
    config = {"listen": f"127.0.0.1:{port}", "roots": [root]}
    with Sidecar(tmp_path, config) as sidecar, Prometheus(tmp_path, port) as prometheus:
        board = BOARDS["gcsidecar-cache"]
        notes = {note["name"]: note["expr"] for note in board.notes}
        eventually(lambda: prometheus.has("gcsidecar_build_info"), "it was scraped")
        now = time.time()
        choice = choose(board, prometheus, Span(now - 60, now, step=1))

        def is_noted(name: str) -> bool:
            until = time.time()
            return prometheus.has(choice.fill(notes[name], Span(until - 60, until, step=1)))

        assert not is_noted("Restarts")
        assert not is_noted("Config reloads")
        sidecar.send(signal.SIGHUP)
        eventually(lambda: is_noted("Config reloads"), "the reload is noted")
        assert not is_noted("Restarts")
        sidecar.stop()
        with sidecar:
            eventually(lambda: is_noted("Restarts"), "the restart is noted")


def test_the_table_of_who_is_in_trouble_has_all_its_columns_and_those_in_trouble_first(
    run: Run, choices: dict[str, Choice], span: Span
) -> None:
    board = BOARDS["gcsidecar-overview"]
    (panel,) = (one for one in board.panels() if one.kind == "table")
    columns, found = rows(panel, ask(panel, choices["gcsidecar-overview"], span, run.prometheus))
    assert len(found) == 3
    assert [column for column in columns if column not in found[0]] == []
    assert found[0]["instance"] == f"127.0.0.1:{run.sidecar.port}"
    assert found[0]["Failed"] > 0
    assert found[0]["Stale leases"] == 1
    assert found[0]["Paused"] == 1


def test_the_table_of_the_largest_folders_has_size_and_idle_time_in_each_row(
    run: Run, choices: dict[str, Choice], span: Span
) -> None:
    board = BOARDS["gcsidecar-cache"]
    (panel,) = (one for one in board.panels() if one.kind == "table")
    columns, found = rows(panel, ask(panel, choices["gcsidecar-cache"], span, run.prometheus))
    assert columns == ["root", "folder", "Size", "Idle"]
    assert [set(row) for row in found] == [set(columns)] * len(found)
    sizes = [row["Size"] for row in found]
    assert sizes == sorted(sizes, reverse=True)
    assert {"root": "jobs", "folder": "base-tools"}.items() <= next(
        row.items() for row in found if row["folder"] == "base-tools"
    )

"""The arithmetic of the benchmarks, their table and their page; what they measure is not timed here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import growth, plots, usage
from bench.__main__ import FIGURES
from bench.findings import FINDINGS
from bench.page import CHAPTERS, page
from bench.record import Record, load, save
from bench.row import LeftOut, Peer, Point, Row
from bench.samples import Samples, seconds, written
from bench.table import as_markdown, as_text

MISSED = Row("start", 0.6, "s", "median", 0.4, "n=3", (Peer("bare", 0.3),), "as it is", key="start")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.5, "s", "1.5 s"),
        (0.0201, "s", "20.1 ms"),
        (3e-7, "s", "0.3 us"),
        (45 * 2**20, "B", "45 MiB"),
        (1012 * 2**20, "B", "1,012 MiB"),
        (512, "B", "0.5 KiB"),
        (0.119, "%", "0.119 %"),
        (12.04, "x", "12x"),
        (0.0, "", "0"),
        (12345.0, "", "12,345"),
    ],
)
def test_a_value_is_written_in_the_unit_that_people_read(value: float, unit: str, text: str) -> None:
    assert written(value, unit) == text


@pytest.mark.parametrize(("share", "value"), [(0.99, 99.0), (1.0, 100.0), (0.5, 50.0), (0.001, 1.0)])
def test_a_quantile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert Samples(tuple(float(number) for number in range(100, 0, -1)), "s").quantile(share) == value


@pytest.mark.parametrize(("value", "goal", "met"), [(0.4, 0.4, True), (0.41, 0.4, False), (9.0, None, None)])
def test_a_goal_is_met_up_to_its_very_value(value: float, goal: float | None, met: object) -> None:
    assert Row("start", value, "s", "median", goal, "", key="start").met is met


@pytest.mark.parametrize(("value", "met"), [(0.9, True), (0.91, False)])
def test_a_goal_may_be_a_share_of_what_the_first_of_the_peers_takes(value: float, *, met: bool) -> None:
    peers = (Peer("du", 1.0), Peer("find", 0.5))
    row = Row("scan", value, "s", "median", None, "", peers, key="scan", goal_ratio=0.9)
    assert row.met is met
    assert "<= 0.9x (900 ms)" in row.cells()


def test_what_is_left_out_or_missed_stands_in_the_table() -> None:
    samples = seconds([0.5, 0.6, 0.7])
    missed = Row("start", samples.median, "s", "median", 0.4, samples.spread(), (Peer("bare", 0.3),), key="start")
    lines = list(as_markdown([(missed, ""), (LeftOut("reaction", "no root"), "")]))
    assert "| start | 600 ms (median) | 500 ms to 700 ms, n=3 | bare: 300 ms, ratio 2 | <= 400 ms | NO |" in lines
    assert "| reaction | left out | no root | - | - | - |" in lines
    assert "no root" in as_text(LeftOut("reaction", "no root"))


def test_what_was_measured_is_read_as_it_was_written(tmp_path: Path) -> None:
    records = {
        "start": Record("2026-11-25", "abc", 0.5, 1.0, ("2 cores",), (MISSED, LeftOut("flood", "no root"))),
        "plan": Record("2026-11-25", "abc", 0.5, 1.0, ("2 cores",), (), (Point("plan", "gcsidecar", 1000, 0.1),)),
    }
    save(tmp_path / "kept.json", records)
    assert load(tmp_path / "kept.json") == records
    assert load(tmp_path / "none.json") == {}


def test_the_page_says_what_missed_its_goal_what_binds_and_how_it_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FINDINGS, "start", "The imports do.")
    text = page({"start": Record("2026-11-25", "abc", 0.5, 1.0, ("2 cores",), (MISSED,))}, {"a.svg": "a plot"})
    assert "- start: 1.5 times the goal. The imports do." in text
    assert "- start: as it is." in text
    assert "- 2 cores" in text
    assert "![a plot](a.svg)" in text


def test_a_row_of_another_commit_than_the_newest_says_so() -> None:
    old = Record("2026-11-24", "abc", 0.5, 1.0, ("2 cores",), (MISSED,))
    new = Record("2026-11-25", "def", 0.5, 1.0, ("2 cores",), (Row("plan", 1.0, "s", "median", None, "", key="plan"),))
    text = page({"start": old, "plan": new}, {})
    assert "| start (as of 2026-11-24, abc) |" in text
    assert "| plan |" in text


def test_growth_is_from_ten_thousand_folders_to_ten_times_as_many() -> None:
    points = [Point("restart", "gcsidecar, to ready", size, value) for size, value in ((10_000, 0.5), (100_000, 3.0))]
    (row,) = growth.rows(points)
    assert (row.value, row.met) == (6.0, True)


def test_growth_of_memory_is_of_what_lies_over_that_of_few_folders() -> None:
    sizes = ((1_000, 40.0), (10_000, 50.0), (100_000, 190.0))
    (row,) = growth.rows([Point("memory", "gcsidecar", *pair) for pair in sizes])
    assert (row.value, row.met) == (15.0, False)


def test_each_figure_has_its_place_on_the_page() -> None:
    assert sorted(name for names in CHAPTERS.values() for name in names) == sorted(FIGURES)


def test_the_same_points_give_the_same_picture(tmp_path: Path) -> None:
    points = [Point("scan", line, files, files / 1e6) for line in ("gcsidecar", "`du -s`") for files in (1000, 10_000)]
    first, second = tmp_path / "first", tmp_path / "second"
    for directory in (first, second):
        directory.mkdir()
        assert list(plots.draw(points, directory)) == ["benchmarks-files.svg"]
    assert (first / "benchmarks-files.svg").read_bytes() == (second / "benchmarks-files.svg").read_bytes()


def test_what_children_take_counts_too_while_they_live_and_once_they_were_waited_for() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\nprint(flush=True)\ninput()"
    with subprocess.Popen((sys.executable, "-c", code), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        most = 0
        while process.poll() is None and most < 2:
            most = max(most, len(usage.family(process.pid)))
            time.sleep(0.001)
        assert process.stdout is not None
        process.stdout.readline()
        assert usage.cpu_seconds(process.pid) > 0.25
        assert usage.rss_bytes(process.pid) > 1 << 20
        process.communicate(b"\n")
    assert most == 2


def test_the_figures_are_listed_and_a_wrong_name_is_refused() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}

    def bench(*words: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "bench", *words)
        # In time, or where it lists no figures it may measure all of them.
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    listed = bench("--list").stdout
    assert [name for name in FIGURES if name not in listed] == []
    assert "no such figure: speed" in bench("speed").stderr

"""What goes over the wire: both formats, their bounds, and that catalogue, exposition and docs say the same."""

from __future__ import annotations

import ast
import math
import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import gcsidecar
import needs
from gcsidecar.cache.folders.tally import FolderShare, State
from gcsidecar.cache.names import named
from gcsidecar.sidecar.metrics.catalogue import CATALOGUE
from gcsidecar.sidecar.metrics.docs import page
from gcsidecar.sidecar.metrics.labels import KEPT_REASONS
from gcsidecar.sidecar.status import Status
from sidecar.metrics_sample import GIB, NOW, filesystem, metrics, root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric as Family

    from gcsidecar.sidecar.metrics import Metrics
    from gcsidecar.sidecar.metrics.metric import Metric

GOLDEN = Path(__file__).parent / "golden"
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def in_text(made: Metrics) -> str:
    return generate_latest(made).decode()


def in_openmetrics(made: Metrics) -> str:
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    return encode(made).decode()


FORMATS = pytest.mark.parametrize(
    ("write", "parse"), [(in_text, parse_text), (in_openmetrics, parse_openmetrics)], ids=["text", "openmetrics"]
)


def samples(families: list[Family]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture
def promtool() -> str:
    return needs.program("promtool", "prometheus")


def run(*command: str, given: str) -> str:
    """All that a command has to say; nothing where it is content."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr + (f"exit status {done.returncode}" if done.returncode else "")


@pytest.mark.parametrize(("write", "name"), [(in_text, "metrics.txt"), (in_openmetrics, "metrics.openmetrics.txt")])
def test_the_exposition_of_a_known_state_is_as_it_was(write: Callable[[Metrics], str], name: str) -> None:
    # Whoever changes these writes them anew (UPDATE_GOLDEN=1); names and labels are a contract besides, see below.
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / name).write_text(write(metrics()), encoding="utf-8")
    assert write(metrics()) == (GOLDEN / name).read_text(encoding="utf-8")


def test_names_types_and_labels_are_as_operators_know_them() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / "contract.txt").write_text(contract(), encoding="utf-8")
    known = (GOLDEN / "contract.txt").read_text(encoding="utf-8")
    assert contract() == known, (
        "dashboards and alerts of others rely on these names, types and labels: say in CHANGELOG.md what changed and "
        "what to use instead, and then write tests/sidecar/golden/contract.txt anew (UPDATE_GOLDEN=1 pytest ...)"
    )


def contract() -> str:
    """What must not change unnoticed: a line a metric, with the values of labels that are known beforehand."""
    return "".join(f"{metric.kind} {metric.name}{{{','.join(labels_of(metric))}}}\n" for metric in CATALOGUE)


def labels_of(metric: Metric) -> Iterator[str]:
    for label in metric.labels:
        yield f"{label.name}={'|'.join(label.values) or '*'}"
    if metric.buckets:
        yield f"le={'|'.join(f'{bound:.10g}' for bound in metric.buckets)}|+Inf"


@FORMATS
def test_what_is_written_is_read_back_the_same(
    write: Callable[[Metrics], str], parse: Callable[[str], list[Family]]
) -> None:
    assert samples(list(parse(write(metrics())))) == samples(list(metrics().collect()))


def test_promtool_has_nothing_to_say(promtool: str) -> None:
    assert run(promtool, "check", "metrics", given=in_text(metrics())) == ""
    assert run(promtool, "check", "metrics", given=generate_latest(metrics().registry).decode()) == ""


def test_every_metric_in_the_catalogue_is_shown_and_every_one_shown_is_in_it() -> None:
    assert [family.name for family in metrics().collect()] == [metric.family for metric in CATALOGUE]


def test_every_series_has_the_labels_that_are_declared_and_only_values_that_are() -> None:
    declared = {metric.family: metric for metric in CATALOGUE}
    for family in metrics().collect():
        labels = {label.name: label for label in declared[family.name].labels}
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(labels), sample.name
            for name, value in sample.labels.items():
                bounded = labels[name].values if name in labels else ()
                assert not bounded or value in bounded, (sample.name, name, value)


def test_no_series_comes_twice() -> None:
    shown = Counter(
        (sample.name, frozenset(sample.labels.items())) for family in metrics().collect() for sample in family.samples
    )
    assert [series for series, times in shown.items() if times > 1] == []


def test_no_label_holds_a_path_or_stands_for_the_sum_of_others() -> None:
    values = {value for family in metrics().collect() for sample in family.samples for value in sample.labels.values()}
    assert not {value for value in values if value.startswith("/")}
    assert not values & {"total", "all", "sum", ""}


def test_every_reason_to_keep_a_folder_in_the_code_counts_under_one_of_the_few_that_are_told_apart() -> None:
    source = Path(gcsidecar.__file__).parent
    trees = [
        ast.parse(path.read_text(encoding="utf-8"))
        for room in ("gc", "cache")
        for path in source.glob(f"{room}/*")
        if path.suffix == ".py"
    ]
    given = {
        argument.value.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and "InUseError" in ast.unparse(node.func)
        for argument in node.keywords
        if argument.arg == "reason" and isinstance(argument.value, ast.Constant)
    }
    assert given
    assert given <= {reason for reasons in KEPT_REASONS.values() for reason in reasons}


def test_the_docs_say_what_the_code_says() -> None:
    assert DOCS.read_text(encoding="utf-8") == page(), "make it anew: python -m gcsidecar.sidecar.metrics.docs"


def test_every_help_text_is_a_sentence_of_one_line() -> None:
    for metric in CATALOGUE:
        assert re.fullmatch(r"[A-Z0-9][^\n]+\.", metric.help), metric.name


def test_every_example_asks_for_its_own_metric_and_only_for_metrics_that_there_are() -> None:
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    names = {metric.name + suffix for metric in CATALOGUE for suffix in suffixes.get(metric.kind, ("",))}
    for metric in CATALOGUE:
        asked = set(re.findall(r"gcsidecar_\w+", metric.query))
        assert asked <= names, metric.name
        assert any(name.startswith(metric.name) for name in asked), metric.name


def test_every_example_is_a_query_that_prometheus_understands(promtool: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    lines = [
        f"  - record: job:example:{number}\n    expr: |-\n      {metric.query}\n"
        for number, metric in enumerate(CATALOGUE)
    ]
    rules.write_text("groups:\n- name: examples\n  rules:\n" + "".join(lines), encoding="utf-8")
    said = run(promtool, "check", "rules", str(rules), given="")
    assert f"SUCCESS: {len(CATALOGUE)} rules found" in said, said


HOSTILE = st.one_of(
    st.binary(min_size=1, max_size=255),
    st.sampled_from(
        [b'"', b"\\", b"\n", b'a"} 1\n# EOF\n', b"\xff\xfe", "\u202e\u2028é".encode(), b"\\n", b"{}", b" "]
    ),
).map(lambda raw: os.fsdecode(raw.translate(None, b"\0/") or b"x"))


@given(names=st.lists(HOSTILE, min_size=1, max_size=20, unique=True))
@FORMATS
def test_a_folder_may_have_any_name(
    write: Callable[[Metrics], str], parse: Callable[[str], list[Family]], names: list[str]
) -> None:
    folders = [FolderShare(name, State.IDLE, size, 1, NOW) for size, name in enumerate(names)]
    made = metrics(Status((root("jobs", "jobs", *folders),)))
    read = {
        named(sample.labels["folder"]): sample.value
        for family in parse(write(made))
        for sample in family.samples
        if sample.name == "gcsidecar_folder_size_bytes"
    }
    assert read == {name: size for size, name in enumerate(names)}


def test_figures_larger_than_a_disk_and_infinite_ones_are_written_exactly() -> None:
    made = metrics(Status((root(),), (filesystem(),)))
    read = samples(list(parse_text(in_text(made))))
    assert read["gcsidecar_filesystem_disk_capacity_bytes", frozenset({("filesystem", "jobs")})] == 100 * GIB
    seconds = frozenset({("filesystem", "jobs"), ("resource", "inodes")})
    assert read["gcsidecar_filesystem_time_to_trigger_seconds", seconds] == math.inf


def test_a_process_that_knows_nothing_yet_is_shown_too() -> None:
    assert 'gcsidecar_build_info{version="1.2.3"} 1.0' in in_text(metrics(Status()))

"""YAML as this project reads it: lines, variables, and every oddity refused, with both of PyYAML's parsers."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gcsidecar.sidecar.config.document import parse
from gcsidecar.sidecar.config.nodes import Broken, Mapping, Scalar, Sequence, resolve

LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if yaml.__with_libyaml__ else [])]

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__)
def loader(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize(
    ("text", "line", "key", "what"),
    [
        ("", 1, "(file)", "is empty"),
        ("# nothing\n", 1, "(file)", "is empty"),
        ("---\n", 1, "(file)", "is empty"),
        ("a: 1\n---\nb: 2\n", 2, "(file)", "is a second document"),
        ("a: 1\na: 2\n", 2, "a", "stands here twice, first in line 1"),
        ("a:\n  b: {c: 1, c: 2}\n", 2, "a.b.c", "stands here twice, first in line 2"),
        ("1: x\n", 1, "(file)", 'has the key "1", which is not a word'),
        ("a:\n  true: x\n", 2, "a", 'has the key "true", which is not a word'),
        ("? [x]\n: y\n", 1, "(file)", "has a key that is not a word"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n", 3, "b", "has the merge key <<"),
        ("a: &x\n  - 1\n  - *x\n", 3, "a[1]", "is the alias *x of what it stands in itself"),
        ("a:\n  - *x\n", 2, "a[0]", "is the alias *x of nothing"),
        (
            "a:\n  b: !!python/name:os.system x\n",
            2,
            "a.b",
            'has the tag "!!python/name:os.system", which is not allowed',
        ),
        (
            "a: !!python/object/apply:os.system [x]\n",
            1,
            "a",
            'has the tag "!!python/object/apply:os.system", which is not allowed',
        ),
        ("a: !custom {b: 1}\n", 1, "a", 'has the tag "!custom", which is not allowed'),
        ("a: !!binary aGk=\n", 1, "a", 'has the tag "!!binary", which is not allowed'),
        ("a: ${NOPE}\n", 1, "a", "uses the variable NOPE, which is not set"),
        ("a: ${NOPE\n", 1, "a", 'has "${NOPE" without its closing brace'),
        ("a: ${1x}\n", 1, "a", 'has "${1x}"'),
        ("a: ${X-y}\n", 1, "a", 'has "${X-y}"'),
        ("a:\n" + "- " * 40 + "x", 2, "a" + "[0]" * 31, "is nested deeper than 32 levels"),
        (BOMB, 5, "e[0]", "makes more than 20000 values, aliases counted out"),
    ],
)
def test_what_is_refused_is_refused_in_its_place(loader: Any, text: str, line: int, key: str, what: str) -> None:
    (problem,) = parse(text, {"SET": "x"}, loader).problems
    assert (problem.line, problem.key, problem.what) == (line, key, what)
    assert problem.remedy


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [\n", 2),
        ("a:\n\t- b\n", 2),
        ("a: 1\nb: \x01\n", 2),
        ("é: 1\n\nb: \x01\n", 3),
        ("a: 'x\n", 1),
        ("[" * 3000, 1),
    ],
)
def test_a_slip_of_syntax_has_its_line(loader: Any, text: str, line: int) -> None:
    document = parse(text, {}, loader)
    (problem,) = document.problems
    assert problem.line == line
    assert isinstance(document.root, Broken)
    assert problem.key == "(file)" or "nested" in problem.what


def test_a_tab_is_named_as_what_is_wrong(loader: Any) -> None:
    (problem,) = parse("a:\n\t- b\n", {}, loader).problems
    assert problem.remedy == "indent with spaces: YAML allows no tab there"


def test_nodes_know_their_lines(loader: Any) -> None:
    root = parse("a:\n  - x\n  - b: y\n", {}, loader).root
    assert isinstance(root, Mapping)
    items = root.entries[0].value
    assert isinstance(items, Sequence)
    assert (items.items[0].line, items.items[1].line) == (2, 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("0o17", 15),
        ("017", 17),
        ("0x1f", 31),
        ("-5", -5),
        ("1.5", 1.5),
        ("true", True),
        ("~", None),
        ("", None),
        ("15%", "15%"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_plain_values_are_read_as_editors_read_them(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${NUMBER}", 7),
        ('"${NUMBER}"', 7),
        ("${UNSET:-8}", 8),
        ("${UNSET:-}", None),
        ("${EMPTY:-9}", 9),
        ("${EMPTY}", None),
        ("a-${WORD}-${NUMBER}", "a-blue-7"),
        ('"7"', "7"),
        ("$${WORD}", "${WORD}"),
        ("$WORD", "$WORD"),
        ("${NESTED}", "${WORD}"),
        ("${UNSET:-a:-b}", "a:-b"),
        ("!!str 5", "5"),
    ],
)
def test_variables_are_replaced_before_the_type_is_told(loader: Any, written: str, value: object) -> None:
    environ = {"NUMBER": "7", "WORD": "blue", "EMPTY": "", "NESTED": "${WORD}"}
    document = parse(f"a: {written}\n", environ, loader)
    assert isinstance(document.root, Mapping)
    node = document.root.entries[0].value
    assert isinstance(node, Scalar)
    assert node.value == value
    assert not document.problems


def test_a_variable_named_too_often_is_refused() -> None:
    (problem,) = parse("a: " + "${X}" * 1000, {"X": "x" * 10_000}).problems
    assert problem.what == "is longer than 1 MiB with its variables"


def test_all_that_is_refused_is_told_at_once(loader: Any) -> None:
    text = "a: ${NOPE}\nb: !x 1\nb: 2\nc: *d\n"
    assert [(problem.line, problem.key) for problem in parse(text, {}, loader).problems] == [
        (1, "a"),
        (2, "b"),
        (3, "b"),
        (4, "c"),
    ]


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"%@#,?\n \t$0\x00é"), max_size=60))
def test_no_text_makes_it_raise(text: str) -> None:
    for loader in LOADERS:
        document = parse(text, {}, loader)
        assert document.problems or not isinstance(document.root, Broken)

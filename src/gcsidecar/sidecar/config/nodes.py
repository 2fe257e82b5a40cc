"""What a YAML text is made of: nodes that know their lines, and what a plain value means.

Values only; how they come from a text is in `document`, what they mean to the config in `reader`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gcsidecar.sidecar.config.problems import show

# YAML 1.2's core schema, as editors read it, and not the 1.1 of PyYAML: there `no` is false and `1:30` is 90.
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_WHOLE = re.compile(r"[-+]?[0-9]{1,100}")
_BASED = re.compile(r"0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]{1,100}|[0-9]{1,100}(\.[0-9]{0,100})?)([eE][-+]?[0-9]{1,9})?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value as it is written, variables replaced.

    Attributes:
        line: Where it starts, counted from 1.
        text: What is written.
        quoted: Whether quotes (or a block) say that it is text and nothing else.
        expanded: Whether a variable was in it: then its place, not its quotes, says what it is.
    """

    line: int
    text: str
    quoted: bool = False
    expanded: bool = False

    @property
    def value(self) -> str | int | float | bool | None:
        """What it is where text is not asked for: nothing, a truth, a number or text."""
        return self.text if self.quoted and not self.expanded else resolve(self.text)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    line: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a mapping with its value."""

    key: str
    line: int
    value: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys with values, each key once."""

    line: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that was there and is already reported; whoever meets it says nothing more."""

    line: int


Node = Scalar | Sequence | Mapping | Broken


def resolve(text: str) -> str | int | float | bool | None:
    """A plain scalar's value by the core schema of YAML 1.2."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text.replace(".inf", "inf").replace(".nan", "nan").lower()) if _FLOAT.fullmatch(text) else text


def join(key: str, *parts: str | int) -> str:
    """The path of what lies in `key`: `roots`, `roots[0]`, `roots[0].path`."""
    for part in parts:
        if isinstance(part, int):
            key = f"{key}[{part}]"
        else:
            name = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else show(part)
            key = f"{key}.{name}" if key else name
    return key

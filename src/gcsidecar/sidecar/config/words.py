"""The types of the config in words: what a key may be, what was found in its place, never a pattern or a class name.

Words only; whether a value is right is decided in `reader`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec.inspect as mi

from gcsidecar.cache.spec import ByteSize, Seconds
from gcsidecar.sidecar.config.nodes import Scalar, Sequence
from gcsidecar.sidecar.config.problems import show
from gcsidecar.sidecar.config.units import DURATION_WORDS, LEVEL_WORDS, SIZE_WORDS, Unit

if TYPE_CHECKING:
    from gcsidecar.sidecar.config.nodes import Node

_LONGEST_NUMBER = 30


def alternatives(info: mi.Type) -> list[mi.Type]:
    """What a key may be, without the notes on it."""
    bare = _bare(info)
    return [_bare(one) for one in bare.types] if isinstance(bare, mi.UnionType) else [bare]


def _bare(info: mi.Type) -> mi.Type:
    return _bare(info.type) if isinstance(info, mi.Metadata) else info


def unit_of(key: str) -> Unit:
    """What a level counts: the two kinds have one type, since only their spelling differs."""
    return "inodes" if re.search(r"(^|\.)thresholds\.inodes(\.|$)", key) else "bytes"


def measure_words(cls: type, key: str) -> str:
    """What a size, a duration or a level looks like."""
    return {ByteSize: SIZE_WORDS, Seconds: DURATION_WORDS}.get(cls, LEVEL_WORDS[unit_of(key)])


def found(node: Node) -> str:
    """What is there."""
    if isinstance(node, Scalar):
        return _found_scalar(node)
    return "is a list" if isinstance(node, Sequence) else "is a mapping"


def _found_scalar(node: Scalar) -> str:
    value = node.value
    if isinstance(value, str):
        return f"is {show(node.text)}"
    if value is None and not node.text:
        return "has no value"
    return f"is {node.text}" if len(node.text) < _LONGEST_NUMBER else "is a number out of range"


def expected(info: mi.Type, key: str) -> str:
    """What would be right, in words; never a pattern."""
    if isinstance(info, mi.Metadata) and info.extra and "words" in info.extra:
        return str(info.extra["words"])
    words = [_words(one, key) for one in alternatives(info) if not isinstance(one, mi.NoneType)]
    if any(isinstance(one, mi.NoneType) for one in alternatives(info)):
        words.append("null")
    return ", or ".join(words)


def _words(info: mi.Type, key: str) -> str:  # noqa: PLR0911  a table
    match info:
        case mi.StructType():
            return f"a mapping with the keys {', '.join(field.encode_name for field in info.fields)}"
        case mi.VarTupleType():
            return f"a list, each entry {expected(info.item_type, key)}"
        case mi.DictType():
            return "a mapping of names to text"
        case mi.LiteralType():
            return f"one of {', '.join(str(value) for value in info.values)}"
        case mi.IntType():
            return _int_words(info)
        case mi.CustomType() | mi.DataclassType():
            return measure_words(info.cls, key)
        case _:
            return "true or false" if isinstance(info, mi.BoolType) else "text"


def _int_words(info: mi.IntType) -> str:
    if info.ge is not None and info.le is not None:
        return f"a whole number from {info.ge} to {info.le}"
    return "a whole number" if info.ge is None else f"a whole number of at least {info.ge}"

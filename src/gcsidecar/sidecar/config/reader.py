"""Nodes and types walked together: what the file says becomes the config's values, and all that is wrong is noted.

It obeys the types of `model` and `cache.spec`, whatever keys they have; what takes a look at the whole is in `checks`.
"""

from __future__ import annotations

import difflib
import os
import re
from typing import Any, TypeVar

import msgspec.inspect as mi
from msgspec import NODEFAULT

from gcsidecar.cache.spec import ByteSize, ThresholdOverrides, Thresholds
from gcsidecar.gc.pressure import Level
from gcsidecar.sidecar.config.nodes import Broken, Entry, Mapping, Node, Scalar, Sequence, join
from gcsidecar.sidecar.config.problems import WHOLE_FILE, Problem, show
from gcsidecar.sidecar.config.targets import Completion, complete
from gcsidecar.sidecar.config.units import UnitError, parse_duration, parse_level, parse_size
from gcsidecar.sidecar.config.words import alternatives, expected, found, measure_words, unit_of

_Struct = TypeVar("_Struct")
_MAX_INT = 2**63 - 1


class _Invalid:
    """What a value that was reported stands for; never leaves this module."""


_INVALID = _Invalid()


class Reader:
    """Reads one document.

    Attributes:
        problems: All that is wrong, found so far.
        lines: The line of each key that was read.
        built: Each mapping that could be read, by its key; where a value is wrong it has a stand-in, so
            that the checks after this one can look at the rest of it.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}
        self.built: dict[str, Any] = {}
        self._common = Thresholds()

    def read(self, node: Node, cls: type[_Struct]) -> _Struct | None:
        """Read a whole document as `cls`; none where a required value is missing or wrong."""
        value = self._value(node, mi.type_info(cls), "", None)
        return value if isinstance(value, cls) else None

    def _report(self, node: Node, key: str, what: str, remedy: str) -> _Invalid:
        self.problems.append(Problem(node.line, key or WHOLE_FILE, what, remedy))
        return _INVALID

    def _value(self, node: Node, info: mi.Type, key: str, base: Any) -> Any:
        self.lines.setdefault(key, node.line)
        if isinstance(node, Broken):
            return _INVALID
        chosen = _chosen(info, node)
        if isinstance(chosen, mi.NoneType):
            return None
        if isinstance(node, Mapping) and isinstance(chosen, mi.StructType | mi.DictType):
            return (
                self._struct(node, chosen, key, base) if isinstance(chosen, mi.StructType) else self._texts(node, key)
            )
        if isinstance(chosen, mi.VarTupleType) and isinstance(node, Sequence):
            return self._tuple(node, chosen, key)
        if isinstance(node, Scalar) and not isinstance(chosen, mi.StructType | mi.VarTupleType | mi.DictType):
            return self._scalar(node, chosen, key, info)
        return self._report(node, key, found(node), expected(info, key))

    def _tuple(self, node: Sequence, info: mi.VarTupleType, key: str) -> Any:
        if len(node.items) < (info.min_length or 0):
            return self._report(node, key, "is an empty list", "at least one entry")
        values = [self._value(item, info.item_type, join(key, number), None) for number, item in enumerate(node.items)]
        return tuple(value for value in values if value is not _INVALID)

    def _texts(self, node: Mapping, key: str) -> dict[str, str]:
        """A mapping whose keys are the operator's own; whatever single value there is, it is text."""
        texts: dict[str, str] = {}
        for entry in node.entries:
            path = join(key, entry.key)
            self.lines[path] = entry.line
            if isinstance(entry.value, Scalar) and entry.value.text:
                texts[entry.key] = entry.value.text
            elif not isinstance(entry.value, Broken):
                self._report(entry.value, path, found(entry.value), "text")
        return texts

    def _struct(self, node: Mapping, info: mi.StructType, key: str, base: Any) -> Any:
        entries = {entry.key: entry for entry in node.entries}
        self._refuse_unknown(entries, info, key)
        base = self._common if info.cls is ThresholdOverrides else base
        fields = {field.encode_name: self._field(node, entries, field, key, base) for field in info.fields}
        wrong = {name for name, value in fields.items() if value is _INVALID}
        values = {field.encode_name: _or_stand_in(fields[field.encode_name], field) for field in info.fields}
        if _INVALID in values.values():
            return _INVALID
        if not wrong and (completion := complete(info.cls, values, entries.keys(), base, unit_of(key))):
            values[completion.key] = completion.target
            self._report_target(node, key, completion)
        self.built[key] = built = info.cls(**values)
        if key == "thresholds" and isinstance(built, Thresholds):
            self._common = built
        return built

    def _refuse_unknown(self, entries: dict[str, Entry], info: mi.StructType, key: str) -> None:
        known = [field.encode_name for field in info.fields]
        for name in entries.keys() - set(known):
            near = difflib.get_close_matches(name, known, 1, cutoff=0.6)
            remedy = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(known)}"
            self.problems.append(Problem(entries[name].line, join(key, name), "is not a known key", remedy))

    def _field(self, node: Mapping, entries: dict[str, Entry], field: mi.Field, key: str, base: Any) -> Any:
        """A field's value: what is written, else the type's default, else what the base has."""
        name, path = field.encode_name, join(key, field.encode_name)
        default = _default(field)
        inherited = getattr(base, name, default)
        if name in entries:
            self.lines[path] = entries[name].line
            return self._value(entries[name].value, field.type, path, inherited)
        if default is not _INVALID:
            return default
        if inherited is not _INVALID:
            return inherited
        return self._report(node, path, "is missing", expected(field.type, path))

    def _report_target(self, node: Mapping, key: str, completion: Completion) -> None:
        if completion.what:
            path = join(key, completion.key)
            line = self.lines.get(path, node.line)
            self.problems.append(Problem(line, path, completion.what, completion.remedy))

    def _scalar(self, node: Scalar, info: mi.Type, key: str, declared: mi.Type) -> Any:
        """A single value; what is wrong with it is said in the words of what the key may be."""
        if isinstance(info, mi.StrType):
            return self._text(node, info, key, declared)
        if isinstance(info, mi.CustomType | mi.DataclassType):
            return self._measure(node, info.cls, key)
        value = node.value
        if isinstance(info, mi.LiteralType) and value in info.values:
            return value
        if isinstance(info, mi.BoolType) and isinstance(value, bool):
            return value
        if isinstance(info, mi.IntType) and isinstance(value, int) and not isinstance(value, bool):
            return value if _within(value, info) else self._report(node, key, found(node), expected(declared, key))
        return self._report(node, key, found(node), expected(declared, key))

    def _text(self, node: Scalar, info: mi.StrType, key: str, declared: mi.Type) -> Any:
        value = node.text if node.expanded else node.value
        if not isinstance(value, str):
            remedy = f'{expected(declared, key)}, in quotes: "{node.text}"' if node.text else expected(declared, key)
            return self._report(node, key, found(node), remedy)
        if not _can_name_a_file(value):
            return self._report(node, key, "has a character that no path can have", "text without it")
        if info.pattern and not re.fullmatch(info.pattern, value):
            self._report(node, key, f"is {show(value)}", expected(declared, key))
        return value

    def _measure(self, node: Scalar, cls: type, key: str) -> Any:
        """A size, a duration or a level."""
        if node.value is None:
            return self._report(node, key, found(node), measure_words(cls, key))
        # Quoted or not is the same to a unit: "10GiB" and 10GiB, and "1024" is what a variable in quotes gives.
        value = resolved if isinstance(resolved := node.value, int | float) else node.text
        try:
            if cls is Level:
                return parse_level(value, unit_of(key))
            return parse_size(value) if cls is ByteSize else parse_duration(value)
        except UnitError as error:
            return self._report(node, key, error.what, error.remedy)


def _or_stand_in(value: Any, field: mi.Field) -> Any:
    """The value, or something in the place of one that was reported, so that the rest of its mapping can be checked."""
    if value is not _INVALID:
        return value
    is_text = isinstance(alternatives(field.type)[0], mi.StrType)
    default = _default(field)
    return "" if default is _INVALID and is_text else default


def _default(field: mi.Field) -> Any:
    if field.default_factory is not NODEFAULT:
        return field.default_factory()
    return _INVALID if field.default is NODEFAULT else field.default


def _chosen(info: mi.Type, node: Node) -> mi.Type:
    """Of a union the alternative that the node's kind asks for; the first one where none fits."""
    candidates = alternatives(info)
    is_null = isinstance(node, Scalar) and node.value is None
    nothing = [one for one in candidates if isinstance(one, mi.NoneType)]
    if is_null and nothing:
        return nothing[0]
    others = [one for one in candidates if not isinstance(one, mi.NoneType)]
    lists = [one for one in others if isinstance(one, mi.VarTupleType)]
    return lists[0] if lists and isinstance(node, Sequence) else others[0]


def _within(value: int, info: mi.IntType) -> bool:
    low = -_MAX_INT if info.ge is None else info.ge
    high = _MAX_INT if info.le is None else info.le
    return low <= value <= high


def _can_name_a_file(text: str) -> bool:
    """No NUL, and nothing that Python can't hand to the kernel (YAML can write half a surrogate pair)."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return "\0" not in text

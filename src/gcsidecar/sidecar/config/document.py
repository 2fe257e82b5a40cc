"""YAML text into nodes that know their lines, with variables replaced; every oddity of YAML is refused here.

It knows no key of the config and reads no file. Built on the parser's events instead of PyYAML's own nodes: so that
aliases, depth and tags are judged before anything is built, and nothing is ever constructed from a tag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from gcsidecar.sidecar.config.nodes import Broken, Entry, Mapping, Node, Scalar, Sequence, join, resolve
from gcsidecar.sidecar.config.problems import WHOLE_FILE, Problem, show
from gcsidecar.sidecar.config.variables import Expansion, expand

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping as AnyMapping

MAX_NODES = 20_000
MAX_DEPTH = 32

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = {None, "!", *(_TAG + name for name in ("str", "int", "float", "bool", "null"))}
_SEQUENCE_TAGS = {None, "!", _TAG + "seq"}
_MAPPING_TAGS = {None, "!", _TAG + "map"}


@dataclass(frozen=True, slots=True)
class Document:
    """A text that was read.

    Attributes:
        root: The outermost node; `Broken` where it can't be told.
        problems: What was refused.
    """

    root: Node
    problems: tuple[Problem, ...]


def parse(text: str, environ: AnyMapping[str, str] | None, loader: type[Any] | None = None) -> Document:
    """Read a text; nothing raises, all that is wrong is in the result.

    Args:
        text: What stands in the file.
        environ: Where variables come from; with none, `${` stands for itself.
        loader: PyYAML's loader, if not the fastest there is.
    """
    composer = _Composer(environ)
    chosen: Any = loader or getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    events = yaml.parse(text, Loader=chosen)
    try:
        root = composer.document(events)
    except _RefusedError as refused:
        composer.problems.append(refused.problem)
        root = Broken(refused.problem.line)
    except yaml.YAMLError as error:
        composer.problems.append(_syntax_problem(error, text))
        root = Broken(1)
    return Document(root, tuple(composer.problems))


class _RefusedError(Exception):
    """The whole text is refused: there is no use in reading on."""

    def __init__(self, line: int, key: str, what: str, remedy: str) -> None:
        super().__init__(what)
        self.problem = Problem(line, key or WHOLE_FILE, what, remedy)


class _Composer:
    """Makes nodes of the parser's events."""

    def __init__(self, environ: AnyMapping[str, str] | None) -> None:
        self.problems: list[Problem] = []
        self._environ = environ
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._open_anchors: set[str] = set()
        self._nodes = 0

    def document(self, events: Iterator[Any]) -> Node:
        """The only document of the stream."""
        next(events)
        if isinstance(next(events), yaml.StreamEndEvent):
            return self._empty()
        root = self._node(next(events), events, "", 1)
        next(events)
        if not isinstance(another := next(events), yaml.StreamEndEvent):
            self._report(_line(another), "", "is a second document", 'one document a file: remove the "---" before it')
        if isinstance(root, Scalar) and not root.quoted and root.value is None:
            return self._empty()
        return root

    def _empty(self) -> Node:
        self._report(1, "", "is empty", "at least roots, each with a name and a path")
        return Broken(1)

    def _report(self, line: int, key: str, what: str, remedy: str) -> Broken:
        self.problems.append(Problem(line, key or WHOLE_FILE, what, remedy))
        return Broken(line)

    def _node(self, event: Any, events: Iterator[Any], key: str, depth: int) -> Node:
        line = _line(event)
        if depth > MAX_DEPTH:
            raise _RefusedError(line, key, f"is nested deeper than {MAX_DEPTH} levels", "the levels of the example")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, key)
        before = self._nodes
        self._count(1, line, key)
        if event.anchor:
            self._open_anchors.add(event.anchor)
        node = self._new_node(event, events, key, depth)
        if event.anchor:
            self._open_anchors.discard(event.anchor)
            self._anchors[event.anchor] = (node, self._nodes - before)
        return node

    def _count(self, nodes: int, line: int, key: str) -> None:
        """Aliases count as what they stand for: nine lines of them can stand for a billion nodes."""
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _RefusedError(line, key, f"makes more than {MAX_NODES} values, aliases counted out", "fewer aliases")

    def _alias(self, event: Any, key: str) -> Node:
        line, name = _line(event), event.anchor
        if name in self._open_anchors:
            return self._report(line, key, f"is the alias *{name} of what it stands in itself", "write the value out")
        if name not in self._anchors:
            return self._report(line, key, f"is the alias *{name} of nothing", f"put the anchor &{name} before it")
        node, nodes = self._anchors[name]
        self._count(nodes, line, key)
        return node

    def _new_node(self, event: Any, events: Iterator[Any], key: str, depth: int) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, key)
        if isinstance(event, yaml.SequenceStartEvent):
            sequence = self._sequence(event, events, key, depth)
            return self._tagged(event, _SEQUENCE_TAGS, key) or sequence
        mapping = self._mapping(event, events, key, depth)
        return self._tagged(event, _MAPPING_TAGS, key) or mapping

    def _tagged(self, event: Any, allowed: set[str | None], key: str) -> Broken | None:
        """A tag asks for a type; all that could run code or make an object are among those not allowed."""
        if event.tag in allowed:
            return None
        tag = event.tag.replace(_TAG, "!!")
        return self._report(_line(event), key, f"has the tag {show(tag)}, which is not allowed", "the plain value")

    def _scalar(self, event: Any, key: str) -> Node:
        if broken := self._tagged(event, _SCALAR_TAGS, key):
            return broken
        no_variables = Expansion(event.value, used=False, errors=())
        expansion = no_variables if self._environ is None else expand(event.value, self._environ)
        for error in expansion.errors:
            self._report(_line(event), key, error.what, error.remedy)
        if expansion.errors:
            return Broken(_line(event))
        quoted = bool(event.style) if event.tag is None else event.tag in {"!", _TAG + "str"}
        return Scalar(_line(event), expansion.text, quoted, expansion.used)

    def _sequence(self, event: Any, events: Iterator[Any], key: str, depth: int) -> Sequence:
        items: list[Node] = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(self._node(item, events, join(key, len(items)), depth + 1))
        return Sequence(_line(event), tuple(items))

    def _mapping(self, event: Any, events: Iterator[Any], key: str, depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        while not isinstance(first := next(events), yaml.MappingEndEvent):
            name = self._key(first, events, key, depth)
            path = key if name is None else join(key, name)
            value = self._node(next(events), events, path, depth + 1)
            if name is None:
                continue
            if name in entries:
                self._report(_line(first), path, f"stands here twice, first in line {entries[name].line}", "remove one")
            else:
                entries[name] = Entry(name, _line(first), value)
        return Mapping(_line(event), tuple(entries.values()))

    def _key(self, event: Any, events: Iterator[Any], key: str, depth: int) -> str | None:
        """A key's text; none where it is refused."""
        if not isinstance(event, yaml.ScalarEvent) or event.tag not in _SCALAR_TAGS:
            self._node(event, events, key, depth + 1)
            self._report(_line(event), key, "has a key that is not a word", "a word before the colon")
            return None
        self._count(1, _line(event), key)
        if event.anchor:
            self._anchors[event.anchor] = (Scalar(_line(event), event.value), 1)
        plain = event.tag is None and not event.style
        if plain and event.value == "<<":
            self._report(_line(event), key, "has the merge key <<", "write the keys out: YAML 1.2 has no merge key")
            return None
        if plain and not isinstance(resolve(event.value), str):
            self._report(_line(event), key, f"has the key {show(event.value)}, which is not a word", "a word")
            return None
        return str(event.value)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    """Where the parser stopped, with its own words for why."""
    what, remedy = str(getattr(error, "problem", None) or error), "mend the syntax of this line or the one before"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = 1 if mark is None else min(mark.line + 1, max(1, len(text.splitlines())))
    if isinstance(error, yaml.reader.ReaderError):
        what, remedy = f"has a character that YAML does not allow ({error.reason})", "remove it"
        line = _position_line(error, text)
    elif text.split("\n")[line - 1 : line] and "\t" in text.split("\n")[line - 1]:
        remedy = "indent with spaces: YAML allows no tab there"
    return Problem(line, WHOLE_FILE, f"is not YAML: {what}", remedy)


def _position_line(error: yaml.reader.ReaderError, text: str) -> int:
    """The line of an unreadable character: its position counts bytes in the C parser, so the character is sought."""
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    position = found.start() if found else min(error.position, len(text))
    return text.count("\n", 0, position) + 1

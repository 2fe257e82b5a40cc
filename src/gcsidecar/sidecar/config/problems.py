"""What is wrong with a config, and where: one `Problem` a line of what the operator reads.

How problems are found is for the other modules; here they are only put into words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gcsidecar.errors import GcsidecarError

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_SHOWN = 80

# surrogateescape, Python's way to carry a byte of a file name that is not UTF-8
_ESCAPED_BYTE = 0xDC00
_ESCAPED_BYTES = range(0xDC80, 0xDD00)

WHOLE_FILE = "(file)"
"""The key of a problem that is about no single key."""


def escaped(text: str) -> str:
    r"""The text on one line: what can't be printed is escaped, bytes that aren't UTF-8 as `\xNN`."""
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code - _ESCAPED_BYTE:02x}" if code in _ESCAPED_BYTES else f"{character!r}"[1:-1]


def show(text: str) -> str:
    """The text as a message quotes it: in quotes, on one line, not too long."""
    short = text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"
    return f'"{escaped(short)}"'


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a config, or looks wrong.

    Attributes:
        line: Where in the file, counted from 1.
        key: Which key, as `roots[0].path`; `(file)` where it is about no single key.
        what: What is wrong.
        remedy: What would be right.
        severity: A `warning` stops nothing.
        about: The `text`, which only an edit mends, or the `machine`, whose state can change while the text is right.
    """

    line: int
    key: str
    what: str
    remedy: str
    severity: Literal["error", "warning"] = "error"
    about: Literal["text", "machine"] = "text"

    def at(self, path: str) -> str:
        """The line for the operator: `FILE:LINE: key.path: what is wrong; what would be right`."""
        warning = "warning: " if self.severity == "warning" else ""
        return (
            f"{escaped(path)}:{self.line}: {escaped(self.key)}: {warning}{escaped(self.what)}; {escaped(self.remedy)}"
        )


class ConfigError(GcsidecarError):
    """A config that can't be used, with everything that is wrong in it.

    Attributes:
        path: The file, as it was given.
        problems: All of them, in the order of their lines.
    """

    def __init__(self, path: str, problems: Iterable[Problem]) -> None:
        self.path = path
        self.problems = ordered(problems)
        super().__init__("\n".join(problem.at(path) for problem in self.problems))


def ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems as they stand in the file, each once."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.key)))


def has_errors(problems: Iterable[Problem]) -> bool:
    """Whether there is more than warnings."""
    return any(problem.severity == "error" for problem in problems)

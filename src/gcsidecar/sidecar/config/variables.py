"""`${VAR}` and `${VAR:-default}` in a value: replaced from an environment that is handed in.

Text to text; what is put in is not looked at again, so a variable's value can't name another variable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.sidecar.config.problems import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_CHARACTERS = 1 << 20
"""Longer is no value of a config, but a variable named a hundred thousand times."""

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<inside>[^}]*)(?P<end>\}?)")
_INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-.*)?", re.DOTALL)


class VariableError(ValueError):
    """A reference that can't be replaced; `what` is wrong, `remedy` would be right."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what, self.remedy = what, remedy


@dataclass(frozen=True, slots=True)
class Expansion:
    """A value with its variables replaced.

    Attributes:
        text: The value.
        used: Whether there was a variable in it at all.
        errors: One for each that could not be replaced.
    """

    text: str
    used: bool
    errors: tuple[VariableError, ...]


def expand(text: str, environ: Mapping[str, str]) -> Expansion:
    """Replace every `${VAR}` and `${VAR:-default}`; `$${` stands for `${` itself."""
    if "${" not in text:
        return Expansion(text, used=False, errors=())
    errors: list[VariableError] = []
    pieces, length, used = [], 0, False
    for piece, is_variable in _pieces(text, environ, errors):
        pieces.append(piece)
        used, length = used or is_variable, length + len(piece)
        if length > MAX_CHARACTERS:
            errors.append(VariableError("is longer than 1 MiB with its variables", "a shorter value"))
            break
    return Expansion("".join(pieces), used, tuple(errors))


def _pieces(text: str, environ: Mapping[str, str], errors: list[VariableError]) -> Iterator[tuple[str, bool]]:
    """The text between the references and what each stands for, with whether it is a variable's."""
    position = 0
    for match in _REFERENCE.finditer(text):
        yield text[position : match.start()], False
        position = match.end()
        if match["inside"] is None:
            yield "${", False
            continue
        try:
            yield _value(match, environ), True
        except VariableError as error:
            errors.append(error)
    yield text[position:], False


def _value(reference: re.Match[str], environ: Mapping[str, str]) -> str:
    if not reference["end"]:
        raise VariableError(f"has {show(reference[0])} without its closing brace", "${NAME}, or $${ for a plain ${")
    inside = _INSIDE.fullmatch(reference["inside"])
    if not inside:
        raise VariableError(f"has {show(reference[0])}", "${NAME} or ${NAME:-default}, or $${ for a plain ${")
    name, default = inside["name"], inside["default"]
    # As in a shell: with `:-` an empty variable counts as unset; without it, empty is a value.
    value = environ.get(name)
    if default is not None:
        return value or default.removeprefix(":-")
    if value is None:
        raise VariableError(f"uses the variable {name}, which is not set", f"set it, or write ${{{name}:-default}}")
    return value

r"""How a folder's name, which may be any bytes, is written where people and Prometheus read, and read back from there.

Not about paths: it opens nothing, and knows nothing of roots. Only `\xNN` is ever an escape, so there is one to learn.
"""

from __future__ import annotations

import os
import re

_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")


def shown(name: str) -> str:
    r"""A name as one printable line: each byte that isn't printable UTF-8, and the backslash, becomes `\xNN`.

    Not printable are, besides bytes that are no UTF-8, control characters, newlines, spaces other than the plain one,
    and marks that change the direction of writing, all of which can make a line look like another one.

    >>> shown("base-image"), shown("caf\udce9"), shown("two\nlines"), shown("back\\slash")
    ('base-image', 'caf\\xe9', 'two\\x0alines', 'back\\x5cslash')

    Args:
        name: As `os.fsdecode` made it.
    """
    if name.isascii() and _is_plain(name):
        return name
    # By its bytes, since what the process took them for depends on the locale it was started in.
    text = os.fsencode(name).decode("utf-8", "surrogateescape")
    return "".join(character if _is_plain(character) else _escaped(character) for character in text)


def named(text: str) -> str:
    r"""The name that `shown` shows as `text`; a backslash without `xNN` after it stands for itself.

    >>> named("caf\\xe9"), named("caf\\xE9"), named("back\\slash")
    ('caf\udce9', 'caf\udce9', 'back\\slash')

    Returns:
        The name as `os.fsdecode` would make it.

    Raises:
        UnicodeEncodeError: The text holds half a surrogate pair, which no file name can.
    """
    raw = text.encode("utf-8", "surrogateescape")
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode("ascii")), raw))


def _is_plain(text: str) -> bool:
    return text.isprintable() and "\\" not in text


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))

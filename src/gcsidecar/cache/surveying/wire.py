"""What goes between the sidecar and a process that measures for it: names one way, figures the other, in their order.

Bytes only; both ends import it, so it is small.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False  # `typing` would be a tenth of the process that measures
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    Totals: TypeAlias = tuple[int, int, int, float, float, int, str | None, int]
    Answer: TypeAlias = tuple[float, Totals | None]

# Kind, when the walk began, the figures in the order of `TreeSize`, the length of the obstacle that follows.
_record = struct.Struct("=BdqqqddqqH")
_ALIVE, _FAILED, _CLEAR, _OBSTRUCTED = range(4)
_LONGEST_OBSTACLE = 0xFFFF
_NUL = b"\0"

ALIVE = _record.pack(_ALIVE, 0.0, 0, 0, 0, 0.0, 0.0, 0, 0, 0)
"""Says that a long walk is still under way."""


def encode_names(names: Iterable[str]) -> bytes:
    """Names of folders, which can hold anything but a NUL."""
    return b"".join(os.fsencode(name) + _NUL for name in names)


def decode_names(received: bytes) -> tuple[list[str], bytes]:
    """The names that are there whole, and the beginning of another one."""
    *names, rest = received.split(_NUL)
    return [os.fsdecode(name) for name in names], rest


def encode_answer(at: float, totals: Totals | None) -> bytes:
    """What came of one folder: its figures, or none where it can't be measured."""
    if totals is None:
        return _record.pack(_FAILED, at, 0, 0, 0, 0.0, 0.0, 0, 0, 0)
    *before, obstacle, unreadable = totals
    if obstacle is None:
        return _record.pack(_CLEAR, at, *before, unreadable, 0)
    text = os.fsencode(obstacle)[:_LONGEST_OBSTACLE]
    return _record.pack(_OBSTRUCTED, at, *before, unreadable, len(text)) + text


class Answers:
    """Puts together again what comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def decode(self, received: bytes) -> Iterator[Answer]:
        """The answers that are there whole now."""
        received, at = self._rest + received, 0
        while at + _record.size <= len(received):
            kind, began_at, *before, unreadable, length = _record.unpack_from(received, at)
            end = at + _record.size + length
            if end > len(received):
                break
            if kind != _ALIVE:
                obstacle = os.fsdecode(received[at + _record.size : end]) if kind == _OBSTRUCTED else None
                yield began_at, None if kind == _FAILED else (*before, obstacle, unreadable)
            at = end
        self._rest = received[at:]

"""How values stand in a history's tables: what sqlite can't store as it is, and what is read, held to be what it says.

It knows no tables.
"""

from __future__ import annotations

import math
import os

from gcsidecar.cache.errors import HistoryDamagedError
from gcsidecar.cache.history.file import NAME

_MAX_INT, _WRAP = 1 << 63, 1 << 64
_TEXT_BYTES = 200


def signed(number: int) -> int:
    """As sqlite can store it: some filesystems' inode numbers have all 64 bits."""
    return number - _WRAP if number >= _MAX_INT else number


def unsigned(number: int) -> int:
    """The inode number that was stored."""
    return number % _WRAP


def storable(number: int | None) -> int | None:
    """It, or none where sqlite can't store it: a time after the year 2262, a size that can't be."""
    return number if number is not None and -_MAX_INT <= number < _MAX_INT else None


def name(value: object) -> str:
    """A folder's name."""
    if isinstance(value, bytes):
        return os.fsdecode(value)
    raise HistoryDamagedError(f"{NAME} has a name that is none")


def time(value: object) -> float:
    """POSIX seconds; sqlite stores what has no fraction as it likes."""
    if isinstance(value, float | int) and math.isfinite(value):
        return float(value)
    raise HistoryDamagedError(f"{NAME} has a time that is none")


def number(value: object) -> int:
    """A whole number."""
    if isinstance(value, int):
        return value
    raise HistoryDamagedError(f"{NAME} has a number that is none")


def amount(value: object) -> int:
    """One that is not below 0."""
    if isinstance(value, int) and value >= 0:
        return value
    raise HistoryDamagedError(f"{NAME} has an amount that is none")


def text(value: object) -> str:
    """Words, in which a path may be that isn't UTF-8."""
    if isinstance(value, bytes):
        return os.fsdecode(value)
    raise HistoryDamagedError(f"{NAME} has a text that is none")


def text_bytes(value: str | None) -> bytes | None:
    """The same, stored; of a long one its end."""
    return None if value is None else os.fsencode(value)[-_TEXT_BYTES:]

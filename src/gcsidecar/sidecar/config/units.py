"""Sizes, durations and levels as people write them, and back: `10GiB`, `1h30m`, `15%`.

Only text and numbers; what a key means, and where it stands in a file, is for the other modules.
"""

from __future__ import annotations

import re
from typing import Literal

from gcsidecar.cache.spec import ByteSize, Seconds
from gcsidecar.errors import GcsidecarError
from gcsidecar.gc.pressure import Level
from gcsidecar.sidecar.config.problems import show

Unit = Literal["bytes", "inodes"]

MAX_SIZE_BYTES = 2**63 - 1
MAX_DURATION_SECONDS = 36_500 * 86_400
_ALL_PERCENT = 100

# As Kubernetes writes its quantities: G is decimal, Gi binary; with a B they are the words of `ls` and `df`.
_POWERS = "KMGTPE"
_DECIMAL_BYTES = {letter: 1000**power for power, letter in enumerate(_POWERS, 1)}
_BINARY_BYTES = {f"{letter}i": 1024**power for power, letter in enumerate(_POWERS, 1)}
_SIZE_UNITS = {
    "": 1,
    "B": 1,
    "k": 1000,
    "kB": 1000,
    **_DECIMAL_BYTES,
    **_BINARY_BYTES,
    **{f"{unit}B": factor for unit, factor in (_DECIMAL_BYTES | _BINARY_BYTES).items()},
}
_DURATION_UNITS_US = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
}

# 20 digits are more than any size or duration here needs, and keep every conversion cheap.
_NUMBER = r"(?P<whole>[0-9]{1,20})(?:\.(?P<part>[0-9]{1,20}))?"
_SIZE = re.compile(rf"{_NUMBER} ?(?P<unit>[A-Za-z]*)")
_SHARE = re.compile(rf"{_NUMBER} ?%")
_DURATION_PART = re.compile(rf"{_NUMBER}(?P<unit>ms|[wdhms])")
_COUNT = re.compile(r"[0-9]{1,18}")

SIZE_WORDS = "a size such as 10GiB, 500MB or a plain number of bytes"
DURATION_WORDS = "a duration such as 30s, 2h, 7d or 1h30m"
LEVEL_WORDS: dict[Unit, str] = {
    "bytes": "a share such as 15% or a size such as 10GiB",
    "inodes": "a share such as 15% or a plain number of inodes",
}


class UnitError(GcsidecarError, ValueError):
    """A size, duration or level that can't be meant.

    Attributes:
        what: What is wrong with it, to be put after its place.
        remedy: What would be right.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what, self.remedy = what, remedy


def _scaled(number: re.Match[str], factor: int) -> int:
    """The matched number times `factor`, in whole numbers all the way (a float has no 2**63 - 1), rounded down."""
    part = number["part"] or ""
    return int(number["whole"] + part) * factor // int(10 ** len(part))


def _plain_number(value: object) -> int | float | None:
    """A number that YAML has already read as one; `true` is none."""
    return None if isinstance(value, bool) or not isinstance(value, int | float) else value


def parse_size(value: object) -> ByteSize:
    """A size in bytes.

    `KB`, `MB`, `GB`... and, as in Kubernetes, `k`, `M`, `G`... count in thousands; `KiB`, `MiB`... and `Ki`, `Mi`...
    in 1024s; a plain number is bytes.

    Raises:
        UnitError: It is none, is negative or is more than 8 EiB.
    """
    number = _plain_number(value)
    if isinstance(number, int):
        return _bounded_size(number, str(number) if abs(number) <= MAX_SIZE_BYTES else "that number")
    if number is not None or not isinstance(value, str):
        raise UnitError(f"{_shown(value)} is not a size", SIZE_WORDS)
    if not (match := _SIZE.fullmatch(value)):
        raise UnitError(f"{_shown(value)} is not a size", SIZE_WORDS)
    if (factor := _SIZE_UNITS.get(match["unit"])) is None:
        raise UnitError(f'{_shown(value)} has the unknown unit "{match["unit"]}"', _unit_remedy(match))
    return _bounded_size(_scaled(match, factor), value)


def _unit_remedy(match: re.Match[str]) -> str:
    """The same number with the unit that was probably meant, and all units."""
    wanted = match["unit"].lower()
    near = next((unit for unit in _SIZE_UNITS if unit.lower() == wanted), None)
    units = "B, KB, MB, GB, TB, PB (thousands) or KiB, MiB, GiB, TiB, PiB (1024s)"
    number = match[0].removesuffix(match["unit"]).rstrip()
    return f"{number}{near}, or another of {units}" if near else f"one of {units}"


def _bounded_size(size_bytes: int, written: str) -> ByteSize:
    if size_bytes < 0:
        raise UnitError(f"{written} is below 0", SIZE_WORDS)
    if size_bytes > MAX_SIZE_BYTES:
        raise UnitError(f"{written} is more than any filesystem holds", "less than 8EiB")
    return ByteSize(size_bytes)


def format_size(size_bytes: int) -> str:
    """The shortest way to write exactly this size, so that `parse_size` gives it back."""
    for units in (_BINARY_BYTES, _DECIMAL_BYTES):
        for unit, factor in reversed(units.items()):
            if size_bytes and size_bytes % factor == 0:
                return f"{size_bytes // factor}{unit}B"
    return f"{size_bytes}B" if size_bytes else "0"


def parse_duration(value: object) -> Seconds:
    """A duration in seconds: numbers with `ms`, `s`, `m`, `h`, `d` or `w`, largest first; 0 needs no unit.

    Raises:
        UnitError: It is none, has no unit, is negative or is more than 36500 days.
    """
    number = _plain_number(value)
    if number == 0:
        return Seconds(0)
    if number is not None or (isinstance(value, str) and _COUNT.fullmatch(value)):
        return _bare_duration(value)
    if not isinstance(value, str):
        raise UnitError(f"{_shown(value)} is not a duration", DURATION_WORDS)
    return _bounded_duration(_duration_us(value), value)


def _bare_duration(value: object) -> Seconds:
    if value == "0":
        return Seconds(0)
    if isinstance(value, int | float) and not 0 < value <= MAX_DURATION_SECONDS:
        raise UnitError(f"{_shown(value)} is not a duration", DURATION_WORDS)
    raise UnitError(f"{_shown(value)} has no unit", f"{value}s if seconds are meant")


def _duration_us(text: str) -> int:
    """The sum of the parts, in microseconds, so that no rounding creeps in between them."""
    order = list(_DURATION_UNITS_US)
    total_us, position, largest = 0, 0, 0
    while match := _DURATION_PART.match(text, position):
        rank = order.index(match["unit"])
        if rank < largest:
            raise UnitError(f"{_shown(text)} has its units out of order or twice", DURATION_WORDS)
        total_us += _scaled(match, _DURATION_UNITS_US[match["unit"]])
        position, largest = match.end(), rank + 1
    if not text or position < len(text):
        raise UnitError(f"{_shown(text)} is not a duration", DURATION_WORDS)
    return total_us


def _bounded_duration(total_us: int, written: str) -> Seconds:
    if total_us > MAX_DURATION_SECONDS * 1_000_000:
        raise UnitError(f"{written} is longer than anything here lives", "36500d at most")
    return Seconds(total_us / 1_000_000)


def format_duration(seconds: float) -> str:
    """A duration as `parse_duration` reads it, to the microsecond: `1h30m`, `500ms`."""
    rest_us, parts = round(seconds * 1_000_000), []
    for unit in ("d", "h", "m", "s"):
        count, rest_us = divmod(rest_us, _DURATION_UNITS_US[unit])
        if count:
            parts.append(f"{count}{unit}")
    if rest_us:
        parts.append(f"{rest_us / 1000:g}ms")
    return "".join(parts) or "0s"


def parse_level(value: object, unit: Unit = "bytes") -> Level:
    """A fixed amount or a share of the capacity.

    Raises:
        UnitError: It is neither, or is more than the whole.
    """
    if isinstance(value, str) and (match := _SHARE.fullmatch(value)):
        return _share(match)
    if isinstance(value, float):
        raise UnitError(f"{_shown(value)} is neither a share nor an amount", _share_remedy(value, unit))
    if unit == "inodes":
        return _inode_level(value)
    if (number := _plain_number(value)) is not None and 0 < number <= _ALL_PERCENT:
        # Nobody keeps 20 bytes free; taken as written it would silently turn the threshold off.
        raise UnitError(f"{value} is {value} bytes", f"{value}% if a share is meant, {value}B if not")
    return _byte_level(value)


def _share(match: re.Match[str]) -> Level:
    percent = float(match[0].rstrip(" %"))
    if percent > _ALL_PERCENT:
        raise UnitError(f"{match[0]} is more than the whole", "100% at most")
    return Level(share=percent / 100)


def _share_remedy(value: float, unit: Unit) -> str:
    return f"{value * 100:g}% if a share is meant" if 0 < value < 1 else LEVEL_WORDS[unit]


def _inode_level(value: object) -> Level:
    if isinstance(value, str) and _COUNT.fullmatch(value):
        return Level(int(value))
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SIZE_BYTES:
        return Level(value)
    raise UnitError(f"{_shown(value)} is neither a share nor a number of inodes", LEVEL_WORDS["inodes"])


def _byte_level(value: object) -> Level:
    try:
        return Level(int(parse_size(value)))
    except UnitError as error:
        words = error.remedy if error.remedy != SIZE_WORDS else LEVEL_WORDS["bytes"]
        raise UnitError(error.what.replace("is not a size", "is neither a share nor a size"), words) from None


def format_level(level: Level, unit: Unit = "bytes") -> str:
    """A level as `parse_level` reads it."""
    if level.share is None:
        return format_size(level.amount) if unit == "bytes" else str(level.amount)
    return str(level)


def _shown(value: object) -> str:
    """The value as it may be quoted in a message: short, on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) > MAX_SIZE_BYTES:
        return "that number"  # Python refuses to print a number of 4,301 digits
    return show(value) if isinstance(value, str) else str(value)

"""The second half of each threshold: a target that was left out is filled in, one that makes no sense is reported.

It sees the values of one mapping at a time, and whether a key was written or inherited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gcsidecar.cache.spec import MemoryLevels, RootSpec, SpaceLevels
from gcsidecar.gc.pressure import Level
from gcsidecar.sidecar.config.units import Unit, format_level, format_size

if TYPE_CHECKING:
    from collections.abc import Collection

TARGET_FACTOR = 1.25
SIZE_TARGET = Level(share=0.9)

_PAIRS: dict[type, tuple[str, str]] = {
    SpaceLevels: ("min_free", "target_free"),
    MemoryLevels: ("min_available", "target_available"),
    RootSpec: ("max_size", "target_size"),
}


@dataclass(frozen=True, slots=True)
class Completion:
    """What a mapping's target comes to.

    Attributes:
        key: The name of the target's key.
        target: Its value.
        what: What is wrong with it; empty where nothing is.
        remedy: What would be right.
    """

    key: str
    target: Level | None
    what: str = ""
    remedy: str = ""


def complete(
    cls: type, values: dict[str, Any], written: Collection[str], base: Any, unit: Unit = "bytes"
) -> Completion | None:
    """The target of a mapping that is read as `cls`; none where such a mapping has none.

    Args:
        cls: What the mapping is read as.
        values: Its values, those that were left out included.
        written: The keys that stand in the file.
        base: Where what was left out comes from, if not from the type's own defaults.
        unit: What the levels count.
    """
    if cls not in _PAIRS:
        return None
    minimum_key, target_key = _PAIRS[cls]
    minimum, target = values[minimum_key], values[target_key]
    if minimum is None:
        return Completion(target_key, None)
    if cls is RootSpec:
        return _size_target(minimum, target)
    if target is None and minimum_key not in written and target_key not in written:
        target = getattr(base, target_key, None)
    if target is None:
        return Completion(target_key, minimum.scaled(TARGET_FACTOR))
    return _above(minimum_key, minimum, target_key, target, unit)


def _above(minimum_key: str, minimum: Level, target_key: str, target: Level, unit: Unit) -> Completion:
    if not is_below(target, minimum):
        return Completion(target_key, target)
    what = f"is {format_level(target, unit)}, below {minimum_key}, which is {format_level(minimum, unit)}"
    suggestion = format_level(minimum.scaled(TARGET_FACTOR), unit)
    return Completion(target_key, target, what, f"at least {minimum_key}, or leave it out for {suggestion}")


def is_below(level: Level, other: Level) -> bool:
    """Whether a level is below the other whatever the capacity; a share and an amount can't be compared here."""
    if level.share is None and other.share is None:
        return level.amount < other.amount
    return level.share is not None and other.share is not None and level.share < other.share


def _size_target(max_size_bytes: int, target: Level | None) -> Completion:
    """The one pair where the target is the lower value, since it is about what is used and not about what is free."""
    if target is None:
        return Completion("target_size", SIZE_TARGET)
    if target.of(max_size_bytes) <= max_size_bytes:
        return Completion("target_size", target)
    what = f"is {format_level(target)}, above max_size, which is {format_size(max_size_bytes)}"
    return Completion("target_size", target, what, "at most max_size, or leave it out for 90% of it")

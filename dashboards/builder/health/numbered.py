"""Labels as numbers, since a timeline shows numbers: a state's place in a list, from 1 on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.fields import words
from builder.scope import FLEET

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import ValueMap


def numbered(metric: str, label: str, values: dict[str, str], by: str) -> str:
    """The query that gives the number of the value of a label that holds."""
    return " or ".join(
        f"max by ({by}) ({FLEET(metric, **{label: value})} == 1) * {number}" for number, value in enumerate(values, 1)
    )


def meanings(values: dict[str, str]) -> ValueMap:
    """What the numbers mean again."""
    return words(*((number, value, colour) for number, (value, colour) in enumerate(values.items(), 1)))

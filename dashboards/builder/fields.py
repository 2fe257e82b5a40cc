"""How values look, the same everywhere: units, colours, thresholds, and words in place of numbers.

The colours are names that Grafana has for its light and its dark theme.
"""

from __future__ import annotations

from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

BYTES: Final = "bytes"
BYTES_PER_SECOND: Final = "binBps"
SECONDS: Final = "s"
RATIO: Final = "percentunit"
COUNT: Final = "short"
PER_MINUTE: Final = "suffix:/min"
NO_UNIT: Final = "none"

GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"
BLUE, PURPLE, GREY, DIM, CLEAR = "blue", "purple", "#8e9095", "#3f444b", "transparent"

WEEK_SECONDS: Final = 7 * 86400


def above(**colours: float) -> build.ThresholdsConfig:
    """Green, and from each value on the colour that it is given for."""
    return _steps(GREEN, colours)


def below(**colours: float) -> build.ThresholdsConfig:
    """Red, and from each value on the colour that it is given for."""
    return _steps(RED, colours)


def plain(colour: str = BLUE) -> build.ThresholdsConfig:
    """One colour, for what is neither good nor bad."""
    return _steps(colour, {})


def cell(base: str = CLEAR, **colours: float) -> tuple[model.DynamicConfigValue, ...]:
    """The properties of a table's column whose cells have a colour from some value on; until then, none or the base."""
    thresholds = _steps(base, colours).build()
    return prop("thresholds", thresholds), prop("custom.cellOptions", {"type": "color-background", "mode": "basic"})


def _steps(base: str, colours: dict[str, float]) -> build.ThresholdsConfig:
    steps = [model.Threshold(None, base), *(model.Threshold(value, name) for name, value in colours.items())]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def words(*meanings: tuple[int, str, str]) -> model.ValueMap:
    """A word and a colour for each of some values."""
    return model.ValueMap(
        {
            str(value): model.ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, text, colour) in enumerate(meanings)
        }
    )


def from_on(value: float, text: str, colour: str) -> model.RangeMap:
    """A word and a colour for all values from one on."""
    result = model.ValueMappingResult(text=text, color=colour, index=0)
    return model.RangeMap(model.DashboardRangeMapOptions(from_val=value, result=result))


# What fills no more has no time to its trigger, and a week is as good.
TIME_TO_TRIGGER = from_on(WEEK_SECONDS, "> 1 week", GREEN)
YES_NO = words((0, "no", RED), (1, "yes", GREEN))


def prop(name: str, value: Any) -> model.DynamicConfigValue:
    """A property that some fields have otherwise than the rest of their panel."""
    return model.DynamicConfigValue(name, value)


def fixed(colour: str) -> model.DynamicConfigValue:
    """The property of having one colour."""
    return prop("color", {"mode": "fixed", "fixedColor": colour})


def mark(colour: str) -> list[model.DynamicConfigValue]:
    """The properties of a line that isn't a measurement but a mark to compare with."""
    return [
        fixed(colour),
        prop("custom.lineStyle", {"fill": "dash", "dash": [8, 8]}),
        prop("custom.lineWidth", 1),
        prop("custom.fillOpacity", 0),
        prop("custom.stacking", {"mode": "none"}),
    ]

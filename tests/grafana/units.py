"""Values as Grafana writes them, by the unit of their field."""

from __future__ import annotations

import math

BINARY = ("", "Ki", "Mi", "Gi", "Ti")
DECIMAL = ("", " K", " Mil", " Bil")
TIMES = ((1, "s"), (60, "min"), (3600, "h"), (86400, "d"))


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """A value with its unit."""
    if math.isnan(value):
        return "-"
    if unit == "bytes":
        return _scaled(value, 1024, BINARY, "B", decimals, gap=" ")
    if unit == "binBps":
        return _scaled(value, 1024, BINARY, "B/s", decimals, gap=" ")
    if unit == "percentunit":
        return f"{_number(value * 100, decimals)}%"
    if unit == "s":
        return _duration(value, decimals)
    return _scaled(value, 1000, DECIMAL, unit.removeprefix("suffix:") if ":" in unit else "", decimals)


def _scaled(
    value: float, base: int, prefixes: tuple[str, ...], unit: str, decimals: int | None, *, gap: str = ""
) -> str:
    power = 0
    while abs(value) >= base and power < len(prefixes) - 1:
        value /= base
        power += 1
    return f"{_number(value, decimals)}{gap}{prefixes[power]}{unit}"


def _duration(value: float, decimals: int | None) -> str:
    if 0 < abs(value) < 1:
        return f"{_number(value * 1000, decimals)} ms"
    size, name = next((size, name) for size, name in reversed(TIMES) if abs(value) >= size or size == 1)
    return f"{_number(value / size, decimals)} {name}"


def _number(value: float, decimals: int | None) -> str:
    """Three digits that matter, where nothing else is asked for."""
    if decimals is None:
        decimals = max(0, 2 - math.floor(math.log10(abs(value)))) if abs(value) >= 1 else 2
        text = f"{value:.{min(decimals, 2)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{decimals}f}"

"""Sizes, durations and levels: what people write is understood exactly, or refused with what would be right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsidecar.gc.pressure import Level
from gcsidecar.sidecar.config.units import (
    MAX_DURATION_SECONDS,
    MAX_SIZE_BYTES,
    UnitError,
    format_duration,
    format_level,
    format_size,
    parse_duration,
    parse_level,
    parse_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("0", 0),
        ("1B", 1),
        ("1kB", 1000),
        ("1KB", 1000),
        ("500MB", 500_000_000),
        ("10GiB", 10 * 1024**3),
        ("10 GiB", 10 * 1024**3),
        ("10Gi", 10 * 1024**3),
        ("10G", 10_000_000_000),
        ("1.5TiB", 3 * 1024**4 // 2),
        ("0.1KiB", 102),
        ("7EiB", 7 * 1024**6),
        (MAX_SIZE_BYTES, MAX_SIZE_BYTES),
    ],
)
def test_a_size_means_its_bytes(written: object, size_bytes: int) -> None:
    assert parse_size(written) == size_bytes


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0),
        ("0", 0),
        ("0s", 0),
        ("30s", 30),
        ("2h", 7200),
        ("7d", 604_800),
        ("1w", 604_800),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("1d2h3m4s5ms", 93_784.005),
        ("36500d", MAX_DURATION_SECONDS),
    ],
)
def test_a_duration_means_its_seconds(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    ("written", "level"),
    [
        ("15%", Level(share=0.15)),
        ("15 %", Level(share=0.15)),
        ("12.5%", Level(share=0.125)),
        ("0%", Level(share=0.0)),
        ("100%", Level(share=1.0)),
        ("10GiB", Level(10 * 1024**3)),
        (0, Level(0)),
        ("20B", Level(20)),
        (101, Level(101)),
    ],
)
def test_a_level_is_a_share_or_a_size(written: object, level: Level) -> None:
    assert parse_level(written) == level


@pytest.mark.parametrize(("written", "count"), [(5, 5), (100_000, 100_000), ("100000", 100_000)])
def test_a_level_of_inodes_is_a_plain_number(written: object, count: int) -> None:
    assert parse_level(written, "inodes") == Level(count)


_SIZE_HINT = "a size such as 10GiB, 500MB or a plain number of bytes"
_DURATION_HINT = "a duration such as 30s, 2h, 7d or 1h30m"


@pytest.mark.parametrize(
    ("parse", "written", "what", "remedy"),
    [
        (parse_size, "", '"" is not a size', _SIZE_HINT),
        (parse_size, "big", '"big" is not a size', _SIZE_HINT),
        (parse_size, "-1GiB", '"-1GiB" is not a size', _SIZE_HINT),
        (parse_size, -1, "-1 is below 0", _SIZE_HINT),
        (parse_size, True, "true is not a size", _SIZE_HINT),
        (parse_size, 1.5, "1.5 is not a size", _SIZE_HINT),
        (parse_size, math.inf, "inf is not a size", _SIZE_HINT),
        (parse_size, math.nan, "nan is not a size", _SIZE_HINT),
        (parse_size, "1_000", '"1_000" is not a size', _SIZE_HINT),
        (parse_size, "٣GiB", '"٣GiB" is not a size', _SIZE_HINT),
        (parse_size, "10GiB\n", '"10GiB\\n" is not a size', _SIZE_HINT),
        (parse_size, "8EiB", "8EiB is more than any filesystem holds", "less than 8EiB"),
        (parse_size, 10**400, "that number is more than any filesystem holds", "less than 8EiB"),
        (parse_duration, 30, "30 has no unit", "30s if seconds are meant"),
        (parse_duration, "30", '"30" has no unit', "30s if seconds are meant"),
        (parse_duration, -1, "-1 is not a duration", _DURATION_HINT),
        (parse_duration, "-1s", '"-1s" is not a duration', _DURATION_HINT),
        (parse_duration, "", '"" is not a duration', _DURATION_HINT),
        (parse_duration, "soon", '"soon" is not a duration', _DURATION_HINT),
        (parse_duration, False, "false is not a duration", _DURATION_HINT),
        (parse_duration, math.inf, "inf is not a duration", _DURATION_HINT),
        (parse_duration, math.nan, "nan is not a duration", _DURATION_HINT),
        (parse_duration, 10**400, "that number is not a duration", _DURATION_HINT),
        (parse_duration, "30m1h", '"30m1h" has its units out of order or twice', _DURATION_HINT),
        (parse_duration, "1h1h", '"1h1h" has its units out of order or twice', _DURATION_HINT),
        (parse_duration, "1y", '"1y" is not a duration', _DURATION_HINT),
        (parse_duration, "36501d", "36501d is longer than anything here lives", "36500d at most"),
        (parse_level, "101%", "101% is more than the whole", "100% at most"),
        (parse_level, 20, "20 is 20 bytes", "20% if a share is meant, 20B if not"),
        (parse_level, 0.2, "0.2 is neither a share nor an amount", "20% if a share is meant"),
        (parse_level, "-5%", '"-5%" is neither a share nor a size', "a share such as 15% or a size such as 10GiB"),
        (parse_level, True, "true is neither a share nor a size", "a share such as 15% or a size such as 10GiB"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_would_be_right(
    parse: Callable[[Any], object], written: object, what: str, remedy: str
) -> None:
    with pytest.raises(UnitError) as caught:
        parse(written)
    assert (caught.value.what, caught.value.remedy) == (what, remedy)


def test_a_unit_that_is_nearly_right_is_named() -> None:
    with pytest.raises(UnitError) as caught:
        parse_size("10gib")
    assert caught.value.what == '"10gib" has the unknown unit "gib"'
    assert caught.value.remedy.startswith("10GiB, or another of B, KB, MB")


@pytest.mark.parametrize("written", ["10GiB", -1, True, 1.5])
def test_inodes_have_no_unit(written: object) -> None:
    with pytest.raises(UnitError):
        parse_level(written, "inodes")


@given(st.integers(0, MAX_SIZE_BYTES))
def test_a_formatted_size_is_read_back_exactly(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == size_bytes


@given(st.integers(0, MAX_DURATION_SECONDS * 1000))
def test_a_formatted_duration_is_read_back_exactly(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.integers(0, 100) | st.integers(0, 1000).map(lambda tenths: tenths / 10))
def test_a_formatted_share_is_read_back_exactly(percent: float) -> None:
    level = Level(share=percent / 100)
    assert parse_level(format_level(level)) == level


@given(st.integers(0, MAX_SIZE_BYTES))
def test_a_formatted_amount_is_read_back_exactly(amount: int) -> None:
    assert parse_level(format_level(Level(amount))) == Level(amount)
    assert parse_level(format_level(Level(min(amount, 10**18 - 1)), "inodes"), "inodes").amount == min(
        amount, 10**18 - 1
    )


@pytest.mark.parametrize(
    ("size_bytes", "written"), [(0, "0"), (1, "1B"), (1024, "1KiB"), (1000, "1KB"), (20 * 1024**3, "20GiB")]
)
def test_a_size_is_shown_in_its_largest_whole_unit(size_bytes: int, written: str) -> None:
    assert format_size(size_bytes) == written


@given(st.text(max_size=30) | st.integers() | st.floats() | st.booleans() | st.none())
def test_whatever_is_written_gives_a_finite_value_or_our_error(written: object) -> None:
    for parse in (parse_size, parse_duration, parse_level):
        try:
            value = parse(written)
        except UnitError:
            continue
        assert isinstance(value, Level) or (math.isfinite(value) and value >= 0)

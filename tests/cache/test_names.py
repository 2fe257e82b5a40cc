from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsidecar.cache.names import named, shown

if TYPE_CHECKING:
    from pathlib import Path

# What a directory entry may be: any bytes but NUL and the slash; more often than by chance those that are special here.
SPECIAL = st.sampled_from([b"\\", b"\\x", b"\\x41", b"\n", b"\xff", "é".encode(), "\u202e".encode(), b"\xe2", b" "])
RAW_NAMES = st.lists(st.one_of(SPECIAL, st.binary(max_size=4)), max_size=12).map(
    lambda parts: b"".join(parts).translate(None, b"\0/")
)


@given(RAW_NAMES)
def test_whatever_bytes_a_name_has_it_comes_back_from_how_it_is_shown(raw: bytes) -> None:
    name = os.fsdecode(raw)
    assert named(shown(name)) == name


@given(RAW_NAMES)
def test_what_is_shown_is_one_line_of_printable_utf8(raw: bytes) -> None:
    text = shown(os.fsdecode(raw))
    assert text.isprintable()
    assert text.encode("utf-8").decode("utf-8") == text


@given(RAW_NAMES, RAW_NAMES)
def test_two_names_are_never_shown_alike(one: bytes, other: bytes) -> None:
    assert (shown(os.fsdecode(one)) == shown(os.fsdecode(other))) == (one == other)


@given(st.text(max_size=20).filter(lambda text: not any("\ud800" <= character <= "\udfff" for character in text)))
def test_any_text_that_a_config_can_hold_names_something(text: str) -> None:
    assert named(shown(named(text))) == named(text)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (b"models--org--name", "models--org--name"),
        (b"a b", "a b"),
        ("café".encode(), "café"),
        ("日本".encode(), "日本"),
        (b"caf\xe9", r"caf\xe9"),
        (b"two\nlines", r"two\x0alines"),
        (b"\x1b[31m", r"\x1b[31m"),
        (b"\x7f", r"\x7f"),
        (b"back\\slash", r"back\x5cslash"),
        (b"\\xff", r"\x5cxff"),
        ("\u202egnp.exe".encode(), r"\xe2\x80\xaegnp.exe"),
        ("no\u00a0break".encode(), r"no\xc2\xa0break"),
        (b'"quoted"', '"quoted"'),
    ],
)
def test_a_name_is_shown_as(raw: bytes, text: str) -> None:
    assert shown(os.fsdecode(raw)) == text


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        (r"caf\xE9", b"caf\xe9"),
        (r"back\slash", b"back\\slash"),
        (r"\x4", rb"\x4"),
        (r"\xzz", rb"\xzz"),
        (r"\x62ase-*", b"base-*"),
    ],
)
def test_what_a_person_writes_is_accepted_as(text: str, raw: bytes) -> None:
    assert named(text) == os.fsdecode(raw)


def test_half_a_surrogate_pair_is_refused_since_no_file_can_be_called_that() -> None:
    with pytest.raises(UnicodeEncodeError):
        named("\ud800")


def test_a_real_folder_is_found_by_what_is_shown_of_it(tmp_path: Path) -> None:
    os.mkdir(os.path.join(os.fsencode(tmp_path), b"caf\xe9\n"))
    [name] = os.listdir(tmp_path)
    assert (tmp_path / named(shown(name))).is_dir()


def test_the_locale_that_the_process_runs_in_makes_no_difference() -> None:
    program = (
        "import os; from gcsidecar.cache.names import named, shown;"
        "raw = b'caf\\xc3\\xa9 \\xe9'; name = os.fsdecode(raw);"
        "print(ascii(shown(name)), os.fsencode(named(shown(name))) == raw)"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "'caf\\xe9 \\\\xe9' True\n"

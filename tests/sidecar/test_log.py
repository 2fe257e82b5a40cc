from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import shlex
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsidecar.sidecar.log import LineFormatter, LineHandler, configure, fields

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOG = logging.getLogger("gcsidecar.sidecar.tested")
JANUARY = 1769860800.1239  # 2026-01-31T12:00:00.1239Z


@pytest.fixture(autouse=True)
def _logging_is_put_back() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (None, "gcsidecar", "tornado.general")]
    levels, handlers = [logger.level for logger in loggers], list(logging.getLogger().handlers)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    logging.getLogger().handlers[:] = handlers


def record(event: str, /, **values: object) -> logging.LogRecord:
    made = logging.LogRecord("gcsidecar.cache.root", logging.INFO, "file.py", 1, event, (), None)
    made.created = JANUARY
    made.__dict__.update(fields(**values))
    return made


def line(fmt: Literal["logfmt", "json"], /, **values: object) -> str:
    return LineFormatter(fmt).format(record("evicted", **values))


def logfmt(value: object) -> str:
    return line("logfmt", value=value).partition(" value=")[2]


def written(
    fmt: Literal["logfmt", "json"] = "logfmt", level: Literal["debug", "info", "error"] = "info"
) -> io.StringIO:
    stream = io.StringIO()
    configure(level, fmt, stream)
    return stream


def test_an_event_is_one_line_of_logfmt() -> None:
    assert line("logfmt", root="jobs", folder="a b", expected_bytes=1) == (
        'time=2026-01-31T12:00:00.123Z level=info event=evicted root=jobs folder="a b" expected_bytes=1'
    )


def test_an_event_is_one_json_object_on_one_line() -> None:
    text = line("json", root="jobs", folder="a\nb", idle_seconds=1.5, reasons=("disk", "inodes"), plan=None)
    assert "\n" not in text
    assert json.loads(text) == {
        "time": "2026-01-31T12:00:00.123Z",
        "level": "info",
        "event": "evicted",
        "root": "jobs",
        "folder": "a\nb",
        "idle_seconds": 1.5,
        "reasons": ["disk", "inodes"],
        "plan": None,
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain-1.0/é", "plain-1.0/é"),
        ("", '""'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('say "no"', r'"say \"no\""'),
        (r"caf\xe9", r"caf\xe9"),
        (r"caf\xe9 au lait", r'"caf\\xe9 au lait"'),
        ("two\nlines\r\tand", r'"two\nlines\r\tand"'),
        ("\x1b[31m\x7f\0", r'"\u001b[31m\u007f\u0000"'),
        ("\u2028\u202e", r'"\u2028\u202e"'),
        ("\U000e0001", r'"\udb40\udc01"'),
        ("caf\udce9", r"caf\xe9"),
        (b"caf\xe9", r"caf\xe9"),
        (None, "null"),
        (True, "true"),
        (1 << 70, "1180591620717411303424"),
        (3.0, "3"),
        (0.1 + 0.2, "0.3"),
        (0.0000123, "1.2e-05"),
        (1769860800.25, "1769860800.25"),
        (-0.0, "0"),
        (1e22, "10000000000000000000000"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (["a", 1], r'"[\"a\", 1]"'),
        ({"disk": 0.5}, r'"{\"disk\": 0.5}"'),
        (ValueError("no such\nthing"), r'"no such\nthing"'),
    ],
)
def test_a_value_in_logfmt_is(value: object, shown: str) -> None:
    assert logfmt(value) == shown


@given(st.text(st.characters(codec=None)))
def test_whatever_the_text_logfmt_is_one_printable_line_that_reads_back_as_it_was(text: str) -> None:
    shown = logfmt(text)
    assert shown.isprintable()
    read = json.loads(shown) if shown.startswith('"') else shown
    expected = "".join(f"\\x{ord(c) & 0xFF:02x}" if "\ud800" <= c <= "\udfff" else c for c in text)
    assert read == expected


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.floats(), st.integers(), st.none(), st.binary())))
def test_whatever_the_fields_json_is_one_line_that_parses(values: dict[str, object]) -> None:
    text = line("json", **{f"field {key}": value for key, value in values.items()})
    assert text.isascii()
    assert "\n" not in text
    assert len(json.loads(text, parse_constant=pytest.fail)) >= 3


def test_a_field_named_like_one_of_the_lines_own_takes_nothing_from_it() -> None:
    assert line("logfmt", level="deep", name="n", args=1, msg="m") == (
        "time=2026-01-31T12:00:00.123Z level=info event=evicted level_=deep name=n args=1 msg=m"
    )


def test_a_key_that_would_break_the_line_is_mended() -> None:
    assert line("logfmt", **{"a b\n": 1, "": 2}).endswith(" a_b_=1 _=2")


@pytest.mark.parametrize("fmt", ["logfmt", "json"])
def test_a_traceback_stays_on_its_events_line(fmt: Literal["logfmt", "json"]) -> None:
    stream = written(fmt)
    try:
        raise ValueError("first\nsecond")  # noqa: TRY301
    except ValueError:
        LOG.exception("collection failed", extra=fields(root="jobs"))
    [text] = stream.getvalue().splitlines()
    assert "root" in text
    assert "Traceback (most recent call last)" in text
    assert r"ValueError: first\nsecond" in text


def test_plain_calls_of_other_libraries_are_events_that_name_their_logger() -> None:
    stream = written()
    logging.getLogger("asyncio").warning("took %.1f seconds", 2)
    assert stream.getvalue().endswith(' level=warning event="took 2.0 seconds" logger=asyncio\n')


def test_a_call_whose_arguments_do_not_fit_is_still_one_line() -> None:
    made = record("took %d seconds")
    made.args = ("two",)
    assert LineFormatter("logfmt").format(made).endswith(" event=\"took %d seconds ('two',)\"")


def test_a_field_that_cannot_be_shown_is_reported_and_does_not_reach_the_caller() -> None:
    class Unshowable:
        def __str__(self) -> str:
            raise RuntimeError("no")

    stream = written()
    LOG.info("evicted", extra=fields(root=Unshowable()))
    [text] = stream.getvalue().splitlines()
    assert 'event="event not shown"' in text
    assert "test_log.py:" in text
    assert "RuntimeError: no" in text


def test_the_level_holds_for_ours_and_of_others_only_warnings_are_shown() -> None:
    stream = written(level="info")
    LOG.debug("hidden")
    logging.getLogger("asyncio").info("hidden")
    logging.getLogger("tornado.general").warning("SSL error of a port scanner")
    LOG.info("shown")
    logging.getLogger("tornado.application").error("shown, too")
    assert [text.split("event=")[1] for text in stream.getvalue().splitlines()] == [
        "shown",
        '"shown, too" logger=tornado.application',
    ]


def test_debug_shows_everything() -> None:
    stream = written(level="debug")
    LOG.debug("ours")
    logging.getLogger("tornado.general").info("theirs")
    assert len(stream.getvalue().splitlines()) == 2


def test_configuring_again_replaces_what_was_set() -> None:
    first, second = written("logfmt", "error"), written("json", "info")
    written_again = written("json", "info")
    LOG.info("evicted")
    assert (first.getvalue(), second.getvalue()) == ("", "")
    assert json.loads(written_again.getvalue())["event"] == "evicted"


def test_the_handlers_of_others_stay() -> None:
    mine = logging.NullHandler()
    logging.getLogger().addHandler(mine)
    written()
    written()
    assert mine in logging.getLogger().handlers


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, LineHandler]]:
    reading, writing = os.pipe()
    with open(writing, "w", encoding="ascii") as stream:
        yield reading, LineHandler(stream, LineFormatter("logfmt"))
    with contextlib.suppress(OSError):
        os.close(reading)


def test_a_pipe_that_nobody_reads_any_more_is_no_error() -> None:
    with pipe() as (reading, handler):
        os.close(reading)
        handler.emit(record("evicted"))


def test_a_closed_stream_is_no_error() -> None:
    with pipe() as (reading, handler):
        pass
    handler.emit(record("evicted"))
    assert reading


def test_no_stderr_at_all_is_no_error() -> None:
    LineHandler(None, LineFormatter("logfmt")).emit(record("evicted"))


def test_a_full_disk_is_no_error() -> None:
    with open("/dev/full", "w", encoding="ascii") as full:
        LineHandler(full, LineFormatter("logfmt")).emit(record("evicted"))


def test_a_reader_that_stopped_reading_holds_nothing_up_and_is_told_what_it_missed() -> None:
    with pipe() as (reading, handler):
        started = time.monotonic()
        for number in range(3000):
            handler.emit(record("evicted", number=number))
        assert time.monotonic() - started < 1.5
        kept = len(read_all(reading).splitlines())
        handler.emit(record("evicted", number="last"))
        lost, last = read_all(reading).splitlines()
    assert 0 < kept < 3000
    assert lost.endswith(f'level=warning event="log lines lost" lines={3000 - kept}')
    assert last.endswith("number=last")


def test_a_line_torn_by_a_stopped_reader_does_not_spoil_the_next() -> None:
    with pipe() as (reading, handler):
        handler.emit(record("evicted", long="x" * 200_000))
        read_all(reading)
        handler.emit(record("evicted", number="next"))
        end_of_torn, _lost, after = read_all(reading).split("\n", 2)
    assert end_of_torn == ""
    assert after.startswith("time=")
    assert after.endswith("number=next\n")


def test_a_long_line_reaches_a_slow_reader_whole() -> None:
    received: list[str] = []
    with pipe() as (reading, handler):
        reader = threading.Thread(target=lambda: received.append(read_until_newline(reading)))
        reader.start()
        handler.emit(record("evicted", long="é" * 200_000))
        reader.join()
    assert received[0].endswith(f"long={'é' * 200_000}")


def read_all(descriptor: int) -> str:
    os.set_blocking(descriptor, False)
    data = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(descriptor, 1 << 16):
            data += piece
    return data.decode()


def read_until_newline(descriptor: int) -> str:
    data = b""
    while not data.endswith(b"\n"):
        data += os.read(descriptor, 1 << 12)
        time.sleep(0.0005)
    return data.decode().rstrip("\n")


def run(redirection: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = (
        "import logging, sys; from gcsidecar.sidecar.log import configure, fields; configure('info', 'logfmt');"
        "logging.getLogger('gcsidecar').info('evicted', extra=fields(folder='caf\\udce9 é')); print('went on')"
    )
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} {redirection}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env=os.environ | {"LC_ALL": "C"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2> >(exit)"])
def test_a_process_goes_on_whatever_its_stderr_is(redirection: str, tmp_path: Path) -> None:
    done = run(redirection, tmp_path)
    assert (done.stdout, done.returncode) == ("went on\n", 0)


def test_stderr_gets_utf8_whatever_the_locale(tmp_path: Path) -> None:
    assert run("", tmp_path).stderr.endswith('event=evicted folder="caf\\\\xe9 é"\n')

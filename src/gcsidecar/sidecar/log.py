r"""Logging to stderr: one line an event, as logfmt or JSON, with the event's name and its fields.

Only the shape of lines and how they get out, never which events there are. Say an event like this:

    log = logging.getLogger(__name__)
    log.info("evicted", extra=fields(root="jobs", folder=shown(name), expected_bytes=4096))
    time=2026-01-31T12:00:00.123Z level=info event=evicted root=jobs folder="a b" expected_bytes=4096
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import os
import re
import select
import sys
import time
import traceback
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from typing import TextIO

Format = Literal["logfmt", "json"]
Level = Literal["debug", "info", "warning", "error"]

_FIELDS = "fields"
_NOT_IN_A_KEY = re.compile(r"[^A-Za-z0-9_.-]")
# What stands in a line as it is, which nearly all values do: a line an eviction is a good part of what that costs.
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_.,:;/+@%~-]+").fullmatch
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SHORT_ESCAPES = {'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}

# A pipe that poll() calls writable takes this many bytes without blocking (PIPE_BUF, pipe(7)).
_PIECE_BYTES = select.PIPE_BUF
_WAIT_FOR_READER_MILLISECONDS = 100


def fields(**values: object) -> dict[str, Any]:
    """The fields of an event, for the `extra` of any logging call; any names do, also those that logging reserves."""
    return {_FIELDS: values}


def configure(level: Level, fmt: Format, stream: TextIO | None = None) -> None:
    """Send all logging of the process to `stream` from now on; calling it again replaces what was set before.

    Args:
        level: The least that is shown. Of other people's libraries only warnings are, unless it is `debug`.
        fmt: How a line looks.
        stream: Where lines go; stderr unless given.
    """
    threshold, root = logging.getLevelNamesMapping()[level.upper()], logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, LineHandler)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(LineHandler(stream or sys.stderr, LineFormatter(fmt)))
    debugging = threshold <= logging.DEBUG
    root.setLevel(threshold if debugging else max(threshold, logging.WARNING))
    logging.getLogger("gcsidecar").setLevel(threshold)
    # tornado warns of each client that fails a TLS handshake, which any port scanner does.
    logging.getLogger("tornado.general").setLevel(threshold if debugging else logging.ERROR)


class LineFormatter(logging.Formatter):
    """Makes one line of a record: time, level, event, its fields, and the traceback where there is one."""

    def __init__(self, fmt: Format) -> None:
        super().__init__()
        self._line = _logfmt if fmt == "logfmt" else _json

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, without its newline."""
        return self._line(_entries(record))


class LineHandler(logging.Handler):
    """Writes lines where they never end or hold up the process: what can't be written is lost, and counted.

    stderr may be a closed pipe, a file on the very disk that is full, or a pipe whose reader has stopped reading; the
    thread that frees space must not wait for any of them.
    """

    def __init__(self, stream: TextIO | None, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._stream = stream  # None where the process was started with stderr closed
        self._lost = 0
        self._torn = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, after saying how many were lost before it."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a field may raise anything when shown, and logging must not
            line = self.format(
                _own_record(record.name, "event not shown", error, at=f"{record.pathname}:{record.lineno}")
            )
        try:
            if self._lost:
                self._write(self.format(_own_record(__name__, "log lines lost", lines=self._lost)))
                self._lost = 0
            self._write(line)
        except (OSError, ValueError):  # ValueError: the stream was closed
            self._lost += 1

    def _write(self, line: str) -> None:
        if self._stream is None:
            return
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):  # io.UnsupportedOperation is both: a stream in memory
            self._stream.write(f"{line}\n")
            return
        self._write_all(descriptor, line)

    def _write_all(self, descriptor: int, line: str) -> None:
        data = f"{chr(10) * self._torn}{line}\n".encode()
        for start in range(0, len(data), _PIECE_BYTES):
            piece = data[start : start + _PIECE_BYTES]
            while piece:
                self._wait_for_reader(descriptor)
                piece = piece[os.write(descriptor, piece) :]
                self._torn = True
        self._torn = False

    def _wait_for_reader(self, descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        # Once is enough: waiting at each of a thousand lines would be a hold-up, too.
        if not poll.poll(0 if self._lost else _WAIT_FOR_READER_MILLISECONDS):
            raise TimeoutError


def _own_record(name: str, event: str, error: Exception | None = None, **values: object) -> logging.LogRecord:
    record = logging.LogRecord(name, logging.WARNING, __file__, 0, event, (), None)
    record.exc_info = (type(error), error, error.__traceback__) if error else None
    setattr(record, _FIELDS, values)
    return record


def _entries(record: logging.LogRecord) -> dict[str, object]:
    entries: dict[str, object] = {
        "time": _timestamp(record.created),
        "level": record.levelname.lower(),
        "event": _message(record),
    }
    if record.name.partition(".")[0] != "gcsidecar":
        entries["logger"] = record.name
    for key, value in getattr(record, _FIELDS, {}).items():
        clean = key if key.isascii() and key.isidentifier() else _NOT_IN_A_KEY.sub("_", str(key)) or "_"
        entries[f"{clean}_" if clean in entries else clean] = value
    if record.exc_info and record.exc_info[1]:
        error = record.exc_info[1]
        entries["traceback"] = "".join(traceback.format_exception(error)).rstrip()
    return entries


def _message(record: logging.LogRecord) -> str:
    with contextlib.suppress(TypeError, ValueError):  # a call whose arguments don't fit its text
        return record.getMessage()
    return f"{record.msg} {record.args}"


def _timestamp(seconds: float) -> str:
    milliseconds = math.floor(seconds * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@functools.lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _json(entries: Mapping[str, object]) -> str:
    return json.dumps({key: _plain(value) for key, value in entries.items()}, ensure_ascii=True)


def _logfmt(entries: Mapping[str, object]) -> str:
    return " ".join([f"{key}={_logfmt_value(value)}" for key, value in entries.items()])


def _logfmt_value(value: object) -> str:
    kind = type(value)
    if kind is int or (kind is str and _PLAIN_WORD(str(value))):
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    return _logfmt_of_plain(_plain(value))


def _logfmt_of_plain(value: object) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list | dict):
        return _quoted(json.dumps(value, ensure_ascii=False))
    return repr(value) if type(value) in {int, float} else json.dumps(value)


def _quoted(text: str) -> str:
    if text and text.isprintable() and not any(character in text for character in ' "='):
        return text
    return '"' + "".join(map(_character, text)) + '"'


def _character(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if character.isprintable():
        return character
    # As in JSON, by whose rules quoted logfmt is read: what is beyond 16 bits is a surrogate pair.
    return "\\u" + character.encode("utf-16-be").hex(" ", 2).replace(" ", "\\u")


def _plain(value: object) -> object:
    """The value as what JSON has: text without surrogates, numbers that JSON can say, lists and objects of those."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _trimmed(value)
    if isinstance(value, Mapping):
        return {_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return _text(value)


def _trimmed(value: float) -> object:
    if not math.isfinite(value):
        return str(value)
    rounded = round(value, 6)
    return int(rounded) if rounded.is_integer() else rounded


def _text(value: object) -> str:
    text = os.fsdecode(value) if isinstance(value, bytes) else str(value)
    return _SURROGATE.sub(lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", text)

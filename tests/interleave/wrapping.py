"""The functions by which everybody reaches the kernel, wrapped while an exploration lasts.

What they do is untouched. A thread that is no actor's goes straight through.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from gcsidecar.cache import syscalls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OS_CALLS = (
    *("access", "chmod", "close", "dup", "fchmod", "fstat", "fsync", "ftruncate", "link", "listdir", "lstat", "mkdir"),
    *("open", "posix_fallocate", "pread", "pwrite", "read", "readlink", "remove", "rename", "replace", "rmdir"),
    *("scandir", "stat", "symlink", "unlink", "utime", "write"),
)
_C_CALLS = {"openat2": "_syscall", "renameat2": "_renameat2", "getdents": "_getdents"}

REAL: dict[str, Callable[..., Any]] = {
    **{name: getattr(os, name) for name in OS_CALLS},
    **{name: getattr(syscalls, attribute) for name, attribute in _C_CALLS.items()},
    "flock": fcntl.flock,
}
"""The calls themselves."""


class Calling(Protocol):
    """What an actor makes of its calls."""

    def make(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Make one, when its turn has come."""

    def token_hex(self, count: int | None = None, /) -> str:
        """In place of chance."""

    def urandom(self, count: int, /) -> bytes:
        """In place of chance."""

    def sleep(self, seconds: float, /) -> None:
        """In place of waiting."""

    def monotonic(self) -> float:
        """In place of the clock."""


_calling: dict[int, Calling] = {}


@contextlib.contextmanager
def calling(calls: Calling) -> Iterator[None]:
    """In this thread it is this actor that calls."""
    me = threading.get_ident()
    _calling[me] = calls
    try:
        yield
    finally:
        del _calling[me]


@contextlib.contextmanager
def wrapped() -> Iterator[None]:
    """While this lasts, what actors call is theirs to make."""
    places: list[tuple[Any, str, Callable[..., Any]]] = [
        *((os, name, _made(name)) for name in OS_CALLS),
        *((syscalls, attribute, _made(name)) for name, attribute in _C_CALLS.items()),
        (fcntl, "flock", _made("flock")),
        *((module, real.__name__, _replaced(real)) for module, real in _REPLACED),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in places]
    try:
        for place in places:
            setattr(*place)
        yield
    finally:
        for place in before:
            setattr(*place)


_REPLACED: tuple[tuple[Any, Callable[..., Any]], ...] = (
    (secrets, secrets.token_hex),
    (os, os.urandom),
    (time, time.sleep),
    (time, time.monotonic),
)


def _made(name: str) -> Callable[..., Any]:
    real = REAL[name]

    def call(*args: Any, **keywords: Any) -> Any:
        calls = _calling.get(threading.get_ident())
        return real(*args, **keywords) if calls is None else calls.make(name, args, keywords)

    return call


def _replaced(real: Callable[..., Any]) -> Callable[..., Any]:
    name = real.__name__

    def call(*args: Any) -> Any:
        calls = _calling.get(threading.get_ident())
        return real(*args) if calls is None else getattr(calls, name)(*args)

    return call

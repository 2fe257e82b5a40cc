"""Leases as others see them, and processes that take them."""

from __future__ import annotations

import fcntl
import os
import pickle
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def leases(folder: Path) -> list[Path]:
    """The lease files in a folder."""
    return sorted(folder.glob(".lease.*"))


def is_locked(path: Path) -> bool:
    """Whether somebody holds a lock on a file or folder, shared or not."""
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def in_child(function: Callable[[], Any]) -> Any:
    """Run a function in a forked child; what it returns comes back, what it raises is raised."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        _answer_and_exit(writable, function)
    os.close(writable)
    with open(readable, "rb") as answer:
        succeeded, value = pickle.loads(answer.read() or pickle.dumps((False, RuntimeError("the child died"))))
    os.waitpid(child, 0)
    if succeeded:
        return value
    raise value


def _answer_and_exit(writable: int, function: Callable[[], Any]) -> NoReturn:
    """Never comes back: what pytest has to do at its end is for the parent."""
    try:
        try:
            answer = pickle.dumps((True, function()))
        except BaseException as error:  # noqa: BLE001 the parent raises it
            answer = pickle.dumps((False, error))
        with open(writable, "wb") as pipe:
            pipe.write(answer)
    finally:
        os._exit(0)


@contextmanager
def program(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python program that has printed a line; it is killed in the end."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


@contextmanager
def locked_by_another(folder: Path) -> Iterator[Callable[[], None]]:
    """Somebody holds the folder's lock for himself, as an evictor does, until what is yielded is called."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield lambda: fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)

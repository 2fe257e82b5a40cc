"""Forked children of a test: what happens in one comes back."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


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

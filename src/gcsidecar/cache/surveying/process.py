"""A process that measures, as the sidecar sees it: started, given names, listened to, and ended whatever it does.

What is done with the sizes, and what if it fails, is for its user.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from gcsidecar import contract
from gcsidecar.cache.surveying.desk import Measured
from gcsidecar.cache.surveying.wire import Answers, encode_names
from gcsidecar.cache.walking.sizes import TreeSize

if TYPE_CHECKING:
    from collections.abc import Iterable

# A new interpreter, and no fork: it holds none of this process's locks, memory and descriptors.
_PROGRAM = """\
import sys
sys.path.insert(0, sys.argv[1])
from gcsidecar.cache.surveying.worker import main
main(sys.argv[2:])
"""
# It is killed, which takes a millisecond, unless it waits for a disk or a server that doesn't answer.
_ENDING_SECONDS = 0.25
_READ_BYTES = 1 << 16


class Orders(NamedTuple):
    """How folders are to be measured.

    Attributes:
        atime: Newest access times are asked for, too.
        idle: It takes only what nobody else wants of processor and disk; else, it is nice.
        entries_per_second: The pace it keeps; none: as fast as it goes.
        share: Of its time, what it works at most.
    """

    atime: bool = False
    idle: bool = False
    entries_per_second: float | None = None
    share: float = 1.0


class Process:
    """One process that measures folders of one root; it answers in the order it was asked.

    The thread that starts it has to outlive it: the kernel ends it with that thread.

    Args:
        root_fd: The root, the only descriptor that it gets besides two pipes.
        orders: How it is to measure.

    Raises:
        OSError: It can't be started.
    """

    def __init__(self, root_fd: int, orders: Orders) -> None:
        self.given: deque[str] = deque()
        self.heard_at = time.monotonic()
        self._unsent, self._answers = b"", Answers()
        self._popen = subprocess.Popen(  # noqa: S603  our own interpreter
            _command(root_fd, orders),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(root_fd,),
            cwd="/",
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self.names_fd, self.answers_fd = self._popen.stdin.fileno(), self._popen.stdout.fileno()
        os.set_blocking(self.names_fd, False)
        os.set_blocking(self.answers_fd, False)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._popen.pid

    @property
    def has_unsent(self) -> bool:
        """Whether there are names that it has not taken yet."""
        return bool(self._unsent)

    def give(self, names: Iterable[str]) -> None:
        """Have it measure these, too."""
        names = tuple(names)
        if not self.given:
            self.heard_at = time.monotonic()  # until now there was nothing to say
        self.given += names
        self._unsent += encode_names(names)
        self.send()

    def send(self) -> None:
        """Send what there is room for."""
        try:
            self._unsent = self._unsent[os.write(self.names_fd, self._unsent) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it has ended, which `receive` will find
            self._unsent = b""

    def receive(self) -> list[Measured] | None:
        """What it has found, none where it has ended."""
        try:
            received = os.read(self.answers_fd, _READ_BYTES)
        except BlockingIOError:
            return []
        if not received:
            return None
        self.heard_at = time.monotonic()
        return [
            Measured(self.given.popleft(), None if totals is None else TreeSize(*totals), at)
            for at, totals in self._answers.decode(received)
        ]

    def waits_for_a_core(self) -> bool:
        """Whether it could go on if only it were let: that it says nothing then means nothing."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[0] == b"R"
        except (OSError, IndexError):
            return False

    def end(self) -> None:
        """End it at once, and wait a moment for that; for one that hangs in the kernel somebody else waits."""
        self._popen.kill()
        for pipe in (self._popen.stdin, self._popen.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self._popen.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            threading.Thread(target=self._popen.wait, name="surveyor-end", daemon=True).start()


def can_start() -> bool:
    """Whether there is an interpreter to start: within some other program, or frozen into one, there is none."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def _command(root_fd: int, orders: Orders) -> list[str]:
    home = os.path.dirname(os.path.dirname(os.path.abspath(contract.__file__)))
    figures = (int(orders.atime), int(orders.idle), orders.entries_per_second or 0, orders.share)
    arguments = [str(argument) for argument in (os.getpid(), root_fd, *figures)]
    # Neither what is installed nor what the environment says: it needs the standard library, and this package.
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, home, *arguments]

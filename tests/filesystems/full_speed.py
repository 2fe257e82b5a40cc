"""A client that fills a cache as fast as it can: folder after folder, each under a lease while it is written.

As a program it writes for so long and prints what became of it, as JSON; tests and benchmarks run it so.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
FILE_BYTES = 4 * MIB
_CONTENT = b"\xa5" * MIB
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a writer.

    Attributes:
        folders: How many it has finished.
        wrote_bytes: How much that was.
        seconds: For how long it wrote.
        full: How often there was no space left on the device.
        touched: Folders of which something was missing, or which were not in their place, while it held a lease.
        missed: Folders that were gone before it had its lease: a miss, as after any eviction.
    """

    folders: int
    wrote_bytes: int
    seconds: float
    full: int
    touched: tuple[str, ...]
    missed: int


def run(root: Path, seconds: float, *, folder_bytes: int = 64 * MIB, holds: int = 1, least_bytes: int = 0) -> Outcome:
    """Run it as a process, and await its end.

    Args:
        root: Where.
        seconds: For how long, at least.
        folder_bytes: The size of each folder.
        holds: So many of the first it makes it holds to the end: they are the least recently used.
        least_bytes: So much it writes, however long that takes.
    """
    work = {
        "root": str(root),
        "seconds": seconds,
        "folder_bytes": folder_bytes,
        "holds": holds,
        "least_bytes": least_bytes,
    }
    command = [sys.executable, str(Path(__file__)), json.dumps(work)]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=seconds + 120)
    found = json.loads(ended.stdout)
    return Outcome(**found | {"touched": tuple(found["touched"])})


class _Writer:
    def __init__(self, root: str, seconds: float, folder_bytes: int, holds: int, least_bytes: int) -> None:
        self._root, self._seconds, self._holds, self._least_bytes = root, seconds, holds, least_bytes
        self._sizes = [FILE_BYTES] * (folder_bytes // FILE_BYTES) + [folder_bytes % FILE_BYTES]
        self._folders = self._wrote = self._full = self._missed = 0
        self._touched: list[str] = []
        self._stop = False
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, *_signal: object) -> None:
        self._stop = True

    def run(self) -> Outcome:
        began = time.monotonic()
        with contextlib.ExitStack() as held:
            for number in range(self._holds):
                held.enter_context(self._folder(f"held-{number}"))
            number = 0
            while not self._stop and (self._wrote < self._least_bytes or time.monotonic() - began < self._seconds):
                with self._folder(f"folder-{number:06}"):
                    number += 1
            seconds = time.monotonic() - began
        return Outcome(self._folders, self._wrote, seconds, self._full, tuple(self._touched), self._missed)

    @contextlib.contextmanager
    def _folder(self, name: str) -> Iterator[None]:
        """A folder with its content, under a lease until the end of the block; with neither where there is no room."""
        path = os.path.join(self._root, name)
        try:
            lease = self._lease(path)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            self._missed += 1
            yield
            return
        except OSError as error:
            self._is_full(error)
            yield
            return
        try:
            written = self._write(fd)
            yield
            if not _is_whole(path, fd, written):
                self._touched.append(name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.basename(lease), dir_fd=fd)
        finally:
            os.close(fd)

    def _lease(self, path: str) -> str:
        """Make it, and take a lease on it; returns the lease's path."""
        os.mkdir(path)
        handle, lease = tempfile.mkstemp(prefix=".lease.", dir=path)
        os.close(handle)
        return lease

    def _is_full(self, error: OSError) -> None:
        """Note that there was no space left, and give it a moment to be made; any other error is raised."""
        if error.errno not in _FULL:
            raise error
        self._full += 1
        time.sleep(0.05)

    def _write(self, dir_fd: int) -> dict[str, int]:
        written: dict[str, int] = {}
        for number, size in enumerate(self._sizes):
            try:
                self._write_file(dir_fd, f"data-{number:04}", size)
            except OSError as error:
                self._is_full(error)
                break
            written[f"data-{number:04}"] = size
            self._wrote += size
        self._folders += 1
        return written

    def _write_file(self, dir_fd: int, name: str, size: int) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=dir_fd)
        try:
            while size > 0:
                size -= os.write(fd, _CONTENT[:size])
        finally:
            os.close(fd)


def _is_whole(path: str, fd: int, written: dict[str, int]) -> bool:
    """Whether all is there, and in its place."""
    try:
        in_place = os.path.samestat(os.stat(path), os.fstat(fd))
        return in_place and all(os.stat(name, dir_fd=fd).st_size == size for name, size in written.items())
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    print(json.dumps(asdict(_Writer(**json.loads(sys.argv[1])).run())))

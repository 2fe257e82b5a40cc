"""A cache client as a process: it takes a lease, makes a folder or adds to one, sees that all is there, and releases.

It follows the contract of simple clients (`mktemp`, `test -e`, `rm -f`) and knows nothing of the sidecar. What it did
it prints, a JSON object a line. SIGTERM ends it after the folder it is at.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass

MANIFEST = "MANIFEST"
# A sidecar that dies between two renames leaves a folder away until it has started again.
AWAY_SECONDS = 10.0
_DIGEST_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Work:
    """What one writer does.

    Attributes:
        root: Where.
        name: Its own; its folders are `NAME-0`, `NAME-1` and so on, so that no name is made twice.
        seed: Of what it chooses.
        files: How many it writes in a folder.
        file_bytes: The size of each.
        bytes_per_second: At most so many.
        reuse: How often, of 1, it adds to a folder that is there in place of making one.
        hold_seconds: How long it holds its lease beyond the writing.
        most_folders: It waits while there are so many: where deleting is slow they would grow without end.
    """

    root: str
    name: str
    seed: int
    files: int
    file_bytes: int
    bytes_per_second: float = float("inf")
    reuse: float = 0.0
    hold_seconds: float = 0.0
    most_folders: int = 1000


class Writer:
    """One writer at work."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._random = random.Random(work.seed)
        self._made = 0
        self._missed: list[str] = []
        self._stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())

    def run(self) -> None:
        """Use one folder after the other, until told to stop."""
        while not self._stop.is_set():
            if len(self._folders()) < self._work.most_folders:
                self._use()
            else:
                self._stop.wait(0.05)
            self._give_up_missed()
        while self._missed:
            self._stop.clear()
            self._stop.wait(0.05)
            self._give_up_missed()

    def _use(self) -> None:
        path, is_new = self._choose()
        began = time.time()
        if is_new:
            os.mkdir(path)
        lease = self._take(path)
        if lease is None:
            _say(missed=os.path.basename(path))
            return
        took = time.time()
        # The one moment in which the folder may be away, and come back, is no trouble to who has it open.
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        found, partial = _files(fd), _missing_of_manifest(fd)
        written = self._write(fd, len(found))
        if is_new:
            _write_whole(fd, MANIFEST, "\n".join(written).encode())
        self._stop.wait(self._work.hold_seconds)
        lost = [name for name in [*found, *written] if not _is_whole(fd, name)]
        is_in_place = _comes_back(path, fd)
        releasing = time.time()
        os.unlink(os.path.basename(lease), dir_fd=fd)
        os.close(fd)
        _say(
            used=os.path.basename(path),
            made=is_new,
            began=began,
            took=took,
            releasing=releasing,
            released=time.time(),
            wrote_bytes=len(written) * self._work.file_bytes,
            lost=lost,
            partial=partial,
            in_place=is_in_place,
        )

    def _folders(self) -> list[str]:
        return [name for name in os.listdir(self._work.root) if not name.startswith(".")]

    def _choose(self) -> tuple[str, bool]:
        there = self._folders()
        if there and self._random.random() < self._work.reuse:
            return os.path.join(self._work.root, self._random.choice(sorted(there))), False
        self._made += 1
        return os.path.join(self._work.root, f"{self._work.name}-{self._made - 1}"), True

    def _take(self, folder: str) -> str | None:
        """A lease, or none where the folder is gone, or was away for a moment: a miss, as after an eviction."""
        try:
            descriptor, lease = tempfile.mkstemp(prefix=".lease.", dir=folder)
        except FileNotFoundError:
            return None
        os.close(descriptor)
        if os.path.exists(lease):
            return lease
        self._missed.append(lease)
        return None

    def _give_up_missed(self) -> None:
        """A folder that was away may come back, with the lease of one who took that for a miss."""
        for lease in list(self._missed):
            there = os.path.exists(lease)
            if there:
                os.unlink(lease)
            if there or self._stop.is_set():
                self._missed.remove(lease)

    def _write(self, fd: int, first: int) -> list[str]:
        began, written = time.monotonic(), []
        for number in range(first, first + self._work.files):
            content = self._random.randbytes(self._work.file_bytes)
            name = f"{self._work.name}-{number:05}-{_digest(content)}"
            _write_whole(fd, name, content)
            written.append(name)
            due = began + len(written) * self._work.file_bytes / self._work.bytes_per_second
            if due > time.monotonic():
                self._stop.wait(due - time.monotonic())
        return written


def _write_whole(dir_fd: int, name: str, content: bytes) -> None:
    """Others may look at it while it is written: it gets its name when it is whole."""
    part = f"{name}.part"
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=dir_fd), "wb") as file:
        file.write(content)
    os.rename(part, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)


def _read(dir_fd: int, name: str) -> bytes | None:
    try:
        with open(os.open(name, os.O_RDONLY, dir_fd=dir_fd), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _files(dir_fd: int) -> list[str]:
    names = os.listdir(dir_fd)
    return [name for name in names if not name.startswith(".") and name != MANIFEST and not name.endswith(".part")]


def _missing_of_manifest(dir_fd: int) -> list[str]:
    manifest = _read(dir_fd, MANIFEST)
    return [] if manifest is None else sorted(set(manifest.decode().split()) - set(os.listdir(dir_fd)))


def _is_whole(dir_fd: int, name: str) -> bool:
    content = _read(dir_fd, name)
    return content is not None and name.endswith(_digest(content))


def _comes_back(path: str, fd: int) -> bool:
    """Whether the folder has its name, or gets it back soon."""
    until = time.monotonic() + AWAY_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.stat(path), os.fstat(fd))
        time.sleep(0.01)
    return False


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGEST_LENGTH]


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    try:
        Writer(Work(**json.loads(sys.argv[1]))).run()
    except OSError as error:
        _say(failed=str(error))
        sys.exit(1)

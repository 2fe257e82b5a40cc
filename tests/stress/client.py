"""A client that uses one folder after the other and sees all the time that what it holds is whole; run as a process.

Its files are empty: deleting them should bring no room, so that a sidecar never holds back since so many writers take
what it brings. What the client did it prints, a JSON object a line; a violation at once.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import random
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import gcsidecar
from gcsidecar.contract import STATE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = [f"folder{number}" for number in range(16)]
# A folder is filled when it is made; so many files take a while to delete.
FILES, SUFFIX = 100, ".file"
OLDEST_SHARE = 0.7
LOOKS, PAUSE_SECONDS = 4, 0.005
SAYS_EVERY_SECONDS = 0.5
# A sidecar that was killed between two renames leaves a folder away until the next one has started.
AWAY_SECONDS = 20.0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


@dataclass
class Did:
    """What a client did so far."""

    holds: int = 0
    looks: int = 0
    made: int = 0
    misses: int = 0


@dataclass
class Held:
    """A folder in use, by a descriptor of it."""

    name: str
    fd: int
    lease: str
    files: set[str] = field(default_factory=set)


class Client:
    """One client.

    Args:
        root: Where.
        seed: Of what it chooses.
    """

    def __init__(self, root: str, seed: int) -> None:
        self._root = root
        self._chance = random.Random(seed)
        self._count = 0
        self._did = Did()
        self._said_at = 0.0

    def run(self) -> None:
        """Until it is killed."""
        while True:
            name = self._chosen()
            with self._leased(name) as held:
                if held is None:
                    self._did.misses += 1
                else:
                    self._use(held)
            self._say_now_and_then()

    def _chosen(self) -> str:
        """Mostly what was not used for longest: somebody may be about to delete it."""
        if self._chance.random() < OLDEST_SHARE:
            there = [entry for entry in os.scandir(self._root) if entry.name in NAMES]
            if there:
                return min(there, key=_used_at).name
        return self._chance.choice(NAMES)

    @contextlib.contextmanager
    def _leased(self, name: str) -> Iterator[Held | None]:
        """A folder, leased while this lasts; none where that was missed."""
        raise NotImplementedError

    def _is_in_place(self, held: Held) -> bool:
        """Whether the path leads where it is to."""
        raise NotImplementedError

    def _use(self, held: Held) -> None:
        self._did.holds += 1
        held.files = _files(held.fd)
        self._did.made += not held.files
        while len(held.files) < FILES:
            held.files.add(self._write(held.fd))
        for _ in range(self._chance.randrange(1, LOOKS)):
            self._look(held)
            time.sleep(self._chance.uniform(0, PAUSE_SECONDS))
        self._look(held)

    def _look(self, held: Held) -> None:
        self._did.looks += 1
        there = set(os.listdir(held.fd))
        lost = held.files - there
        if lost:
            _say(violation=f"{held.name}: {len(lost)} of {len(held.files)} files lost under {held.lease}")
        elif held.lease not in there:
            _say(violation=f"{held.name}: {held.lease} is gone")
        elif not self._is_in_place(held):
            _say(violation=f"{held.name}: it is not where it was, under {held.lease}")
        else:
            return
        # What is lost is lost once.
        held.files = _files(held.fd)

    def _write(self, fd: int) -> str:
        self._count += 1
        name = f"{os.getpid()}.{self._count}{SUFFIX}"
        with contextlib.suppress(FileNotFoundError):  # the folder is lost already: the next look tells
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, dir_fd=fd))
        return name

    def _say_now_and_then(self) -> None:
        if time.monotonic() > self._said_at + SAYS_EVERY_SECONDS:
            self._said_at = time.monotonic()
            _say(**vars(self._did))


class Careful(Client):
    """By our client."""

    @contextlib.contextmanager
    def _leased(self, name: str) -> Iterator[Held | None]:
        try:
            lease = gcsidecar.lease(f"{self._root}/{name}", timeout=1)
        except gcsidecar.LeaseTimeoutError:
            yield None
            return
        with lease:
            yield Held(name, lease.folder_fd, os.path.basename(lease.file))

    def _is_in_place(self, held: Held) -> bool:
        try:
            return os.path.samestat(os.stat(f"{self._root}/{held.name}"), os.fstat(held.fd))
        except FileNotFoundError:
            return False


class Simple(Client):
    """`mkdir -p`, `mktemp`, `test -e`, and in the end `rm -f`."""

    @contextlib.contextmanager
    def _leased(self, name: str) -> Iterator[Held | None]:
        path = f"{self._root}/{name}"
        self._count += 1
        lease = f".lease.{os.getpid()}.{self._count}"
        try:
            os.makedirs(path, exist_ok=True)
            os.close(os.open(f"{path}/{lease}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.stat(f"{path}/{lease}")
        except (FileNotFoundError, FileExistsError):  # it was there when it was to be made, and gone when looked at
            _remove(f"{path}/{lease}")
            yield None
            return
        fd = self._found(name, lease)
        if fd is None:
            _say(violation=f"{name}: {lease} was there, and is nowhere any more")
            yield None
            return
        try:
            yield Held(name, fd, lease)
        finally:
            self._release(fd, lease)

    def _found(self, name: str, lease: str) -> int | None:
        """The folder that the lease is in: it may be away for a moment, or be parked."""
        until = time.monotonic() + AWAY_SECONDS
        while time.monotonic() < until:
            for path in (f"{self._root}/{name}", *glob.glob(f"{self._root}/{STATE_DIRECTORY}/evicting/*/{name}%-*")):
                with contextlib.suppress(FileNotFoundError):
                    fd = os.open(path, _DIRECTORY)
                    if lease in os.listdir(fd):
                        return fd
                    os.close(fd)
            time.sleep(0.001)
        return None

    def _release(self, fd: int, lease: str) -> None:
        """Wherever it is by now."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(lease, dir_fd=fd)
        os.close(fd)

    def _is_in_place(self, held: Held) -> bool:
        """It may be away for a moment, or parked; but never where nothing comes back from."""
        return f"/{STATE_DIRECTORY}/condemned/" not in os.readlink(f"/proc/self/fd/{held.fd}")


def _used_at(entry: os.DirEntry[str]) -> float:
    try:
        return os.stat(entry.path).st_mtime
    except FileNotFoundError:
        return 0.0


def _files(fd: int) -> set[str]:
    return {name for name in os.listdir(fd) if name.endswith(SUFFIX)}


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    {"careful": Careful, "simple": Simple}[sys.argv[1]](sys.argv[2], int(sys.argv[3])).run()

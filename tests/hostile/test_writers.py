"""Processes that change a folder for as long as its deletion takes; the races are real, and counted."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import shutil
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cache.trees import fill
from gcsidecar.cache.errors import RemovalError
from hostile.place import Place, evict, exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cache.conftest import MakeFilesystem

# Each round has so many names that are swapped while they are deleted.
PAIRS = 100
RACES = 10_000
# On a busy machine the other process is seldom at it while the folder is deleted.
PATIENCE_SECONDS = 60.0
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Counter:
    """A number that a child counts up and its parent reads."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    def __int__(self) -> int:
        return int.from_bytes(self._shared[:8], "little")

    def up(self) -> None:
        self._shared[:8] = (int(self) + 1).to_bytes(8, "little")


@contextmanager
def process(hostile: Callable[[], object]) -> Iterator[Counter]:
    """A child that does one thing again and again until it is killed; how often it succeeded so far."""
    done, child = Counter(), os.fork()
    if child == 0:
        while True:
            with contextlib.suppress(OSError):
                hostile()
                done.up()
    try:
        yield done
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


class Swapper:
    """Swaps the directories of folder `a`, held open as a client would hold it, for other things until all are gone.

    Attributes:
        swaps: How often so far.
    """

    def __init__(self, place: Place, how: str) -> None:
        self.swaps = Counter()
        self._place, self._how = place, how
        self._elsewhere = place.root.parent / "elsewhere"

    def lay(self) -> None:
        """Make the folder, and what is swapped in."""
        shutil.rmtree(self._elsewhere, ignore_errors=True)
        self._elsewhere.mkdir()
        new = self._place.root / ".new"
        for number in range(PAIRS):
            fill(new / f"sub-{number}", files=2)
            bait = (self._elsewhere if self._how == "out of it" else new) / f"bait-{number}"
            if self._how == "for a file":
                bait.touch()
            else:
                bait.symlink_to(self._place.outside)
        new.rename(self._place.root / "a")

    def await_swaps(self) -> int:
        """Wait until it is at it; how often it has been by now."""
        began, until = int(self.swaps), time.monotonic() + 10
        while int(self.swaps) == began:
            assert time.monotonic() < until, "nothing is swapped"
        return int(self.swaps)

    def __call__(self) -> None:
        folder_fd = os.open(self._place.root / "a", _OPEN)
        other_fd = os.open(self._elsewhere, _OPEN) if self._how == "out of it" else os.dup(folder_fd)
        try:
            while sum(self._swap(folder_fd, other_fd, number) for number in range(PAIRS)):
                pass
        finally:
            os.close(folder_fd)
            os.close(other_fd)

    def _swap(self, folder_fd: int, other_fd: int, number: int) -> bool:
        swapped = exchange(folder_fd, f"sub-{number}", other_fd, f"bait-{number}")
        if swapped:
            self.swaps.up()
        return swapped


@pytest.mark.parametrize("how", ["for a link", "for a file", "out of it"])
def test_a_directory_swapped_while_it_is_deleted_leads_nowhere_in_10000_races(tmpfs: MakeFilesystem, how: str) -> None:
    with Place(tmpfs()) as place:
        swapper, swapped, until = Swapper(place, how), 0, time.monotonic() + PATIENCE_SECONDS
        with place.opened() as root:
            for number in itertools.count(1):
                swapper.lay()
                root.finder.refresh("a")
                with process(swapper):
                    before = swapper.await_swaps()
                    with contextlib.suppress(RemovalError):  # what it could not delete for that stays condemned
                        evict(root, "a")
                    swapped += int(swapper.swaps) - before
                place.expect_unharmed()
                if (number >= RACES // PAIRS and swapped > RACES) or time.monotonic() > until:
                    break
        with place.opened():  # a new start, which tries again what is condemned
            assert place.leftovers() == []
        assert swapped > RACES


def test_a_file_that_grows_all_the_while_goes_and_its_space_comes_back_with_its_writer(tmpfs: MakeFilesystem) -> None:
    with Place(tmpfs(256 << 20)) as place:
        fill(place.root / "a", files=500)
        log = (place.root / "a" / "log").open("wb", buffering=0)
        content = bytes(1 << 16)

        def write() -> None:
            if os.fstat(log.fileno()).st_size < 128 << 20:
                log.write(content)

        with place.opened() as root, process(write):
            while not (place.root / "a" / "log").stat().st_size:
                time.sleep(0.001)
            evict(root, "a")
            assert place.leftovers() == []
        assert os.fstat(log.fileno()).st_blocks * 512 >= 1 << 16
        log.close()
        assert os.statvfs(place.root).f_bavail * 4096 > 250 << 20


def files_without_end(fd: int) -> Callable[[], None]:
    numbers = itertools.count()
    return lambda: os.mknod(f"late-{next(numbers)}", 0o600, dir_fd=fd)


def folders_in_folders_without_end(fd: int) -> Callable[[], None]:
    """Always one further down than the deletion is; from the top again where that has caught up."""
    here = fd

    def deeper() -> None:
        nonlocal here
        above = here
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir("d", dir_fd=above)
            here = os.open("d", _OPEN, dir_fd=above)
        except OSError:
            here = fd
            raise
        finally:
            if above not in {fd, here}:
                os.close(above)

    return deeper


def folders_that_come_back(fd: int) -> Callable[[], None]:
    numbers = itertools.count()

    def make() -> None:
        name = f"folder-{next(numbers) % 5}"
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=fd)
        with contextlib.suppress(FileExistsError):
            os.mknod(f"{name}/late", 0o600, dir_fd=fd)

    return make


@pytest.mark.parametrize("writes", [files_without_end, folders_in_folders_without_end, folders_that_come_back])
def test_a_folder_that_is_filled_all_the_while_does_not_hold_up_the_sidecar(
    tmpfs: MakeFilesystem, writes: Callable[[int], Callable[[], None]]
) -> None:
    with Place(tmpfs(64 << 20, "nr_inodes=30000")) as place:
        fill(place.root / "a", files=1000, folders=5)
        fd = os.open(place.root / "a", _OPEN)
        with place.opened() as root, process(writes(fd)) as done:
            while int(done) < 10:
                time.sleep(0.001)
            began = time.monotonic()
            with contextlib.suppress(RemovalError):
                evict(root, "a")
            assert time.monotonic() - began < 30
            assert not (place.root / "a").exists()
        os.close(fd)
        with place.opened():
            assert place.leftovers() == []

"""Jobs that share a cache, for a demonstration: each takes a lease, fills its folder, works for a while, and lets go.

It is what any client of the cache does, and no more; it knows nothing of the sidecar. Nothing but Python is needed.

    workload.py /cache --folders 24 --mib 8 --jobs 3
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

MIB = 1 << 20
RETRY_SECONDS = 0.1
LONGEST_WORK_SECONDS = 2.0


class LostError(Exception):
    """Files of a leased folder are gone, which must never be."""


def take_lease(folder: Path) -> Path:
    """A lease file in a folder, which is made if need be; each holder has its own."""
    while True:
        try:
            folder.mkdir(exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".lease.", dir=folder)
            os.close(handle)
        except FileNotFoundError:  # it was evicted in that very moment
            time.sleep(RETRY_SECONDS)
            continue
        # From here on it stays, if the lease is where it was put.
        if os.path.exists(name):
            return Path(name)


def fill(folder: Path, files: int, stop: threading.Event) -> bool:
    """Write what is missing of so many files of 1 MiB; false where it was stopped, or the disk is full."""
    for number in range(files):
        file = folder / f"{number}.bin"
        if stop.is_set():
            return False
        if file.exists():
            continue
        try:
            file.write_bytes(os.urandom(MIB))
        except OSError as error:
            print(f"{folder.name}: {error.strerror}", flush=True)
            file.unlink(missing_ok=True)
            return False
        stop.wait(RETRY_SECONDS)
    return True


def job(folder: Path, files: int, stop: threading.Event) -> None:
    """One job, from its lease to the end of it."""
    lease = take_lease(folder)
    try:
        filled = fill(folder, files, stop)
        print(f"{folder.name}: {'works on' if filled else 'could not get'} {files} files", flush=True)
        stop.wait(random.uniform(0.5, 1) * LONGEST_WORK_SECONDS)  # noqa: S311  it only has to vary
        if filled and len(list(folder.glob("*.bin"))) != files:
            raise LostError(f"{folder} has lost files while it was leased; see the sidecar's log for it")
    finally:
        lease.unlink(missing_ok=True)


class Jobs:
    """Jobs after each other, in several threads; no two at once use one folder.

    Args:
        root: The cache.
        folders: How many folders there are to be used; the first ones more often.
        files: How many files of 1 MiB each gets.
    """

    def __init__(self, root: Path, folders: int, files: int) -> None:
        self._root, self._files = root, files
        self._idle = {f"project-{number:02}": 1 / (number + 1) for number in range(folders)}
        self._lock = threading.Lock()
        self.stop = threading.Event()
        self.lost: list[LostError] = []

    def run(self) -> None:
        """Work until stopped, or until something is lost."""
        while not self.stop.is_set():
            with self._lock:
                (name,) = random.choices(list(self._idle), list(self._idle.values()))  # noqa: S311  only has to vary
                weight = self._idle.pop(name)
            try:
                job(self._root / name, self._files, self.stop)
            except LostError as error:
                self.lost.append(error)
                self.stop.set()
            finally:
                with self._lock:
                    self._idle[name] = weight


def main() -> int:
    """Run jobs until SIGTERM; 1 where a leased folder has lost something."""
    parser = argparse.ArgumentParser(description="Jobs that share a cache.")
    parser.add_argument("root", type=Path, help="the cache")
    parser.add_argument("--folders", type=int, default=24, help="how many different folders they use")
    parser.add_argument("--mib", type=int, default=8, help="how large each gets")
    parser.add_argument("--jobs", type=int, default=3, help="how many work at once; fewer than folders")
    options = parser.parse_args()
    jobs = Jobs(options.root, options.folders, options.mib)
    # A container's first process has to say itself that SIGTERM ends it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: jobs.stop.set())
    threads = [threading.Thread(target=jobs.run) for _ in range(options.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in jobs.lost:
        print(error, file=sys.stderr)
    return 1 if jobs.lost else 0


if __name__ == "__main__":
    sys.exit(main())

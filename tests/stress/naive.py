"""A cleaner as many are: it checks the lease, then deletes the folder; run as a process, until it is killed."""

from __future__ import annotations

import os
import shutil
import sys
import time


def clean(root: str, max_folders: int) -> None:
    """Delete the least recently used folders beyond so many, unless a lease is in them."""
    folders = [entry.path for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")]
    folders.sort(key=_used_at)
    for path in folders[: max(0, len(folders) - max_folders)]:
        if not _is_leased(path):
            shutil.rmtree(path, ignore_errors=True)


def _used_at(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0


def _is_leased(path: str) -> bool:
    try:
        return any(name.startswith(".lease") for name in os.listdir(path))
    except FileNotFoundError:
        return True


if __name__ == "__main__":
    while True:
        clean(sys.argv[1], int(sys.argv[2]))
        time.sleep(0.002)

"""Where benchmarks take place: temporary directories, filesystems in memory, folders to fill them with, configs."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

IS_ROOT = os.geteuid() == 0
# An ordinary file; to make one by `mknod` takes a third of what it takes to open and close it.
_FILE = 0o100644
# Of the files of a tree so many have no content, then one has some.
_EMPTY = 9
CONTENT = bytes(100)
_MONTH_SECONDS = 30 * 86400.0
_PRIME = 7919
# More than any tree here has; the thresholds of inodes are shares of it.
_INODES = 16 << 20


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A temporary directory, where `TMPDIR` says; gone at the end."""
    with tempfile.TemporaryDirectory(prefix="gcsidecar-bench-") as path:
        yield Path(path)


@contextlib.contextmanager
def tmpfs(size_bytes: int) -> Iterator[Path]:
    """A filesystem of its own, in memory; needs root."""
    options = f"size={size_bytes},nr_inodes={_INODES},mode=755"
    with directory() as path:
        subprocess.run(("mount", "-t", "tmpfs", "-o", options, "gcsidecar-bench", path), check=True)
        try:
            yield path
        finally:
            subprocess.run(("umount", "--lazy", path), check=True)


def plant(root: Path, folders: int, files: int) -> None:
    """Make so many folders with so many files in all; every tenth has some content, the others none.

    They were last used in no order that is like the one of their names: at some time in the month before.
    """
    root.mkdir(exist_ok=True)
    began = time.time()
    for number in range(folders):
        folder = root / f"folder-{number:06}"
        plant_folder(folder, files // folders + (number < files % folders))
        used = began - _MONTH_SECONDS * (number * _PRIME % folders + 1) / folders
        os.utime(folder, (used, used))


def plant_folder(folder: Path, files: int) -> None:
    """Make a folder with so many files."""
    folder.mkdir()
    folder_fd = os.open(folder, os.O_RDONLY)
    try:
        for number in range(files):
            plant_file(folder_fd, number)
    finally:
        os.close(folder_fd)


def plant_file(folder_fd: int, number: int) -> None:
    """Make a file in a folder."""
    name = f"file-{number:06}"
    os.mknod(name, _FILE, dir_fd=folder_fd)
    if number % (_EMPTY + 1) == _EMPTY:
        fd = os.open(name, os.O_WRONLY, dir_fd=folder_fd)
        os.write(fd, CONTENT)
        os.close(fd)


def fill_folder(folder: Path, files: int, file_bytes: int) -> None:
    """Make one folder with so many files."""
    folder.mkdir()
    content = bytes(file_bytes)
    for number in range(files):
        (folder / f"file-{number}").write_bytes(content)


def fill(root: Path, folders: int, files: int = 3, file_bytes: int = 4096) -> None:
    """Make so many folders."""
    for number in range(folders):
        fill_folder(root / f"project-{number:06}", files, file_bytes)


def config(path: Path, *roots: Path, **settings: object) -> int:
    """Write a config with these roots, and otherwise all defaults but `settings` of each; returns the port in it."""
    port = free_port()
    write_config(path, port, [{"name": root.name, "path": str(root), **settings} for root in roots])
    return port


def write_config(path: Path, port: int, roots: Sequence[Mapping[str, object]]) -> None:
    """Write a config, whole or not at all."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"listen": f"127.0.0.1:{port}", "roots": list(roots)}))  # JSON is YAML
    new.replace(path)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port

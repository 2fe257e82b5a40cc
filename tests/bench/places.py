"""Where benchmarks take place: temporary directories, filesystems in memory, folders to fill them with, configs."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

IS_ROOT = os.geteuid() == 0


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A temporary directory, where `TMPDIR` says; gone at the end."""
    with tempfile.TemporaryDirectory(prefix="gcsidecar-bench-") as path:
        yield Path(path)


@contextlib.contextmanager
def tmpfs(size_bytes: int) -> Iterator[Path]:
    """A filesystem of its own, in memory; needs root."""
    with directory() as path:
        subprocess.run(("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "gcsidecar-bench", path), check=True)
        try:
            yield path
        finally:
            subprocess.run(("umount", "--lazy", path), check=True)


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


def config(path: Path, root: Path, **settings: object) -> int:
    """Write a config with one root, and otherwise all defaults but `settings` of that root; returns the port in it."""
    port = free_port()
    content = {"listen": f"127.0.0.1:{port}", "roots": [{"name": "bench", "path": str(root), **settings}]}
    path.write_text(json.dumps(content))  # JSON is YAML
    return port


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port

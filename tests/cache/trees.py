"""Trees of directories for tests: odd names, links, depth, and what is around them."""

from __future__ import annotations

import os
import resource
import subprocess
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, TypeAlias

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_UTF8 = os.fsdecode(b"caf\xe9\n\t ")
CANARY = "the canary lives"

Tree: TypeAlias = "dict[str, Tree | tuple[str, int]]"

_names = st.one_of(
    st.sampled_from(["a", "b", "-rf", " ", "*", "...", "\n", ".lease", "n" * 255]),
    st.binary(min_size=1, max_size=12)
    .filter(lambda name: not {0, ord("/")} & set(name) and name not in (b".", b".."))
    .map(os.fsdecode),
)
_leaves = st.tuples(
    st.sampled_from(["file", "file", "hole", "link out", "link in", "dangling", "hard in", "hard out", "fifo"]),
    st.sampled_from([0, 1, 4096, 4097, 70_000]),
)
trees: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(_names, _leaves, max_size=4),
    lambda below: st.dictionaries(_names, st.one_of(_leaves, below), max_size=4),
    max_leaves=25,
)
"""Directories as dictionaries; what isn't one is a kind of thing and a size."""


def grow(tree: Tree, top: Path, outside: Path) -> None:
    """Make it on disk; its links go to a file in it, or to the folder `outside`, which holds the canary."""
    outside.mkdir()
    (outside / "canary").write_text(CANARY)
    top.mkdir()
    (top / "original").write_text("original")
    _grow(tree, top, top / "original", outside, count())


def _grow(tree: Tree, folder: Path, original: Path, outside: Path, numbers: Iterator[int]) -> None:
    for name, what in tree.items():
        path = folder / name
        if isinstance(what, dict):
            path.mkdir()
            _grow(what, path, original, outside, numbers)
            continue
        kind, size = what
        if kind == "file":
            path.write_bytes(b"x" * size)
        elif kind == "hole":
            path.touch()
            os.truncate(path, size)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "hard in":
            path.hardlink_to(original)
        elif kind == "hard out":
            elsewhere = outside / str(next(numbers))
            elsewhere.write_bytes(b"y" * size)
            path.hardlink_to(elsewhere)
        else:
            targets = {"link out": outside, "link in": original, "dangling": folder / "nowhere"}
            path.symlink_to(targets[kind])


def snapshot(top: Path) -> dict[str, object]:
    """All that is in it, by path, with contents."""
    found: dict[str, object] = {}
    for folder, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = Path(folder) / name
            status = path.lstat()
            content = path.read_bytes() if S_ISREG(status.st_mode) else None
            found[os.path.relpath(path, top)] = (status.st_mode, status.st_ino, content)
    return found


@contextmanager
def chain(top: Path, depth: int) -> Iterator[None]:
    """Directories in each other, `d/d/d`, each with a file, deeper than any path can name; gone afterwards."""
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd))
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    try:
        yield
    finally:
        subprocess.run(["rm", "-rf", "--", str(top)], check=True)  # pytest itself can't: it recurses


def fill(folder: Path, files: int, folders: int = 0) -> None:
    """Many empty files and folders."""
    folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY)
    for number in range(files):
        os.mknod(f"file-{number}", 0o600, dir_fd=fd)
    for number in range(folders):
        os.mkdir(f"folder-{number}", dir_fd=fd)
    os.close(fd)


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """Its descriptor; none but that may be open afterwards that wasn't before."""
    before = set(os.listdir("/proc/self/fd"))
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)
    assert set(os.listdir("/proc/self/fd")) == before


@contextmanager
def few_descriptors(limit: int = 64) -> Iterator[None]:
    """No more descriptors than so many in all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

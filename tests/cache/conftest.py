"""Real filesystems, other users and strange files for the tests of folders on disk."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest

import needs
from children import in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOBODY = 65534
_ROOT_FIXTURES = {"as_nobody", "ext4", "immutable", "mounts", "tmpfs", "root_rights"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _ROOT_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.root)


@pytest.fixture
def root_rights() -> None:
    """For tests that make devices, or the like."""
    needs.root()


class Mounts:
    """Mounts made for one test, and taken off after it."""

    def __init__(self, undo: ExitStack) -> None:
        self._undo = undo

    def mount(self, target: Path, *arguments: str) -> Path:
        target.mkdir(parents=True, exist_ok=True)
        return self.mount_over(target, *arguments)

    def mount_over(self, target: Path, *arguments: str) -> Path:
        run = subprocess.run(["mount", *arguments, str(target)], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            needs.unavailable(f"nothing can be mounted here: {run.stderr.strip()}")
        self._undo.callback(subprocess.run, ["umount", "--lazy", str(target)], check=True)
        return target


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    """Mounts and binds what it is told to, until the test ends."""
    needs.root()
    with ExitStack() as undo:
        yield Mounts(undo)


@contextmanager
def hung_mount(path: Path) -> Iterator[None]:
    """A FUSE filesystem whose server never answers; closing the server's descriptor ends the wait."""
    needs.root()
    if not os.path.exists("/dev/fuse"):
        needs.unavailable("it makes a mount that hangs, for which /dev/fuse is missing")
    server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0"
    try:
        subprocess.run(["mount", "-i", "-t", "fuse", "-o", options, "hung", str(path)], check=True, pass_fds=[server])
    except BaseException:
        os.close(server)
        raise
    try:
        yield
    finally:
        os.close(server)
        subprocess.run(["umount", "-l", str(path)], check=True)


class MakeFilesystem(Protocol):
    def __call__(self, size_bytes: int = 64 << 20, *options: str) -> Path: ...


@pytest.fixture
def tmpfs(mounts: Mounts, tmp_path: Path) -> MakeFilesystem:
    """Makes a tmpfs of a size; more mount options may follow (`nr_inodes=100`)."""

    def make(size_bytes: int = 64 << 20, *options: str) -> Path:
        target = tmp_path / f"tmpfs{len(list(tmp_path.glob('tmpfs*')))}"
        return mounts.mount(target, "-t", "tmpfs", "-o", ",".join([f"size={size_bytes}", *options]), "tmpfs")

    return make


@pytest.fixture
def ext4(mounts: Mounts, tmp_path: Path) -> MakeFilesystem:
    """Makes an ext4 of a size in a file, mounted by a loop device; options of `mkfs.ext4` may follow (`-N`, `9`)."""

    def make(size_bytes: int = 64 << 20, *options: str) -> Path:
        number = len(list(tmp_path.glob("ext4-*.img")))
        image = tmp_path / f"ext4-{number}.img"
        with image.open("wb") as file:
            file.truncate(size_bytes)
        try:
            subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", *options, str(image)], check=True)
        except FileNotFoundError:
            needs.unavailable("mkfs.ext4 is missing (Debian: e2fsprogs)")
        return mounts.mount(tmp_path / f"ext4-{number}", "-o", "loop", str(image))

    return make


@pytest.fixture(params=["here", "tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An empty directory, on each kind of filesystem in turn."""
    if request.param == "here":
        directory = tmp_path / "here"
        directory.mkdir()
        return directory
    needs.root()
    make: MakeFilesystem = request.getfixturevalue(request.param)
    return make()


@pytest.fixture
def immutable() -> Iterator[Callable[[Path, str], None]]:
    """Sets `chattr +i` or `+a` until the test ends."""
    needs.root()
    with ExitStack() as undo:

        def change(path: Path, attribute: str) -> None:
            run = subprocess.run(["chattr", f"+{attribute}", str(path)], capture_output=True, text=True, check=False)
            if run.returncode != 0:
                needs.unavailable(f"chattr doesn't work here: {run.stderr.strip()}")
            undo.callback(subprocess.run, ["chattr", f"-{attribute}", str(path)], check=True)

        yield change


@pytest.fixture
def as_nobody(tmp_path: Path) -> Callable[[Callable[[], Any]], Any]:
    """Runs a function in a child that is an ordinary user; what it returns comes back, what it raises is raised.

    Such a user may enter the test's folder, once it has a descriptor of it.
    """
    needs.root()
    tmp_path.chmod(0o755)

    def run(function: Callable[[], Any]) -> Any:
        def as_an_ordinary_user() -> Any:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            return function()

        return in_child(as_an_ordinary_user)

    return run

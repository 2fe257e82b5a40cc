"""Filesystems of many kinds for whole processes: on loop devices, stacked on others, and served by FUSE servers."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

import pytest

import needs
from cache.conftest import MakeFilesystem, Mounts, ext4, mounts, tmpfs
from e2e.harness import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["MakeFilesystem", "Mounts", "ext4", "mounts", "tmpfs"]

MIB = 1 << 20
# Smaller ones their programs don't make.
LEAST_BYTES = {"xfs": 300 * MIB, "btrfs": 110 * MIB}
_NEED_ROOT = {"btrfs", "ext4", "fuse", "mounts", "overlay", "tmpfs", "xfs"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _NEED_ROOT & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.root)


def _on_loop(mounts: Mounts, tmp_path: Path, size_bytes: int, mkfs: tuple[str, ...], options: str) -> Path:
    number = len(list(tmp_path.glob("disk-*.img")))
    image = tmp_path / f"disk-{number}.img"
    with image.open("wb") as file:
        file.truncate(size_bytes)
    subprocess.run([*mkfs, str(image)], check=True, capture_output=True)
    return mounts.mount(tmp_path / f"disk-{number}", "-o", options, str(image))


@pytest.fixture
def xfs(mounts: Mounts, tmp_path: Path) -> MakeFilesystem:
    """Makes an xfs in a file; more mount options may follow."""
    mkfs = (needs.program("mkfs.xfs", "xfsprogs"), "-q")

    def make(size_bytes: int = LEAST_BYTES["xfs"], *options: str) -> Path:
        return _on_loop(mounts, tmp_path, size_bytes, mkfs, ",".join(["loop", *options]))

    return make


@pytest.fixture
def btrfs(mounts: Mounts, tmp_path: Path) -> MakeFilesystem:
    """Makes a btrfs in a file that gives back each second; else that takes half a minute. Mount options may follow."""
    mkfs = (needs.program("mkfs.btrfs", "btrfs-progs"), "-q", "-m", "single")

    def make(size_bytes: int = LEAST_BYTES["btrfs"], *options: str) -> Path:
        return _on_loop(mounts, tmp_path, size_bytes, mkfs, ",".join(["loop", "commit=1", *options]))

    return make


class Overlay:
    """An overlay, and the directories that it is made of.

    Attributes:
        lower: What is below, and never changed.
        upper: What was written.
        merged: Where it is mounted.
    """

    def __init__(self, below: Path, above: Path) -> None:
        self.lower, self.upper, self.merged = below / "lower", above / "upper", above / "merged"
        self.work = above / "work"
        for path in (self.lower, self.upper, self.merged, self.work):
            path.mkdir()

    @property
    def options(self) -> str:
        """How it is put together."""
        return f"lowerdir={self.lower},upperdir={self.upper},workdir={self.work}"


class MakeOverlay(Protocol):
    def __call__(self, made: Overlay, *options: str) -> Path: ...


@pytest.fixture
def overlay(mounts: Mounts) -> MakeOverlay:
    """Mounts an overlay; mount options may follow (`redirect_dir=on`)."""

    def make(made: Overlay, *options: str) -> Path:
        return mounts.mount(made.merged, "-t", "overlay", "-o", ",".join([made.options, *options]), "overlay")

    return make


class Server:
    """A FUSE server, as a process that can be stopped for a while.

    Attributes:
        mount: Where its filesystem is.
    """

    def __init__(self, process: subprocess.Popen[bytes], mount: Path) -> None:
        self._process, self.mount = process, mount

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It answers nobody until the end of the block: what is asked by then waits."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Take the mount off, and end."""
        subprocess.run(["umount", "--lazy", str(self.mount)], check=True)
        self._process.terminate()
        self._process.wait()


class Serve(Protocol):
    def __call__(self, mount: Path, *command: str) -> Server: ...


@pytest.fixture
def fuse() -> Iterator[Serve]:
    """Runs a FUSE server in the foreground, given where it is to mount and its command up to there."""
    needs.root()
    if not os.path.exists("/dev/fuse"):
        needs.unavailable("it runs a FUSE server, for which /dev/fuse is missing")

    def serve(mount: Path, *command: str) -> Server:
        mount.mkdir(exist_ok=True)
        needs.program(command[0])
        server = Server(subprocess.Popen([*command, str(mount)]), mount)
        undo.callback(server.end)
        eventually(lambda: os.path.ismount(mount), "it is mounted")
        return server

    with ExitStack() as undo:
        yield serve


@pytest.fixture(params=["bindfs", "fuse-overlayfs"])
def server(request: pytest.FixtureRequest, tmpfs: MakeFilesystem, fuse: Serve, tmp_path: Path) -> Server:
    """One of two servers, over a small filesystem, so that it is measured often; the second writes late."""
    layers = Overlay(above := tmpfs(), above)
    command = {
        "bindfs": ["bindfs", "-f", str(layers.upper)],
        "fuse-overlayfs": ["fuse-overlayfs", "-f", "-o", layers.options],
    }
    return fuse(tmp_path / "served", *command[request.param])

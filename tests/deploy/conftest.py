"""The image, built once for all tests that run it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

import gcsidecar
from cache.conftest import MakeFilesystem, Mounts, mounts, tmpfs
from deploy.base import PROJECT, make_base, make_wheels
from deploy.podman import Podman

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MakeFilesystem", "Mounts", "mounts", "tmpfs"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "podman" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.root)


@dataclass(frozen=True, slots=True)
class Image:
    """The image as `make image` builds it, and what that printed at its end."""

    name: str
    base: str
    said: str


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """With nothing in it at first; all that is left in the end is removed."""
    with Podman(tmp_path_factory.mktemp("podman")) as own:
        yield own


@pytest.fixture(scope="session")
def image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Image:
    base = make_base(podman)
    wheels = make_wheels(podman, base)
    pip_conf = tmp_path_factory.mktemp("pip") / "pip.conf"
    pip_conf.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    chosen = {
        "ENGINE": " ".join(podman.command),
        "BASE_IMAGE": base,
        "PIP_CONF": str(pip_conf),
        "BUILD_OPTIONS": f"--isolation=chroot --network=host --volume={wheels}:/wheels:ro",
    }
    done = subprocess.run(
        ["make", "--no-print-directory", "image"],
        cwd=PROJECT,
        env=podman.environment | chosen,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Image(f"localhost/gcsidecar:{gcsidecar.__version__}", base, done.stdout)

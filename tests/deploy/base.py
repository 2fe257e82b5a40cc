"""A base image made of Debian's packages, and the wheels that the lock files name: all that a build takes from outside.

Both are kept in `.cache/`, so that only the first run needs the network.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import needs

if TYPE_CHECKING:
    from deploy.podman import Podman

PROJECT = Path(__file__).parents[2]
CACHE = PROJECT / ".cache" / "deploy"
LOCKS = [PROJECT / "deploy" / "container" / name for name in ("build.lock", "requirements.lock")]

NAME = "localhost/gcsidecar-test-base:1"
PACKAGES = "python3,python3-venv"
# What an image has no use for.
NEEDLESS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")
# A C library takes wheels that were made for an older one.
OLDEST_GLIBC = 5


def make_base(podman: Podman) -> str:
    """A base image; its name."""
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")
    archive = CACHE / f"base-{suite}-{platform.machine()}.tar"
    if not archive.exists():
        _bootstrap(suite, archive)
    podman("import", "--quiet", archive, NAME)
    return NAME


def _bootstrap(suite: str, archive: Path) -> None:
    debootstrap = needs.program("debootstrap")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        tree, packed = Path(directory, "tree"), Path(directory, "tar")
        _run(debootstrap, "--variant=minbase", f"--include={PACKAGES}", suite, tree, *_mirror(suite))
        for path in NEEDLESS:
            shutil.rmtree(tree / path)
        _run("tar", "--create", "--directory", tree, "--file", packed, ".")
        packed.rename(archive)


def _mirror(suite: str) -> list[str]:
    """Where this machine's packages come from, if that can be known; debootstrap has a default."""
    targets = ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]
    found = [line.split() for line in _run(*targets).splitlines()]
    return [words[2] for words in found if words[:2] == [suite, "main"]][:1]


def make_wheels(podman: Podman, base: str) -> Path:
    """A directory with the wheels that the lock files name for a base image's Python."""
    code = "import platform, sys; print(*sys.version_info[:2], *platform.libc_ver()[1].split('.'), sep='.')"
    major, minor, _, glibc = podman("run", "--rm", base, "/usr/bin/python3", "-c", code).strip().split(".")
    locked = hashlib.sha256(b"".join(lock.read_bytes() for lock in LOCKS)).hexdigest()[:16]
    wheels = CACHE / f"wheels-{major}.{minor}-{platform.machine()}-{locked}"
    if not wheels.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            _download(Path(directory, "wheels"), f"{major}.{minor}", int(glibc))
            Path(directory, "wheels").rename(wheels)
    return wheels


def _download(wheels: Path, python: str, glibc: int) -> None:
    tags = [f"manylinux_2_{minor}_{platform.machine()}" for minor in range(glibc, OLDEST_GLIBC - 1, -1)]
    pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    files = [word for lock in LOCKS for word in ("--requirement", lock)]
    _run(*pip, f"--python-version={python}", *(f"--platform={tag}" for tag in tags), "--dest", wheels, *files)


def _run(*command: object) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"}, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout

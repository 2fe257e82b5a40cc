"""Where a root must not be: the system's directories, homes, and inside of another root; judged by paths alone.

The filesystem is not asked here; the same questions with symlinks resolved are asked in `machine`.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from gcsidecar.sidecar.config.patterns import Fault
from gcsidecar.sidecar.config.problems import show

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# Nothing in these is a cache, however deep.
_SYSTEM_TREES = """
    /bin /boot /dev /etc /lib /lib32 /lib64 /libx32 /lost+found /proc /sbin /sys
    /usr/bin /usr/include /usr/lib /usr/lib32 /usr/lib64 /usr/libexec /usr/libx32 /usr/sbin
    /run/systemd /run/udev /var/lib/apt /var/lib/dpkg /var/lib/rpm /var/lib/systemd
"""
# In these there are caches of one's own, but their subfolders belong to others.
_SYSTEM_DIRECTORIES = """
    / /dev/shm /home /media /opt /root /run /run/lock /run/user /srv /tmp
    /usr /usr/games /usr/local /usr/local/bin /usr/local/lib /usr/local/sbin /usr/local/share /usr/share /usr/src
    /var /var/backups /var/cache /var/lib /var/local /var/lock /var/log /var/mail /var/opt /var/run /var/spool
    /var/tmp /var/www /var/lib/containerd /var/lib/containers /var/lib/docker /var/lib/kubelet
"""
_DEVICES = "/dev"
_SHARED_MEMORY = f"{_DEVICES}/shm/"  # the one place among the devices that is fine for a cache: a tmpfs
_REMEDY = "a directory of its own for the cache, such as /cache/jobs"


def path_fault(path: str) -> Fault | None:
    """What is wrong with a root's path as it is written."""
    if not path:
        return Fault("is empty", f"an absolute path: {_REMEDY}")
    if path.startswith("~"):
        return Fault(f"{show(path)} starts with ~, which is not replaced here", f"${{HOME}}{path[1:]}")
    if not path.startswith("/"):
        return Fault(f"{show(path)} is relative", f"an absolute path, such as {show('/cache/' + path.lstrip('./'))}")
    if ".." in path.split("/"):
        return Fault(f"{show(path)} goes up with ..", "the path written out")
    return None


def normalised(path: str) -> str:
    """An absolute path without doubled slashes, dots and a slash at its end (`..` is refused before)."""
    return "/" + os.path.normpath(path).lstrip("/")


def place_fault(path: str, homes: Collection[str]) -> Fault | None:
    """Why a normalised path must not be a root: what lies there is not a cache's to throw away."""
    if path == "/":
        return Fault("is /, the whole machine", _REMEDY)
    if path in _SYSTEM_DIRECTORIES.split() or (
        not path.startswith(_SHARED_MEMORY) and is_inside_any(path, _SYSTEM_TREES.split())
    ):
        return Fault(f"{show(path)} is a directory of the system", _REMEDY)
    if path in homes:
        return Fault(
            f"{show(path)} is a home directory", f"a directory of its own for the cache, such as {path}/.cache/jobs"
        )
    if home := next((home for home in sorted(homes) if is_inside(home, path)), None):
        return Fault(f"{show(path)} has the home directory {show(home)} in it", _REMEDY)
    return None


def is_inside(path: str, directory: str) -> bool:
    """Whether a path is below a directory, or is it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def is_inside_any(path: str, directories: Collection[str]) -> bool:
    """Whether a path is below any of the directories, or is one."""
    return any(is_inside(path, directory) for directory in directories)


def known_homes(environ: Mapping[str, str]) -> frozenset[str]:
    """The homes of all users of this machine, and our own; `/`, the home of many a daemon, is refused anyway."""
    homes = {environ.get("HOME", ""), *(user.pw_dir for user in pwd.getpwall())}
    return frozenset(normalised(home) for home in homes if home.startswith("/")) - {"/"}

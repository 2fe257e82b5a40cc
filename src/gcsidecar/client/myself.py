"""Who holds a lease: what this process knows of itself, as its lease files say it; asked for once.

Without `/proc` it knows less, and says so by zeros and empty strings: no sidecar takes those for its own.
"""

from __future__ import annotations

import os

from gcsidecar.contract import locks_are_real

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Myself:
    """This process; a forked child is another one.

    Attributes: as those of `Holder`.
    """

    __slots__ = ("boot_id", "host", "mount_namespace", "pid", "pid_namespace", "started")

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.started = _started()
        self.boot_id = _read(_BOOT_ID).decode("ascii", "replace").strip()
        self.pid_namespace = _namespace("pid")
        self.mount_namespace = _namespace("mnt")
        self.host = os.uname().nodename


_known: list[Myself] = []


def myself() -> Myself:
    """What is known of this process."""
    if not _known or _known[-1].pid != os.getpid():
        _known[:] = [Myself()]
    return _known[-1]


# Whether locks are real, by the numbers of the filesystem: a device number alone is used again after an unmount.
_locks: dict[tuple[int, int], bool] = {}


def locks_are_real_here(fd: int, device: int) -> bool:
    """Whether locks on the filesystem of an open directory show that a process holds them.

    Raises:
        OSError: It can't be asked.
    """
    key = (device, os.fstatvfs(fd).f_fsid)
    if key not in _locks:
        _locks[key] = locks_are_real(_kind(fd))
    return _locks[key]


def _kind(fd: int) -> str:
    """The kind of filesystem that an open file is on (`proc(5)`); empty where that can't be told."""
    fields = dict(line.split(b":", 1) for line in _read(f"/proc/self/fdinfo/{fd}").splitlines() if b":" in line)
    number = fields.get(b"mnt_id", b"").strip() + b" "
    for line in _read("/proc/self/mountinfo").splitlines():
        if line.startswith(number):
            return line.partition(b" - ")[2].split(b" ", 1)[0].decode("ascii", "replace")
    return ""


def _started() -> int:
    """In clock ticks after boot: the 22nd field, the 20th after the name, which may hold blanks and brackets."""
    fields = _read("/proc/self/stat").rpartition(b")")[2].split()
    return int(fields[19]) if len(fields) > 19 else 0  # noqa: PLR2004  proc(5)


def _namespace(kind: str) -> int:
    try:
        return os.stat(f"/proc/self/ns/{kind}").st_ino
    except OSError:
        return 0


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""

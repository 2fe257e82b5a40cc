"""What an actor has open, and so which of its calls others may see, or may see them.

The order of all other calls makes no difference to anybody.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Any

from gcsidecar.contract import STATE_DIRECTORY
from interleave.wrapping import REAL

if TYPE_CHECKING:
    from collections.abc import Iterable

# What a file is: not of the tree, or without a name as yet; the state directory, a side or a slot, where only sidecars
# look; the root; and what all may meet, a folder or a file in one.
ELSEWHERE, ROOT, FOLDER, FILE = "elsewhere", "root", "folder", "file"
STATE, SIDE, SLOT = "state", "side", "slot"
OURS = frozenset({STATE, SIDE, SLOT})
# And what lies in it is, unless its name says otherwise.
_BELOW = {STATE: SIDE, SIDE: SLOT, SLOT: FOLDER, ROOT: FOLDER}
_SLOT_NAME = re.compile(r"\d+-\w+-\w+")
_PROC = "/proc/self/fd/"


class Reach:
    """Of one actor.

    Args:
        root: The path of the root; what else may be touched lies beside that.
        shares: Which of the state directory another sidecar looks into, too.
        is_sidecar: Whether it looks into it at all.
        heeds_modes: Whether it asks for more than the identity of what it has open.
    """

    def __init__(self, root: str, shares: frozenset[str], *, is_sidecar: bool, heeds_modes: bool) -> None:
        self._root = root
        self._shares, self._is_sidecar, self._heeds_modes = shares, is_sidecar, heeds_modes
        self.kinds: dict[int, str] = {}
        self._folders: dict[int, int] = {}

    def opened(self, fd: int, path: Any, dir_fd: int | None) -> os.stat_result | None:
        """Something is open now; what it is, if others may have it open, too."""
        kind = self._kind(path, dir_fd)
        self.kinds[fd] = kind
        if kind not in {FOLDER, FILE}:
            return None
        return self.has(fd)

    def has(self, fd: int) -> os.stat_result:
        """A folder, or a file in one, is open."""
        status: os.stat_result = REAL["fstat"](fd)
        if stat.S_ISDIR(status.st_mode):
            self.kinds[fd] = FOLDER
            self._folders[fd] = status.st_ino
        else:
            self.kinds[fd] = FILE if status.st_nlink else ELSEWHERE
        return status

    def named(self, path: Any) -> None:
        """A file that had no name has one now."""
        fd = _number(path)
        if fd is not None:
            self.kinds[fd] = FILE

    def closed(self, fd: int) -> None:
        """It is open no more."""
        self.kinds.pop(fd, None)
        self._folders.pop(fd, None)

    def meets(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
        """Whether others may see a call, or it may see what they do."""
        if name in {"dup", "fsync", "readlink"} or (name == "open" and self._is_again(*args[:2])):
            return False
        if name == "renameat2":
            # Within a side nothing moves but the slots themselves.
            return args[0] != args[2] or SIDE in self._shares
        if name == "getdents" and os.lseek(args[0], 0, os.SEEK_CUR):
            return False  # in trees as small as these the first call gives all, and the next one says so
        where = self._acts_in(name, args, keywords)
        if name == "fstat" and (where != FOLDER or not self._heeds_modes) and where not in self._shares:
            return False
        if where in OURS and where not in self._shares:
            # A folder in a slot, unlike the slot itself, others may have open.
            return name == "rmdir" and _SLOT_NAME.fullmatch(args[0]) is None
        return where != ELSEWHERE or name == "link"

    def tells(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
        """Whether a call that meets nobody may give one thing or another all the same."""
        return self._is_sidecar and (name == "renameat2" or self._acts_in(name, args, keywords) != ELSEWHERE)

    def is_apart(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any], others: Iterable[Reach]) -> bool:
        """Whether a call acts on a folder that nobody else can see or get at, whatever they do before."""
        found = self._acts_on(name, args, keywords)
        if found is None or any(found[0] in other._folders.values() for other in others):
            return False
        if f"/{STATE_DIRECTORY}/" in found[1]:
            return self._is_sidecar and not self._shares
        # Else it is moved out of the root, or gone.
        return not found[1].startswith(f"{self._root}/") or found[1].endswith(" (deleted)")

    def _is_again(self, path: Any, flags: int) -> bool:
        """Whether it opens what is open; a file without a name is made in a folder only if that is still there."""
        return path in {".", self._root} and flags & os.O_TMPFILE != os.O_TMPFILE

    def _acts_in(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> str:
        if name == "openat2":
            return self.kinds.get(args[1], FOLDER)
        return self._where(args[0], keywords.get("dir_fd", keywords.get("src_dir_fd")))

    def _where(self, path: Any, dir_fd: int | None) -> str:
        """What a descriptor is, or the directory that a path is looked up in."""
        fd = path if isinstance(path, int) else _number(path)
        if fd is not None:
            return self.kinds.get(fd, FOLDER)
        text = os.fsdecode(path)
        if dir_fd is not None and not text.startswith("/"):
            return STATE if text == STATE_DIRECTORY else self.kinds.get(dir_fd, FOLDER)
        if text == self._root:
            return ROOT
        if f"/{STATE_DIRECTORY}/" in text:
            return STATE
        return FOLDER if text.startswith(f"{os.path.dirname(self._root)}/") else ELSEWHERE

    def _kind(self, path: Any, dir_fd: int | None) -> str:
        """What is opened so."""
        where = self._where(path, dir_fd)
        if dir_fd is None or path in {".", b".", STATE_DIRECTORY}:
            return where
        return _BELOW.get(where, where)

    def _acts_on(self, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[int, str] | None:
        """The folder that a call acts on or in, and where it is; none where it is found by its name in the root."""
        if name == "renameat2":
            return self._in_slot(args[0], args[1]) if self.kinds.get(args[2]) == SLOT else None
        if name == "rmdir":
            return self._in_slot(keywords.get("dir_fd"), args[0])
        fd = args[1] if name == "openat2" else keywords.get("dir_fd", keywords.get("dst_dir_fd", args[0]))
        if not isinstance(fd, int):
            fd = _number(fd)
        return (self._folders[fd], REAL["readlink"](f"{_PROC}{fd}")) if fd in self._folders else None

    def _in_slot(self, dir_fd: int | None, entry: str) -> tuple[int, str] | None:
        if dir_fd is None or self.kinds.get(dir_fd) != SLOT:
            return None
        return REAL["stat"](entry, dir_fd=dir_fd).st_ino, f"/{STATE_DIRECTORY}/"


def plain(name: str) -> str:
    """A name without what means nothing: which slot it is, which descriptor."""
    return _SLOT_NAME.sub("slot", re.sub(rf"{_PROC}\d+", _PROC, name))


def _number(path: Any) -> int | None:
    """The descriptor that a path stands for, if it does."""
    text = os.fsdecode(path)
    return int(text[len(_PROC) :]) if text.startswith(_PROC) and text[len(_PROC) :].isdigit() else None

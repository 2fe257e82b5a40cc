"""The patterns of a root, judged by their text: `folders`, `keep` and those of leases and locks.

Each function gives nothing, or what is wrong and what would be right; matching is the business of the cache room.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cache
from typing import NamedTuple

from gcsidecar.contract import STATE_DIRECTORY
from gcsidecar.sidecar.config.problems import show

PLACEHOLDER = "{folder}"
MAX_LEVELS = 4
_WILDCARDS = "*?["
_TOKEN = re.compile(r"\[!?\]?[^\]]*\]|.", re.DOTALL)


class Fault(NamedTuple):
    """What is wrong with a pattern, and what would be right."""

    what: str
    remedy: str


def folders_fault(glob: str) -> Fault | None:
    """What is wrong with the glob that says which subfolders are a root's folders."""
    if fault := _path_fault(glob, '"*" for the subfolders of the root, "*/*" for theirs'):
        return fault
    levels = glob.split("/")
    if len(levels) > MAX_LEVELS:
        return Fault(f"{show(glob)} goes {len(levels)} levels down", f"{MAX_LEVELS} levels at most")
    if any("{" in level or "}" in level for level in levels):
        return Fault(f"{show(glob)} has braces, which this glob does not know", "a root for each alternative")
    if levels[0] == STATE_DIRECTORY:
        return Fault(f"{show(glob)} names the sidecar's own directory", 'subfolders of the cache, such as "*"')
    return None


def keep_fault(glob: str) -> Fault | None:
    """What is wrong with a glob of pinned folders."""
    return _path_fault(glob, 'the name of a folder, or a glob such as "base-*"')


def _path_fault(glob: str, remedy: str) -> Fault | None:
    """What no glob on names relative to the root may have."""
    parts = glob.split("/")
    if glob.startswith("/"):
        return Fault(f"{show(glob)} is an absolute path", f"a path relative to the root: {remedy}")
    if ".." in parts:
        return Fault(f"{show(glob)} leads out of the root with ..", remedy)
    if "" in parts or "." in parts:
        return Fault(f"{show(glob)} has an empty part between its slashes" if glob else "is empty", remedy)
    if any("**" in part for part in parts):
        return Fault(f"{show(glob)} has **, which has no bounded depth", remedy)
    return None


def lease_fault(pattern: str, folders: str) -> Fault | None:
    """What is wrong with a pattern of lease files, given the root's `folders`.

    A pattern may only be met by names that belong to one folder: else one folder's lease would hold others, or a
    folder would hold itself for ever.
    """
    example = 'a pattern such as "{folder}/.lease.*" or "{folder}.lease"'
    if fault := _name_fault(pattern, example):
        return fault
    after = pattern.split(PLACEHOLDER)[1]
    if pattern == PLACEHOLDER:
        return Fault(f"{show(pattern)} is the folder itself, which would hold it for ever", example)
    if "/" in after and not after.rsplit("/", 1)[-1].strip("*?"):
        return Fault(f"{show(pattern)} matches everything in the folder, which would hold it for ever", example)
    remedy = f'a directory that is none, such as ".leases", or {example}'
    return _outside_fault(pattern, example) or _place_fault(pattern, folders, remedy)


def lock_fault(pattern: str, folders: str) -> Fault | None:
    """What is wrong with a pattern of lock files that tools keep, given the root's `folders`.

    As with leases; but they hold only while they are locked, so a pattern may match everything in a directory.
    """
    example = 'a pattern such as ".locks/{folder}/*.lock" or "{folder}/lock"'
    if fault := _name_fault(pattern, example):
        return fault
    if pattern == PLACEHOLDER:
        return Fault(f"{show(pattern)} is the folder itself, whose lock holds it in any case", example)
    remedy = 'folders that leave that directory out, such as "models--*": evicting it would disarm the locks'
    return _outside_fault(pattern, example) or _place_fault(pattern, folders, remedy)


def _name_fault(pattern: str, example: str) -> Fault | None:
    """What is wrong with how a pattern names its folder."""
    if fault := _path_fault(pattern, example):
        return fault
    if pattern.count(PLACEHOLDER) != 1:
        found = "has no {folder}" if PLACEHOLDER not in pattern else "has {folder} more than once"
        return Fault(f"{show(pattern)} {found}", f"{{folder}} once, in place of the folder's name: {example}")
    if "{" in pattern.replace(PLACEHOLDER, "") or "}" in pattern.replace(PLACEHOLDER, ""):
        return Fault(f"{show(pattern)} has braces that are not {{folder}}", example)
    return None


def _outside_fault(pattern: str, example: str) -> Fault | None:
    before, after = pattern.split(PLACEHOLDER)
    if after and after[0] in _WILDCARDS:
        return Fault(f"{show(pattern)} also matches what belongs to another folder whose name starts the same", example)
    if any(wildcard in before for wildcard in _WILDCARDS):
        return Fault(f"{show(pattern)} can match outside its folder: a wildcard stands before {{folder}}", example)
    return None


def _place_fault(pattern: str, folders: str, remedy: str) -> Fault | None:
    """A directory of leases or locks that is itself evicted takes them with it; in their own folder that is right."""
    *above, _ = pattern.replace(PLACEHOLDER, folders).split("/")
    if pattern.startswith(f"{STATE_DIRECTORY}/"):
        return Fault(f"{show(pattern)} lies in the sidecar's own directory", remedy)
    levels = folders.split("/")
    within = pattern.startswith(f"{PLACEHOLDER}/")
    if within or len(above) < len(levels) or not all(map(_may_be_folder, above, levels)):
        return None
    where = "/".join(above[: len(levels)])
    return Fault(f'{show(pattern)} lies in "{where}", which is a folder itself by folders: {show(folders)}', remedy)


def _may_be_folder(directory: str, glob: str) -> bool:
    """Whether a directory, itself given by a glob, may be one of the folders: hidden ones only where theirs says so."""
    if directory.startswith(".") and not glob.startswith("."):
        return False
    return _meet(tuple(_TOKEN.findall(directory)), tuple(_TOKEN.findall(glob)))


@cache
def _meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether some name fits both globs, each cut into its characters and wildcards."""
    if one and one[0] == "*":
        return _meet(one[1:], other) or (bool(other) and _meet(one, other[1:]))
    if other and other[0] == "*":
        return _meet(other, one)
    if not one or not other:
        return one == other
    return _may_be_same(one[0], other[0]) and _meet(one[1:], other[1:])


def _may_be_same(one: str, other: str) -> bool:
    """Whether a character fits both; of two sets of characters that is not worked out."""
    if "?" in {one, other} or (len(one) > 1 and len(other) > 1):
        return True
    return fnmatchcase(one, other) or fnmatchcase(other, one)

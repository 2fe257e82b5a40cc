"""The patterns of a root, judged by their text: `folders`, `keep` and those of leases.

Each function gives nothing, or what is wrong and what would be right; matching is the business of the cache room.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

from gcsidecar.contract import STATE_DIRECTORY
from gcsidecar.sidecar.config.problems import show

PLACEHOLDER = "{folder}"
MAX_LEVELS = 4
_WILDCARDS = "*?["


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
    if fault := _path_fault(pattern, example):
        return fault
    if pattern.count(PLACEHOLDER) != 1:
        found = "has no {folder}" if PLACEHOLDER not in pattern else "has {folder} more than once"
        return Fault(f"{show(pattern)} {found}", f"{{folder}} once, in place of the folder's name: {example}")
    if "{" in pattern.replace(PLACEHOLDER, "") or "}" in pattern.replace(PLACEHOLDER, ""):
        return Fault(f"{show(pattern)} has braces that are not {{folder}}", example)
    before, after = pattern.split(PLACEHOLDER)
    return _around_fault(pattern, before, after, example) or _place_fault(pattern, before, folders, example)


def _around_fault(pattern: str, before: str, after: str, example: str) -> Fault | None:
    if not before and not after:
        return Fault(f"{show(pattern)} is the folder itself, which would hold it for ever", example)
    if "/" in after and not after.rsplit("/", 1)[-1].strip("*?"):
        return Fault(f"{show(pattern)} matches everything in the folder, which would hold it for ever", example)
    if after and after[0] in _WILDCARDS:
        return Fault(f"{show(pattern)} also matches what belongs to another folder whose name starts the same", example)
    if any(wildcard in before for wildcard in _WILDCARDS):
        return Fault(f"{show(pattern)} can match outside its folder: a wildcard stands before {{folder}}", example)
    return None


def _place_fault(pattern: str, before: str, folders: str, example: str) -> Fault | None:
    """A directory of leases that is itself evicted would take the leases with it."""
    *parents, _ = before.split("/")
    if parents and parents[0] == STATE_DIRECTORY:
        return Fault(f"{show(pattern)} lies in the sidecar's own directory", example)
    levels = folders.split("/")
    if len(parents) < len(levels) or not all(map(_matches, parents, levels)):
        return None
    where = "/".join(parents[: len(levels)])
    return Fault(
        f'{show(pattern)} lies in "{where}", which is a folder itself by folders: {show(folders)}',
        f'a directory that is none, such as ".leases", or {example}',
    )


def _matches(name: str, glob: str) -> bool:
    """Whether a folder of this name is one: hidden names only where the glob says so."""
    return fnmatchcase(name, glob) and (not name.startswith(".") or glob.startswith("."))

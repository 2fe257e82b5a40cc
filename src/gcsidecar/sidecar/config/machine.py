"""What the machine says to a config that is right as text: roots that are missing, not ours, or on the wrong mount.

All of it can change without an edit, so `run` goes on where `check` fails. It only looks; it may hang where a mount
hangs, and so is for `check`, never for the running process.
"""

from __future__ import annotations

import os
import socket
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from gcsidecar.gc.pressure import Level
from gcsidecar.sidecar.config.addresses import AddressError, parse_address
from gcsidecar.sidecar.config.checks import overlap_fault
from gcsidecar.sidecar.config.layout import layout_faults
from gcsidecar.sidecar.config.nodes import join
from gcsidecar.sidecar.config.patterns import Fault
from gcsidecar.sidecar.config.places import normalised, path_fault, place_fault
from gcsidecar.sidecar.config.problems import show
from gcsidecar.sidecar.config.units import Unit, format_level, format_size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gcsidecar.cache.spec import RootSpec, SpaceLevels, Thresholds
    from gcsidecar.sidecar.config.checks import Draft
    from gcsidecar.sidecar.config.model import Config
    from gcsidecar.sidecar.config.problems import Problem


@dataclass(frozen=True, slots=True)
class _Found:
    """A root that is there.

    Attributes:
        key: Its key in the config.
        root: What the config says of it.
        path: Its real path, symlinks resolved.
        identity: Device and inode.
        capacities: What an ordinary user has of `disk` and `inodes`, used and available; 0 where it is not counted.
        is_noatime: Whether its mount records no reads.
    """

    key: str
    root: RootSpec
    path: str
    identity: tuple[int, int]
    capacities: dict[str, int]
    is_noatime: bool


def machine_problems(config: Config, draft: Draft, homes: Collection[str]) -> Iterator[Problem]:
    """All that the machine says, in no order; each is `about` the machine."""
    for problem in _problems(config, draft, homes):
        yield replace(problem, about="machine")


def _problems(config: Config, draft: Draft, homes: Collection[str]) -> Iterator[Problem]:
    yield from _listen(config, draft)
    found: list[_Found] = []
    for key, root in draft.roots:
        if path_fault(root.path):
            continue
        outcome = _find(key, root)
        if isinstance(outcome, Fault):
            yield draft.problem(join(key, "path"), outcome)
            continue
        yield from _root(config, draft, outcome, homes)
        yield from _levels(draft, outcome, config.thresholds_of(root))
        yield from _against_earlier(config, draft, outcome, found)
        found.append(outcome)


def _listen(config: Config, draft: Draft) -> Iterator[Problem]:
    """Whether an address is this machine's; a name would have to be looked up, which can take its time."""
    for number, text in enumerate(config.listen_addresses):
        try:
            address = parse_address(text)
        except AddressError:
            continue
        if not address.host or not address.is_literal or _can_listen(address.host):
            continue
        key = "listen" if isinstance(config.listen, str) else join("listen", number)
        yield draft.problem(key, Fault(f"{show(text)} is not an address of this machine", "one of its own, or :PORT"))


def _can_listen(host: str) -> bool:
    try:
        [(family, kind, _, _, target), *_] = socket.getaddrinfo(host, 0, flags=socket.AI_NUMERICHOST)
        with socket.socket(family, kind) as probe:
            probe.bind(target)
    except OSError:
        return False
    return True


def _find(key: str, root: RootSpec) -> _Found | Fault:
    """Look a root up, or say why it can't be one."""
    try:
        entry = Path(root.path).stat()
        space = os.statvfs(root.path)
    except FileNotFoundError:
        return Fault(f"{show(root.path)} is missing", "make the directory, or mount it there")
    except OSError as error:
        return Fault(f"{show(root.path)} can't be looked at: {error.strerror}", "a directory that this user can reach")
    if not stat.S_ISDIR(entry.st_mode):
        return Fault(f"{show(root.path)} is not a directory", "the directory that holds the cache's folders")
    capacities = {
        "disk": (space.f_blocks - space.f_bfree + space.f_bavail) * space.f_frsize,
        "inodes": space.f_files - space.f_ffree + space.f_favail,
    }
    identity = (entry.st_dev, entry.st_ino)
    return _Found(key, root, os.path.realpath(root.path), identity, capacities, bool(space.f_flag & os.ST_NOATIME))


def _root(config: Config, draft: Draft, found: _Found, homes: Collection[str]) -> Iterator[Problem]:
    key = join(found.key, "path")
    if found.path != normalised(found.root.path) and (fault := place_fault(found.path, homes)):
        yield draft.problem(key, Fault(f"{show(found.root.path)} leads to a place where {fault.what}", fault.remedy))
    if fault := _access_fault(found.root.path, dry_run=config.dry_run):
        yield draft.problem(key, fault)
    if found.root.last_used == "atime" and found.is_noatime:
        what = "is atime, but the root is on a mount with noatime, which records no reads"
        yield draft.problem(join(found.key, "last_used"), Fault(what, "mtime, or a mount with relatime"))
    for name, fault in layout_faults(found.root):
        yield draft.warning(join(found.key, name), fault)


def _access_fault(path: str, *, dry_run: bool) -> Fault | None:
    """Whether we may list it and, unless nothing is to be evicted, change it; asked for the ids that will act."""
    if not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
        return Fault(f"{show(path)} can't be listed by this user", _rights())
    if not dry_run and not os.access(path, os.W_OK, effective_ids=True):
        return Fault(f"{show(path)} is not writable by this user", f"{_rights()}, or dry_run: true")
    return None


def _rights() -> str:
    return f"run as the user the cache belongs to (this is uid {os.geteuid()}), on a writable mount"


def _levels(draft: Draft, found: _Found, thresholds: Thresholds) -> Iterator[Problem]:
    """Levels that make no sense on a filesystem of this size: what the text alone could not tell."""
    resources: tuple[tuple[str, SpaceLevels | None, Unit], ...] = (
        ("disk", thresholds.disk, "bytes"),
        ("inodes", thresholds.inodes, "inodes"),
    )
    for resource, levels, unit in resources:
        capacity = found.capacities[resource]
        if levels is not None and capacity > 0 and (fault := _level_fault(levels, capacity, unit)):
            yield draft.problem(_levels_key(draft, found.key, resource), fault)
    max_size_bytes = found.root.max_size or 0
    if max_size_bytes > found.capacities["disk"] > 0:
        what = f"is {format_size(max_size_bytes)}, more than its filesystem holds"
        remedy = f"less than {format_size(found.capacities['disk'])}"
        yield draft.warning(join(found.key, "max_size"), Fault(what, remedy))


def _levels_key(draft: Draft, root_key: str, resource: str) -> str:
    """The key that set a root's levels: its own or the common one."""
    own = join(root_key, "thresholds", resource)
    return own if own in draft.lines else f"thresholds.{resource}"


def _level_fault(levels: SpaceLevels, capacity: int, unit: Unit) -> Fault | None:
    minimum, target = levels.min_free, levels.target_free or levels.min_free
    whole = format_level(Level(capacity), unit)
    if minimum.of(capacity) >= capacity:
        return Fault(
            f"has a min_free of {format_level(minimum, unit)}, all that there is ({whole})", "less, or a share"
        )
    if target.of(capacity) < minimum.of(capacity):
        what = f"has target_free {format_level(target, unit)} below min_free {format_level(minimum, unit)} of {whole}"
        return Fault(what, "a target_free above min_free, or none")
    if target.of(capacity) > capacity:
        return Fault(
            f"has a target_free of {format_level(target, unit)}, more than there is ({whole})", "less, or a share"
        )
    return None


def _against_earlier(config: Config, draft: Draft, found: _Found, earlier: list[_Found]) -> Iterator[Problem]:
    for other in earlier:
        if fault := _overlap_fault(found, other):
            yield draft.problem(join(found.key, "path"), fault)
    neighbour = next((other for other in earlier if other.identity[0] == found.identity[0]), None)
    if neighbour is None:
        return
    mine, theirs = (config.thresholds_of(one.root) for one in (found, neighbour))
    for resource in mine.__struct_fields__:
        if getattr(mine, resource) != getattr(theirs, resource):
            yield draft.warning(
                _levels_key(draft, found.key, resource), _strictest(found, neighbour, resource, mine, theirs)
            )


def _overlap_fault(found: _Found, other: _Found) -> Fault | None:
    """Overlaps that the paths hide: symlinks and bind mounts; those that they show are reported as text."""
    if overlap_fault(normalised(found.root.path), other.key, normalised(other.root.path)):
        return None
    if found.identity == other.identity:
        return Fault(f"{show(found.root.path)} is the same directory as {other.key}", "one root for each directory")
    return overlap_fault(found.path, other.key, other.path)


def _strictest(found: _Found, other: _Found, resource: str, mine: Thresholds, theirs: Thresholds) -> Fault:
    what = f"differs for root {show(found.root.name)} and root {show(other.root.name)}, which share a filesystem"
    sides = [levels for one in (mine, theirs) if (levels := getattr(one, resource)) is not None]
    if resource == "memory" or len(sides) == 1:
        return Fault(what, "the strictest of each holds for both; the same for both is clearer")
    capacity = found.capacities[resource]
    unit: Unit = "bytes" if resource == "disk" else "inodes"
    return Fault(what, f"the strictest of each holds for both: {_strictest_words(sides, capacity, unit)}")


def _strictest_words(sides: list[SpaceLevels], capacity: int, unit: Unit) -> str:
    names = structs.fields(sides[0])
    amounts = {
        field.name: max(level.of(capacity) for side in sides if (level := getattr(side, field.name)) is not None)
        for field in names
    }
    return ", ".join(f"{name} {format_level(Level(amount), unit)}" for name, amount in amounts.items())

"""What a root is configured to be: the values that the rest of this room obeys.

Only values; where they come from (YAML, defaults, the environment) is the process's business.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gcsidecar.gc.pressure import Level

LEASE_PATTERNS = ("{folder}/.lease", "{folder}/.lease.*", "{folder}/*.lease", "{folder}.lease")


class ByteSize(int):
    """A size in bytes; the config writes it as `10GiB` or `500MB`."""

    __slots__ = ()


class Seconds(float):
    """A duration in seconds; the config writes it as `30s`, `2h` or `7d`."""

    __slots__ = ()


class _Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shared options of all specs: frozen, keywords only, unknown keys refused."""


class LeaseSpec(_Spec, frozen=True):
    """How a lease looks and how it ends."""

    files: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="Patterns of lease files, relative to the root; {folder} stands for the folder's name. "
            "{folder}/.lease.* counts in any case.",
        ),
    ] = LEASE_PATTERNS
    ttl: Annotated[
        Seconds | None,
        Meta(description="A bare lease file untouched for longer is stale; null: it holds for as long as it exists."),
    ] = None
    on_stale: Annotated[
        Literal["keep", "expire"], Meta(description="What a stale lease means: keep the folder, or end the lease.")
    ] = "keep"
    parked_ttl: Annotated[
        Seconds,
        Meta(description="A bare lease file in a parked folder ends after this, since nobody can remove it there."),
    ] = Seconds(24 * 3600)
    settle: Annotated[
        Seconds,
        Meta(
            description="Where other hosts may share the filesystem (NFS, CIFS, Ceph, 9p, FUSE), a folder that was "
            "moved out waits for so long before it is looked at once more: what they do there is seen late."
        ),
    ] = Seconds(90)
    locks: Annotated[
        tuple[str, ...],
        Meta(description="Patterns of lock files that tools keep; while one of a folder's is locked, it is in use."),
    ] = ()
    lock_grace: Annotated[
        Seconds, Meta(description="Such a lock counts for this long after it was last seen held.")
    ] = Seconds(120)


class InUseSpec(_Spec, frozen=True):
    """What else shows that a folder is in use, beside leases and locks."""

    open_files: Annotated[
        bool, Meta(description="Whether what a visible process has open, mapped or is in keeps the folder around it.")
    ] = False


class SpaceLevels(_Spec, frozen=True):
    """Where collection for disk space or inodes starts and stops."""

    min_free: Annotated[Level, Meta(description="Collection starts when less than this is free.")]
    target_free: Annotated[
        Level | None, Meta(description="Collection stops when this much is free; left out: 1.25 times min_free.")
    ] = None


class MemoryLevels(_Spec, frozen=True):
    """Where collection for memory starts and stops, and whose memory counts."""

    cgroup: Annotated[
        str | None,
        Meta(description='Whose memory counts: the path of a cgroup (v2 or v1), or "host"; null: memory is off.'),
    ] = None
    min_available: Annotated[
        Level | None, Meta(description="Collection starts when less than this is available; null: memory is off.")
    ] = None
    target_available: Annotated[
        Level | None,
        Meta(description="Collection stops when this much is available; left out: 1.25 times min_available."),
    ] = None


class Thresholds(_Spec, frozen=True):
    """The thresholds of a filesystem; null turns a resource off."""

    disk: Annotated[SpaceLevels | None, Meta(description="Free space, as a share or a size; null: off.")] = SpaceLevels(
        min_free=Level(share=0.20), target_free=Level(share=0.25)
    )
    inodes: Annotated[SpaceLevels | None, Meta(description="Free inodes, as a share or a number; null: off.")] = (
        SpaceLevels(min_free=Level(share=0.10), target_free=Level(share=0.15))
    )
    memory: Annotated[
        MemoryLevels | None, Meta(description="Available memory, for roots on a tmpfs; off unless a cgroup is named.")
    ] = MemoryLevels()


class ThresholdOverrides(_Spec, frozen=True):
    """What one root sets differently; a resource that is left out is as in the common thresholds."""

    disk: Annotated[SpaceLevels | UnsetType | None, Meta(description="As `thresholds.disk`; null: off.")] = UNSET
    inodes: Annotated[SpaceLevels | UnsetType | None, Meta(description="As `thresholds.inodes`; null: off.")] = UNSET
    memory: Annotated[MemoryLevels | UnsetType | None, Meta(description="As `thresholds.memory`; null: off.")] = UNSET


class HistorySpec(_Spec, frozen=True):
    """How large the history of a root may become; what happened longest ago goes first."""

    max_rows: Annotated[int, Meta(ge=1, description="At most so many folders, there and gone, and as many uses.")] = (
        200_000
    )
    max_size: Annotated[
        ByteSize,
        Meta(description="At most this large; never more than 1 % of the filesystem, or of the root's max_size."),
    ] = ByteSize(32 << 20)


class MeasureSpec(_Spec, frozen=True):
    """What it may cost to know sizes; for each filesystem."""

    stale_after: Annotated[
        Seconds | None,
        Meta(description="A size older than this is measured again while nothing else is to do; null: none is."),
    ] = Seconds(24 * 3600)
    sweep_entries_per_second: Annotated[
        int, Meta(ge=1, description="So many files and directories a second are looked at for that, at most.")
    ] = 500
    leased_entries_per_second: Annotated[
        int, Meta(ge=1, description="Leased folders are measured now and then, all together at most so fast.")
    ] = 2000


DEFAULT_MEASURE = MeasureSpec()


class RootSpec(_Spec, frozen=True):
    """One configured cache directory."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
            description="Its name in metrics and logs: letters, digits, `_`, `.`, `-`; 63 at most.",
            extra={"words": "letters, digits, _ . and -, 63 at most, the first one a letter or digit"},
        ),
    ]
    path: Annotated[str, Meta(description="The cache directory: an absolute path.")]
    folders: Annotated[
        str, Meta(description='The subfolders that are evicted as a unit: "*", or "*/*" two levels down.')
    ] = "*"
    lease: Annotated[LeaseSpec, Meta(description="How a lease on a folder looks, and how it ends.")] = LeaseSpec()
    in_use: Annotated[InUseSpec, Meta(description="What else shows that a folder is in use.")] = InUseSpec()
    keep: Annotated[tuple[str, ...], Meta(description="Folders that are pinned: globs on the folder's name.")] = ()
    last_used: Annotated[
        Literal["mtime", "atime"], Meta(description="Whether reading a file inside counts as a use, too (atime).")
    ] = "mtime"
    min_age: Annotated[
        Seconds,
        Meta(
            description="A folder is kept that arrived, or in which somebody without a lease was at work, since then."
        ),
    ] = Seconds(120)
    max_idle: Annotated[
        Seconds | None, Meta(description="A folder idle for longer is evicted, pressure or not; null: off.")
    ] = None
    max_size: Annotated[ByteSize | None, Meta(description="A budget for the whole root; null: none.")] = None
    target_size: Annotated[
        Level | None, Meta(description="Where collection for max_size stops; left out: 90 % of max_size.")
    ] = None
    max_folders: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="At most this many folders; null: no limit.")
    ] = None
    keep_newest: Annotated[int, Meta(ge=0, description="So many of the last used folders stay, whatever comes.")] = 0
    top_folders: Annotated[
        int, Meta(ge=0, le=1000, description="So many of the largest folders have metric series of their own.")
    ] = 20
    priority: Annotated[
        int, Meta(description="Among roots that share a filesystem, folders of a lower priority go first.")
    ] = 0
    regret_window: Annotated[
        Seconds | None,
        Meta(description="A folder that returns within this after its eviction is a regret; null: none is."),
    ] = Seconds(24 * 3600)
    history: Annotated[
        HistorySpec | None,
        Meta(description="What happened is recorded in .gcsidecar/history.sqlite, up to this size; null: it is not."),
    ] = HistorySpec()
    thresholds: Annotated[
        ThresholdOverrides, Meta(description="What differs for this root's filesystem from the common thresholds.")
    ] = ThresholdOverrides()

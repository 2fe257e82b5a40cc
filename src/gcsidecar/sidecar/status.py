"""What the process knows of itself at one moment: the values that metrics and the health routes are made from.

Values only. Threads publish a new one when something has changed; whoever reads never waits for any of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsidecar.cache.folders.tally import RootTally
    from gcsidecar.gc.pressure import Measurement, Resource, Threshold


@dataclass(frozen=True, slots=True)
class HistoryStatus:
    """The history of one root.

    Attributes:
        healthy: Whether what happens is being recorded.
        size_bytes: What its files take.
        dropped: Records that could not be written since the start.
        set_aside: How often since the start it was damaged, lost or not ours, and was begun anew.
    """

    healthy: bool
    size_bytes: int = 0
    dropped: int = 0
    set_aside: int = 0


@dataclass(frozen=True, slots=True)
class RootStatus:
    """One root.

    Attributes:
        name: Its name in the config.
        filesystem: The name of its filesystem (that filesystem's first root), or none while it isn't open.
        role: `active`; `standby` (another sidecar acts on it); `dry-run`; `missing` (no such directory yet, or it can't
            be opened); `blocked` (`.gcsidecar/` can't be made: the disk is full, or it isn't writable).
        problem: What is wrong with it in words, or none.
        tally: Its folders by state, with their sizes; none while it isn't open.
        reconciled_at: When the last complete reconcile ended, POSIX seconds; 0 if none has.
        reconcile_ok: Whether that went well.
        parked: Folders kept apart, whole, until their leases end.
        condemned: Folders out of the way whose deletion isn't complete yet.
        history: Its history; none where none is kept (dry run, standing by, turned off).
    """

    name: str
    filesystem: str | None
    role: str
    problem: str | None = None
    tally: RootTally | None = None
    reconciled_at: float = 0.0
    reconcile_ok: bool = False
    parked: int = 0
    condemned: int = 0
    history: HistoryStatus | None = None


@dataclass(frozen=True, slots=True)
class FilesystemStatus:
    """One filesystem, by its first root in the config.

    Attributes:
        name: The name of its first root.
        kind: `ext4`, `tmpfs`, ...
        roots: The names of the roots on it.
        readings: The last good measurement of each resource, caps of roots (group: the root's name) included.
        thresholds: What they are held to.
        rates: How fast each fills now, by (resource, group), in units a second; 0 while it doesn't.
        on_its_way: What evictions are still expected to bring, by resource.
        measured_at: When it was last measured well, POSIX seconds; 0 if never.
        measure_ok: Whether the last measurement went well.
        paused: Whether eviction holds back, since evictions brought much less than they should.
        backed_off: Folders that failed to be evicted and wait for another try.
        planned: In dry run: folders that would be evicted now.
        reclaimed_late_bytes: What evictions have brought later than right after them, since its keeper began.
        entries_looked_at: Files and directories that were looked at for sizes, since its keeper began.
        to_be_measured: Folders that another process is to measure as soon as it can.
    """

    name: str
    kind: str
    roots: tuple[str, ...]
    readings: tuple[Measurement, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    rates: Mapping[tuple[Resource, str | None], float] = field(default_factory=dict)
    on_its_way: Mapping[Resource, int] = field(default_factory=dict)
    measured_at: float = 0.0
    measure_ok: bool = False
    paused: bool = False
    backed_off: int = 0
    planned: int = 0
    reclaimed_late_bytes: int = 0
    entries_looked_at: int = 0
    to_be_measured: int = 0


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """The watching of directories.

    Attributes:
        state: `ok`, `degraded` (some directories can't be watched) or `off`.
        watches: Directories that are watched.
        refused: Directories that could not be.
        overflows: How often the kernel's queue ran over since the start.
        restarts: How often the watching thread had to be started anew.
    """

    state: str = "off"
    watches: int = 0
    refused: int = 0
    overflows: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """The whole process.

    Attributes:
        roots: In the order of the config.
        filesystems: In the order of their first roots.
        watch: The watching of directories.
        config_loaded_at: When the config in force was loaded, POSIX seconds.
        config_ok: Whether the last attempt to load it went well.
        dry_run: Whether nothing is evicted.
    """

    roots: tuple[RootStatus, ...] = ()
    filesystems: tuple[FilesystemStatus, ...] = ()
    watch: WatchStatus = WatchStatus()
    config_loaded_at: float = 0.0
    config_ok: bool = False
    dry_run: bool = False

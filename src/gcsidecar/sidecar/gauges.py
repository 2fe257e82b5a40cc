"""Which gauges a filesystem has: from the config, for the roots that lie on it.

It only puts them together; measuring is theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.cache.measuring.caps import FoldersGauge, SizeGauge
from gcsidecar.gc.gauges import SpaceGauge
from gcsidecar.gc.memory import CgroupMemoryGauge, HostMemoryGauge
from gcsidecar.gc.pressure import Gauge, Level, Resource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcsidecar.cache.root import Root
    from gcsidecar.cache.spec import MemoryLevels, SpaceLevels
    from gcsidecar.gc.clock import Clock
    from gcsidecar.sidecar.config import Config

# A target that is left out beside a given minimum.
TARGET_FACTOR = 1.25
HOST = "host"


def gauges_of(roots: Sequence[Root], config: Config, clock: Clock) -> list[Gauge]:
    """All gauges of one filesystem: its space, memory where the config says whose, and its roots' caps.

    Where roots set different thresholds the strictest of each field holds, in bytes.
    """
    thresholds = [config.thresholds_of(root.spec) for root in roots]
    where = roots[0].fd
    disk = [_pair(levels) for held in thresholds if (levels := held.disk) is not None]
    inodes = [_pair(levels) for held in thresholds if (levels := held.inodes) is not None]
    return [
        SpaceGauge(Resource.DISK, where, disk, clock=clock),
        SpaceGauge(Resource.INODES, where, inodes, clock=clock),
        *_memory([held.memory for held in thresholds if held.memory is not None], clock),
        *_caps(roots, clock),
    ]


def _pair(levels: SpaceLevels) -> tuple[Level, Level]:
    return levels.min_free, levels.min_free.scaled(TARGET_FACTOR) if levels.target_free is None else levels.target_free


def _memory(found: Sequence[MemoryLevels], clock: Clock) -> Iterator[Gauge]:
    """One gauge for memory: the first root's that has it on."""
    for levels in found:
        if levels.cgroup is not None and levels.min_available is not None:
            low = levels.min_available
            high = low.scaled(TARGET_FACTOR) if levels.target_available is None else levels.target_available
            if levels.cgroup == HOST:
                yield HostMemoryGauge(low, high, clock=clock)
            else:
                yield CgroupMemoryGauge(levels.cgroup, low, high, clock=clock)
            return


def _caps(roots: Sequence[Root], clock: Clock) -> Iterator[Gauge]:
    for root in roots:
        if root.spec.max_size is not None:
            yield SizeGauge(root, root.spec.max_size, root.spec.target_size, clock=clock)
        if root.spec.max_folders is not None:
            yield FoldersGauge(root, root.spec.max_folders, clock)

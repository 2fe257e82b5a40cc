"""The metrics of sizes: how old they are, how many are not known yet, and what it takes to know them.

Declarations only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.sidecar.metrics import labels
from gcsidecar.sidecar.metrics.filesystems import WITH_FILESYSTEM
from gcsidecar.sidecar.metrics.metric import Metric
from gcsidecar.sidecar.metrics.readers import counted, filesystem_names, of_filesystems

if TYPE_CHECKING:
    from typing import Literal

    from gcsidecar.sidecar.metrics.metric import Reader


def _of_filesystem(
    name: str, kind: Literal["gauge", "counter"], help_: str, read: Reader, query: str, goes: str = WITH_FILESYSTEM
) -> Metric:
    return Metric(f"gcsidecar_filesystem_{name}", kind, help_, read, query, goes, (labels.FILESYSTEM,))


LOOKED_AT = _of_filesystem(
    "size_entries_total",
    "counter",
    "Files and directories on a filesystem that were looked at for sizes of folders since the start, by the sidecar "
    "and by the processes that measure for it; those of the short look before each eviction are not among them.",
    counted("gcsidecar_filesystem_size_entries_total", filesystem_names),
    "rate(gcsidecar_filesystem_size_entries_total[5m])",
)

SIZES = (
    _of_filesystem(
        "oldest_size_timestamp_seconds",
        "gauge",
        "When the folder of a filesystem that was measured the longest ago was measured, in seconds since 1970. "
        "Folders are measured by use; what nobody uses, again once its size is older than measure.stale_after, while "
        "nothing else is to do.",
        lambda view: [((one.filesystem,), one.oldest_at) for one in view.sizes() if one.oldest_at is not None],
        "time() - gcsidecar_filesystem_oldest_size_timestamp_seconds",
        f"while no size is known there, and {WITH_FILESYSTEM}",
    ),
    _of_filesystem(
        "unmeasured_ratio",
        "gauge",
        "The share of the folders of a filesystem, 0 to 1, whose size was never measured; 0 where there are none. What "
        "is known goes before what is not, and each is looked at before it goes.",
        lambda view: [((one.filesystem,), one.unmeasured / max(1, one.folders)) for one in view.sizes()],
        "max_over_time(gcsidecar_filesystem_unmeasured_ratio[1h])",
    ),
    _of_filesystem(
        "measuring_folders",
        "gauge",
        "Folders of a filesystem that a process beside the sidecar is to measure as soon as it can, and hasn't yet: a "
        "first scan, or large ones. 0 at rest, when there is no such process.",
        of_filesystems(lambda filesystem: filesystem.to_be_measured),
        "max_over_time(gcsidecar_filesystem_measuring_folders[1h])",
    ),
    LOOKED_AT,
)

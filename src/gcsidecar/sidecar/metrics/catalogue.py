"""The catalogue: every metric there is, in the order of the exposition and of `docs/metrics.md`.

What isn't here is not exported, and what is here is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.sidecar.metrics.evictions import EVICTIONS
from gcsidecar.sidecar.metrics.filesystems import CAPS, FILESYSTEMS
from gcsidecar.sidecar.metrics.leases import REAPED
from gcsidecar.sidecar.metrics.process import PROCESS
from gcsidecar.sidecar.metrics.roots import ROOTS
from gcsidecar.sidecar.metrics.sizes import SIZES

if TYPE_CHECKING:
    from gcsidecar.sidecar.metrics.metric import Metric

CHAPTERS: dict[str, tuple[Metric, ...]] = {
    "Filesystems": (*FILESYSTEMS, *SIZES),
    "Roots": (*ROOTS, REAPED),
    "Caps of roots": CAPS,
    "Evictions": EVICTIONS,
    "The sidecar itself": PROCESS,
}
CATALOGUE: tuple[Metric, ...] = tuple(metric for chapter in CHAPTERS.values() for metric in chapter)

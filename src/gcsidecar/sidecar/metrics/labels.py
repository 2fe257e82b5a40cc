"""The labels: what each tells apart, and how many values it can take.

No absolute path and no lease's name is ever one, and no value stands for the sum of the others.
"""

from __future__ import annotations

from gcsidecar.cache.folder import MAX_IDLE
from gcsidecar.cache.root import STANDBY
from gcsidecar.cache.tally import State
from gcsidecar.gc.execution import PAUSED
from gcsidecar.gc.planning import WITHOUT_SIZE
from gcsidecar.gc.pressure import Resource
from gcsidecar.gc.registry import BACKED_OFF, UNMEASURED
from gcsidecar.sidecar.metrics.metric import Label

OTHER = "other"
SPACE = (Resource.DISK, Resource.INODES, Resource.MEMORY)
CAPS = (Resource.SIZE, Resource.FOLDERS)
ROLES = ("active", "standby", "dry-run", "missing", "blocked")
WATCH_STATES = ("ok", "degraded", "off")
EVICTION_REASONS = (*(resource.value for resource in Resource), MAX_IDLE)
# What every root meets sooner or later has its series from the start; the rest when it happens.
COMMON_KEPT_REASONS = ("leased", "pinned", "young", "newest", WITHOUT_SIZE, BACKED_OFF, PAUSED)
RARE_KEPT_REASONS = (
    UNMEASURED,
    STANDBY,
    *("in-use", "unreadable", "obstacle", "mounted", "parked", "evicting", "changed", "gone", "stopped"),
)
KEPT_REASONS = COMMON_KEPT_REASONS + RARE_KEPT_REASONS


def _listed(name: str, meaning: str, values: tuple[str, ...]) -> Label:
    return Label(name, meaning, f"{len(values)}", values)


VERSION = Label("version", "The version of gcsidecar that runs.", "1")
ROOT = Label("root", "A root, by its `name` in the config.", "the roots in the config")
FILESYSTEM = Label(
    "filesystem", "A filesystem that holds roots, by the name of the first of them in the config.", "at most the roots"
)
KIND = Label("kind", "The type of a filesystem, as `/proc/self/mountinfo` has it: `ext4`, `tmpfs`.", "one a filesystem")
FOLDER = Label(
    "folder",
    r"A folder, by its path relative to its root; a byte that isn't printable UTF-8, and `\`, is written as `\xNN`.",
    "the root's `top_folders`, 20 by default",
)
STATE = _listed(
    "state",
    "What a folder is; of several the first counts: leased (in use), pinned (`keep`), young (`min_age`), idle.",
    tuple(state.value for state in State),
)
LEASE_STATE = _listed("state", "Whether a lease was untouched for longer than `lease.ttl`.", ("live", "stale"))
WATCH_STATE = _listed("state", "How directories are watched.", WATCH_STATES)
ROLE = _listed("role", "What the sidecar is to a root.", ROLES)
RESOURCE = _listed("resource", "What can run out on a filesystem.", tuple(resource.value for resource in SPACE))
CAP = _listed("resource", "What a root is capped by.", tuple(resource.value for resource in CAPS))
EVICTION_REASON = _listed(
    "reason",
    "What a folder was evicted for: the resource that was scarce, or `max-idle`. The first, where there were several.",
    (*EVICTION_REASONS, OTHER),
)
KEPT_REASON = _listed("reason", "Why a folder was kept.", (*KEPT_REASONS, OTHER))


def known(reason: str, reasons: tuple[str, ...]) -> str:
    """A reason that may be a label's value: whatever isn't in the list is one and the same."""
    return reason if reason in reasons else OTHER

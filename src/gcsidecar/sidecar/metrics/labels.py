"""The labels: what each tells apart, and how many values it can take.

No absolute path and no lease's name is ever one, and no value stands for the sum of the others.
"""

from __future__ import annotations

from gcsidecar.cache.custody import STANDBY
from gcsidecar.cache.eviction.protocol import IMMOVABLE
from gcsidecar.cache.folders.folder import MAX_IDLE
from gcsidecar.cache.folders.tally import State
from gcsidecar.cache.use.locks import LOCKED
from gcsidecar.cache.use.open_files import OPEN
from gcsidecar.cache.use.verdict import End
from gcsidecar.cache.walking.look import AT_WORK
from gcsidecar.gc.execution import PAUSED, USED
from gcsidecar.gc.planning import WITHOUT_SIZE
from gcsidecar.gc.pressure import Resource
from gcsidecar.gc.registry import BACKED_OFF, UNMEASURED
from gcsidecar.sidecar.metrics.metric import Label

OTHER = "other"
SPACE = (Resource.DISK, Resource.INODES, Resource.MEMORY)
CAPS = (Resource.SIZE, Resource.FOLDERS)
ROLES = ("active", "standby", "dry-run", "missing", "blocked")
LEASE_STATES = ("live", "stale", "dead")
ENDS = tuple(end.value for end in End)
WATCH_STATES = ("ok", "degraded", "off")
EVICTION_REASONS = (*(resource.value for resource in Resource), MAX_IDLE)
# What a collection tells apart and what an operator does: the log has each reason, a metric only those that lead to
# something else to be done. A root has a series for each, so they are few.
KEPT_REASONS = {
    "leased": ("leased", "in-use", "parked", LOCKED, OPEN, AT_WORK),
    "pinned": ("pinned",),
    "young": ("young",),
    "newest": ("newest",),
    WITHOUT_SIZE: (WITHOUT_SIZE, UNMEASURED),
    BACKED_OFF: (BACKED_OFF, PAUSED),
    "obstacle": ("obstacle", "mounted", IMMOVABLE, "unreadable"),
    OTHER: (STANDBY, "evicting", "changed", USED, "gone", "stopped"),
}


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
LEASE_STATE = _listed(
    "state",
    "What a lease is: live; stale (no lock and no heartbeat vouches for it, and it was not touched for long); dead (it "
    "holds nothing any more, and could not be removed).",
    LEASE_STATES,
)
END = _listed("reason", "Why a lease ended: its holder is dead, or its heartbeat stayed away (expired).", ENDS)
WATCH_STATE = _listed("state", "How directories are watched.", WATCH_STATES)
ROLE = _listed("role", "What the sidecar is to a root.", ROLES)
RESOURCE = _listed("resource", "What can run out on a filesystem.", tuple(resource.value for resource in SPACE))
CAP = _listed("resource", "What a root is capped by.", tuple(resource.value for resource in CAPS))
EVICTION_REASON = _listed(
    "reason",
    "What a folder was evicted for: the resource that was scarce, or `max-idle`. The first, where there were several.",
    (*EVICTION_REASONS, OTHER),
)
KEPT_REASON = _listed(
    "reason",
    "Why a folder was kept: leased (by a tool's lock or an open file, too, where these count; or a look before its "
    "eviction found somebody at work in it without a lease), pinned, young or newest (`keep_newest`); no-size (it "
    "would bring nothing of what is scarce); backed-off (it failed a moment ago, or eviction is paused); obstacle (a "
    "mount, a lower layer or missing rights stand in the way); other (it is under way or changed meanwhile, or another "
    "sidecar acts there).",
    tuple(KEPT_REASONS),
)
PRESSURE_RESOURCE = _listed("resource", "What tasks wait for.", ("io", "memory"))
SCOPE = Label(
    "scope",
    "Whose tasks: those of a cgroup (the one that `thresholds.memory` names, else the sidecar's own) or of the host.",
    "1 of 2: `cgroup`, `host`",
)

_KEPT_AS = {reason: kept for kept, reasons in KEPT_REASONS.items() for reason in reasons}


def eviction_reason(reasons: tuple[str, ...]) -> str:
    """What an eviction counts under: its first reason; whatever isn't in the list is one and the same."""
    return next((reason for reason in reasons[:1] if reason in EVICTION_REASONS), OTHER)


def kept_reason(reason: str) -> str:
    """What a kept folder counts under."""
    return _KEPT_AS.get(reason, OTHER)

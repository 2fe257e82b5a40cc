"""What is logged of collections: an event a line, with the numbers of its decision, made from the values alone."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from gcsidecar.cache.names import shown
from gcsidecar.sidecar.log import fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsidecar.cache.recovery import Recovered
    from gcsidecar.gc.collection import Collection, Eviction, Failure
    from gcsidecar.gc.planning import Kept, Plan

_log = logging.getLogger("gcsidecar.collection")

# So many folders are named where a plan is only shown.
NAMED = 10


def planned(filesystem: str, plan: Plan, *, dry_run: bool) -> None:
    """A plan was made: what was scarce and by how much, what is to go, and why others stay."""
    values: dict[str, object] = {"filesystem": filesystem, "to_evict": len(plan.steps)}
    for want in plan.wants:
        held = want.threshold
        name = f"{held.resource}_{held.group}" if held.group else held.resource.value
        values |= {f"{name}_free": want.measurement.free, f"{name}_trigger": held.trigger}
        values |= {f"{name}_target": held.target, f"{name}_deficit": want.deficit}
    reasons = Counter(kept.reason for kept in plan.kept)
    values |= {f"kept_{reason.replace('-', '_')}": count for reason, count in reasons.items()}
    if dry_run:
        values["would_evict"] = ",".join(shown(step.candidate.key) for step in plan.steps[:NAMED])
    if plan.steps:
        _log.info("planned", extra=fields(**values))
    else:
        _log.warning("nothing-to-evict", extra=fields(**values))


def evicted(eviction: Eviction) -> None:
    """A folder is gone: why, what it was expected to bring, and what the resources got back."""
    _log.info(
        "evicted",
        extra=fields(
            root=eviction.group,
            folder=shown(eviction.key),
            reasons=",".join(eviction.reasons),
            idle_seconds=eviction.idle_seconds,
            seconds=eviction.seconds,
            **{f"expected_{resource}": eviction.expected.get(resource) for resource in eviction.reclaimed},
            **{f"reclaimed_{resource}": amount for resource, amount in eviction.reclaimed.items()},
            clamped=eviction.clamped,
        ),
    )


def failed(failures: Sequence[Failure]) -> None:
    """Evictions that raised."""
    for failure in failures:
        extra = fields(root=failure.group, folder=shown(failure.key), error=str(failure.error))
        _log.warning("eviction-failed", extra=extra)


def kept(those: Sequence[Kept]) -> None:
    """Folders that were to go, and were found to be in use when it came to it."""
    for one in those:
        _log.info("kept", extra=fields(root=one.group, folder=shown(one.key), reason=one.reason))


def collected(filesystem: str, collection: Collection) -> None:
    """A collection in which something went is over."""
    _log.info(
        "collected",
        extra=fields(
            filesystem=filesystem,
            evicted=len(collection.evictions),
            failed=len(collection.failures),
            **{f"wanted_{resource}": amount for resource, amount in collection.wanted.items()},
            **{f"reclaimed_{resource}": amount for resource, amount in collection.reclaimed.items()},
        ),
    )


def recovered(root: str, found: Recovered) -> None:
    """What was found in a root's `.gcsidecar/`, and done about it."""
    for event, names in (("restored", found.restored), ("parked", found.parked), ("deleted-rest", found.deleted)):
        for name in names:
            _log.info(event, extra=fields(root=root, folder=shown(name)))
    for name, failure in found.failures:
        _log.warning("cannot-delete", extra=fields(root=root, folder=shown(name), error=str(failure)))

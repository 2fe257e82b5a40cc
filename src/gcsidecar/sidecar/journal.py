"""What is logged of collections: an event a line, with the numbers of its decision, made from the values alone."""

from __future__ import annotations

import logging
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from gcsidecar.cache.folders.folder import Folder
from gcsidecar.cache.names import shown
from gcsidecar.sidecar.log import fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcsidecar.cache.eviction.recovery import Recovered
    from gcsidecar.cache.regrets import Regret
    from gcsidecar.cache.use.verdict import Reaped
    from gcsidecar.gc.clock import Clock
    from gcsidecar.gc.collection import Collection, Eviction, Failure
    from gcsidecar.gc.planning import Kept, Plan

_log = logging.getLogger("gcsidecar.collection")
_lease_log = logging.getLogger("gcsidecar.leases")
_history_log = logging.getLogger("gcsidecar.history")

# So many folders are named where there may be very many.
NAMED = 10
# What goes on is told of again after so long.
AGAIN_SECONDS = 60.0


class Patience:
    """So that a state is told of once in a while, and not at each of many looks at it: leases come and go all the time.

    Args:
        clock: Both clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._again_at: dict[object, float] = {}

    def allows(self, subject: object) -> bool:
        """Whether it was not told of for a while; then it counts as told."""
        monotonic = self._clock.monotonic()
        if monotonic < self._again_at.get(subject, 0.0):
            return False
        self._again_at = {known: at for known, at in self._again_at.items() if at > monotonic}
        self._again_at[subject] = monotonic + AGAIN_SECONDS
        return True


def planned(filesystem: str, plan: Plan, patience: Patience, *, dry_run: bool) -> None:
    """A plan was made: what was scarce and by how much, what is to go, and why others stay."""
    scarce = tuple((want.threshold.resource, want.threshold.group) for want in plan.wants)
    named = ",".join(shown(step.candidate.key) for step in plan.steps[:NAMED])
    if (dry_run or not plan.steps) and not patience.allows((scarce, named)):
        return
    values: dict[str, object] = {"filesystem": filesystem, "to_evict": len(plan.steps)}
    for want in plan.wants:
        held = want.threshold
        name = f"{held.resource}_{held.group}" if held.group else held.resource.value
        values |= {f"{name}_free": want.measurement.free, f"{name}_trigger": held.trigger}
        values |= {f"{name}_target": held.target, f"{name}_deficit": want.deficit}
    reasons: Counter[str] = Counter()
    for kept in plan.kept:
        reasons[kept.reason] += kept.count
    values |= {f"kept_{reason.replace('-', '_')}": count for reason, count in reasons.items()}
    if obstacles := list(islice(_obstacles(plan), NAMED)):
        values["obstacles"] = "; ".join(obstacles)
    if dry_run:
        values["would_evict"] = named
    if plan.steps:
        _log.info("planned", extra=fields(**values))
    else:
        _log.warning("nothing-to-evict", extra=fields(**values))


def _obstacles(plan: Plan) -> Iterator[str]:
    """What stands in the way of deleting folders whole, as their last measuring found it."""
    for kept in plan.kept:
        if isinstance(kept.subject, Folder) and kept.reason == "obstacle" and kept.subject.obstacle is not None:
            yield f"{shown(kept.key)}/{shown(kept.subject.obstacle)}"


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


def regretted(regret: Regret) -> None:
    """A folder came back under a name that was evicted not long ago."""
    _log.info(
        "regretted",
        extra=fields(
            root=regret.root,
            folder=shown(regret.folder),
            evicted_seconds_ago=regret.returned_at - regret.evicted_at,
            disk_bytes=regret.disk_bytes,
        ),
    )


def reaped(one: Reaped) -> None:
    """A lease had ended although its file was there, and was removed: whose it was by its own word, and why."""
    ended = one.ended
    values: dict[str, object] = {"lease": shown(ended.lease.path), "why": ended.why.value, "alive_at": ended.alive_at}
    holder = ended.holder
    if holder is not None:
        values |= {"pid": holder.pid, "host": holder.host, "purpose": holder.purpose, "since": holder.at}
    _lease_log.info("lease-reaped", extra=fields(root=one.root, folder=shown(one.folder), **values))


def history(root: str, event: str, problem: str) -> None:
    """What becomes of a root's history has changed."""
    values = {"problem": problem} if problem else {}
    _history_log.log(logging.WARNING if problem else logging.INFO, event, extra=fields(root=root, **values))


def inodes_uncounted(filesystem: str, kind: str) -> None:
    """A filesystem doesn't count its inodes (btrfs), so nothing can be held to thresholds for them; told of once."""
    _log.info("inodes-uncounted", extra=fields(filesystem=filesystem, kind=kind))


def clock_jumped(root: str, seconds: float) -> None:
    """The calendar's clock jumped; ages and idle times were set right."""
    _log.warning("clock-jumped", extra=fields(root=root, seconds=seconds))


def failed(failures: Sequence[Failure]) -> None:
    """Evictions that raised."""
    for failure in failures:
        extra = fields(root=failure.group, folder=shown(failure.key), error=str(failure.error))
        _log.warning("eviction-failed", extra=extra)


def kept(those: Sequence[Kept], patience: Patience) -> None:
    """Folders that were to go, and were kept when it came to it: a line for each reason, the first of them named."""
    names: dict[tuple[str, str], list[str]] = {}
    for one in those:
        names.setdefault((one.group, one.reason), []).append(shown(one.key))
    for (root, reason), found in names.items():
        if patience.allows((root, reason, *found[:NAMED])):
            named = ",".join(found[:NAMED])
            _log.info("kept", extra=fields(root=root, reason=reason, folders=len(found), named=named))


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

"""The verdict on the leases of one folder: which hold it, how surely, and which have ended although they are there.

Values only; `liveness.py` comes to them, and `reaping.py` acts on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsidecar.cache.use.lease import Lease
    from gcsidecar.contract import Holder


class End(StrEnum):
    """Why a lease has ended although its file is there."""

    DEAD = "dead"  # the file says that it is locked, and nobody holds the lock
    EXPIRED = "expired"  # its heartbeat stayed away


@dataclass(frozen=True, slots=True)
class Ended:
    """A lease that no longer holds its folder.

    Attributes:
        lease: Which.
        why: Why not.
        holder: Who held it, as its file says; none for a bare one.
        alive_at: The holder's last sign of life, POSIX seconds.
    """

    lease: Lease
    why: End
    holder: Holder | None
    alive_at: float


@dataclass(frozen=True, slots=True)
class Reaped:
    """A lease that was removed, since it had ended.

    Attributes:
        root: The name of the root.
        folder: The name of the folder.
        ended: The lease, and why it ended.
    """

    root: str
    folder: str
    ended: Ended


@dataclass(frozen=True, slots=True)
class Leases:
    """The leases of one folder, judged.

    Attributes:
        holding: Those that hold it.
        stale: How many of these are suspect (nobody vouches for them, and they are old), and hold it all the same.
        vouched: How many hold it by a lock or a heartbeat of their own, and not merely by being there.
        ended: Those that hold it no longer, and are to be reaped.
    """

    holding: tuple[Lease, ...] = ()
    stale: int = 0
    vouched: int = 0
    ended: tuple[Ended, ...] = ()

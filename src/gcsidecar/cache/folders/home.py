"""What folders need of their root: what it is configured to be, and who restrains and evicts them.

A protocol only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gcsidecar.cache.custody import Custody
    from gcsidecar.cache.jumps import Jumps
    from gcsidecar.cache.restraints import Restraints


class Home(Protocol):
    """The root of a folder.

    Attributes:
        in_memory: Whether what lies there takes memory.
        restraints: For what reasons beyond their own it keeps folders.
        custody: Who evicts them.
        jumps: Those of the calendar's clock.
    """

    name: str
    priority: int
    min_age_seconds: float
    max_idle_seconds: float | None
    in_memory: bool
    restraints: Restraints
    custody: Custody
    jumps: Jumps

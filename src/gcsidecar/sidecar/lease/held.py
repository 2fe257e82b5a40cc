"""One lease as `lease list` tells of it; a value only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsidecar.contract import Holder


@dataclass(frozen=True, slots=True)
class Held:
    """One lease, as it is listed.

    Attributes:
        folder: The path of the folder.
        lease: The path of the lease file; none for a lock on the folder itself, whose holder nothing names.
        how: How it is known: by a `file`, by its `heartbeat`, by a `lock`.
        state: `live`; `stale`: it holds, but nobody vouches for it, and it is old; `dead`: it holds nothing any more.
        since: Since when, POSIX seconds; of a file that says nothing, when it was last touched.
        touched_at: When its file was last touched.
        holder: What the file says, if it is of our client.
    """

    folder: str
    lease: str | None
    how: str
    state: str
    since: float | None
    touched_at: float | None
    holder: Holder | None

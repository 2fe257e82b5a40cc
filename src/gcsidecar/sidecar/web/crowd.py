"""All connections there are, and who has to go when there are too many.

Those who wait go first, so that no number of silent clients keeps a scraper out: never asked, longest first; then
asked before, longest first; then those who don't take their answer.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from gcsidecar.sidecar.web.connection import Connection, Phase

if TYPE_CHECKING:
    from gcsidecar.sidecar.web.limits import WebLimits


class Crowd:
    """Keeps the connections within the limits."""

    def __init__(self, limits: WebLimits) -> None:
        self._limits = limits
        # Descriptors are needed for deleting folders first of all.
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = limits.connections if descriptors < 0 else min(limits.connections, max(1, descriptors // 4))
        self._members: set[Connection] = set()

    async def host(self, connection: Connection) -> None:
        """Serve a newcomer, for whom another may have to go."""
        if len(self._members) >= self._most:
            self.make_room()
        self._members.add(connection)
        try:
            await connection.serve()
        finally:
            self._members.discard(connection)

    def make_room(self) -> bool:
        """Close the connection that is missed least; whether there was one.

        Never one whose answer is being made, of which there are few.
        """
        waiting = [member for member in self._members if member.phase is not Phase.ASKING]
        if waiting:
            self._drop(min(waiting, key=lambda member: (member.phase, member.since)))
        return bool(waiting)

    def bound_unsent(self) -> None:
        """Of more unsent answers than may be, drop the oldest."""
        sending = [member for member in self._members if member.phase is Phase.SENDING]
        if len(sending) > self._limits.unsent_answers:
            self._drop(min(sending, key=lambda member: member.since))

    def retire(self) -> None:
        """Close every connection as soon as what it asked is answered."""
        for member in list(self._members):
            member.retire()

    def close(self) -> None:
        """Close every connection."""
        for member in list(self._members):
            self._drop(member)

    def _drop(self, member: Connection) -> None:
        # Not counted from now on, although its task ends a turn of the loop later.
        self._members.discard(member)
        member.close()

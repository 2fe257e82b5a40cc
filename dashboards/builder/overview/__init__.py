"""The overview: a fleet of sidecars. Is anything wrong, and where; how full are they; what went.

Whatever it points at is looked at closely in the dashboard of that one cache.
"""

from __future__ import annotations

from builder import variables
from builder.overview import evictions, fullness, owners, processes, trouble, who
from builder.page import Chapter, Page, of_process
from builder.scope import FLEET


def page() -> Page:
    """The whole dashboard."""
    return Page(
        uid="gcsidecar-overview",
        title="gcsidecar / Overview",
        what="A fleet of sidecars: who is in trouble, how full their filesystems are, and what they evict.",
        variables=variables.of_fleet(),
        chapters=(
            Chapter("Is anything wrong?", (*trouble.numbers(), who.who())),
            fullness.chapter(),
            owners.chapter(),
            evictions.chapter(),
            processes.chapter(),
        ),
        notes=of_process(FLEET),
    )

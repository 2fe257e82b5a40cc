"""The health of sidecars: whether they run, see and measure, what goes wrong in them, and what they cost."""

from __future__ import annotations

from builder import variables
from builder.health import cost, failures, history, numbers, sight, work
from builder.page import Chapter, Page, of_process
from builder.scope import FLEET


def page() -> Page:
    """The whole dashboard."""
    return Page(
        uid="gcsidecar-health",
        title="gcsidecar / Sidecar health",
        what="Whether sidecars run, see what happens and measure it, what goes wrong in them, and what they cost.",
        variables=variables.of_fleet(),
        chapters=(
            Chapter("Is anything wrong?", numbers.numbers()),
            work.chapter(),
            sight.chapter(),
            failures.chapter(),
            history.chapter(),
            cost.chapter(),
        ),
        notes=of_process(FLEET),
    )

"""The dashboard of one cache: a module for each question, from top to bottom as one asks them."""

from __future__ import annotations

from builder import variables
from builder.cache import caps, detail, evictions, fullness, leases, owners, regrets, state
from builder.page import Page, of_process
from builder.scope import SIDECAR


def page() -> Page:
    """The whole dashboard."""
    return Page(
        uid="gcsidecar-cache",
        title="gcsidecar / Cache",
        what="The roots of one sidecar: how full, who owns the disk, what was evicted and why, was it right.",
        variables=variables.of_sidecar(),
        chapters=(
            state.chapter(),
            fullness.chapter(),
            owners.chapter(),
            evictions.chapter(),
            regrets.chapter(),
            leases.chapter(),
            caps.chapter(),
            *detail.chapters(),
        ),
        notes=of_process(SIDECAR),
    )

"""Is each at its work?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder import fields
from builder.fields import words
from builder.health.numbered import meanings, numbered
from builder.page import Chapter
from builder.panels import Query, Text, states
from builder.scope import FLEET

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import statetimeline


ROLES = {
    "active": fields.GREEN,
    "standby": fields.BLUE,
    "dry-run": fields.PURPLE,
    "missing": fields.ORANGE,
    "blocked": fields.RED,
}


def chapter() -> Chapter:
    """Its panels."""
    return Chapter("Is each at its work?", (running(), roles(), versions()))


def running() -> statetimeline.Panel:
    """By instance."""
    return states(
        Text("Up, by instance", "Whether each could be scraped. A gap is a target that Prometheus didn't know.", 8),
        Query(f"max by (instance) ({FLEET('up')})", "{{instance}}"),
        meanings=words((0, "down", fields.RED), (1, "up", fields.GREEN)),
    )


def roles() -> statetimeline.Panel:
    """By root."""
    return states(
        Text(
            "Role on each root",
            "active; standby: another sidecar acts on it, this one takes over when that is gone; dry-run; missing: "
            "there is no such directory yet, or it can't be opened; blocked: .gcsidecar/ can't be made in it.",
            8,
            alerts=("GcsidecarRootMissing", "GcsidecarRootBlocked", "GcsidecarStandby"),
        ),
        Query(numbered("gcsidecar_root_role", "role", ROLES, "instance, root"), "{{instance}} {{root}}"),
        meanings=meanings(ROLES),
    )


def versions() -> statetimeline.Panel:
    """By instance."""
    return states(
        Text("Version", "What runs where, and since when.", 8),
        Query(f"max by (instance, version) ({FLEET('gcsidecar_build_info')})", "{{instance}} {{version}}"),
        meanings=words((1, "runs", fields.BLUE)),
    )

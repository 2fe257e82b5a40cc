"""The config as a value: every key of the file with its default, complete once the loader has made it.

Only types and what can be said from them alone; reading and checking is done elsewhere.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta

from gcsidecar.cache.spec import MeasureSpec, RootSpec, Thresholds

DEFAULT_LISTEN = ":10977"


class LogSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the process logs; always to stderr, a line an event."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="What is less important is not logged.")
    ] = "info"
    format: Annotated[
        Literal["logfmt", "json"], Meta(description="logfmt for people and Loki, json for what needs it.")
    ] = "logfmt"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that one process is told."""

    listen: Annotated[
        str | Annotated[tuple[str, ...], Meta(min_length=1)],
        Meta(description='Where metrics are served: ":PORT", "HOST:PORT", or a list of them.'),
    ] = DEFAULT_LISTEN
    log: Annotated[LogSpec, Meta(description="How it logs.")] = LogSpec()
    dry_run: Annotated[
        bool, Meta(description="Plan and export, but evict and create nothing; a read-only mount will do.")
    ] = False
    thresholds: Annotated[
        Thresholds, Meta(description="For every filesystem that holds a root; a root may override them.")
    ] = Thresholds()
    measure: Annotated[MeasureSpec, Meta(description="What it may cost to know sizes, on each filesystem.")] = (
        MeasureSpec()
    )
    roots: Annotated[tuple[RootSpec, ...], Meta(min_length=1, description="The cache directories.")]

    @property
    def listen_addresses(self) -> tuple[str, ...]:
        """All addresses to listen on."""
        return (self.listen,) if isinstance(self.listen, str) else self.listen

    def thresholds_of(self, root: RootSpec) -> Thresholds:
        """What holds for a root's filesystem as far as this root says: its own thresholds over the common ones."""
        own, common = root.thresholds, self.thresholds
        return Thresholds(
            disk=common.disk if own.disk is UNSET else own.disk,
            inodes=common.inodes if own.inodes is UNSET else own.inodes,
            memory=common.memory if own.memory is UNSET else own.memory,
        )

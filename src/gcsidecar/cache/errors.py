"""What can go wrong with folders on disk; all are `GcsidecarError`s."""

from __future__ import annotations

from gcsidecar.errors import GcsidecarError


class RootUnavailableError(GcsidecarError):
    """A root can't be used now: it is missing, hidden, replaced, or no directory. It is tried again."""


class StateDirectoryError(GcsidecarError):
    """`.gcsidecar/` of a root can't be made or isn't ours; nothing can be evicted there until it can."""


class EvictionError(GcsidecarError):
    """A folder could not be moved out of the way; it is untouched, and tried again later."""


class RemovalError(GcsidecarError):
    """A folder was evicted, but some of what is in it could not be deleted; that is tried again later."""

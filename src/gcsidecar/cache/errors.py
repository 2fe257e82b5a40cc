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


class HistoryError(GcsidecarError):
    """The history of a root can't be kept now; evictions go on without it."""


class HistoryDamagedError(HistoryError):
    """What lies in the history's place is damaged, or no history of ours: it is set aside, and begun anew."""


class HistoryLostError(HistoryError):
    """The history was deleted or replaced under our hands: what is there now is opened."""


class HistoryUnavailableError(HistoryError):
    """The history can't be read or written now (a full disk, a read-only mount): that is tried again."""


class HistoryFullError(HistoryUnavailableError):
    """There is no room on the disk for what is to be recorded now; the history stays open for when there is."""

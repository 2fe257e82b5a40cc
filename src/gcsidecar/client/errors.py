"""What can go wrong when a lease is taken; all are `GcsidecarError`s."""

from __future__ import annotations

from gcsidecar.errors import GcsidecarError


class LeaseError(GcsidecarError):
    """A lease could not be taken; raised itself where the filesystem refuses (its cause is the `OSError`)."""


class LeaseRefusedError(LeaseError):
    """The path is no folder that could be leased: a lease there would protect nothing. Trying again is no use."""


class FolderMissingError(LeaseError):
    """There is no such folder, and it was not to be made."""


class LeaseTimeoutError(LeaseError):
    """The folder could not be had within the time: somebody has it locked, or its name changes all the time."""

"""The one base class of every error this project raises on purpose.

It stands below all rooms, so that each can have errors of its own and a caller can catch them all.
"""


class GcsidecarError(Exception):
    """Base of all errors of gcsidecar; its text says what happened, to what, and what to do."""

"""What can go wrong in the library, one class a cause; all are `GcsidecarError`s.

No error of the operating system is translated here: what a Disposable raises is handed on as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from gcsidecar.errors import GcsidecarError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsidecar.gc.collection import Collection


class DisposableInUseError(GcsidecarError):
    """Raised by `dispose` (and `can_dispose`) of what is in use: it is kept, and nothing is wrong.

    Attributes:
        reason: Why it is kept, a short word such as `leased`; it ends up in `Kept.reason`.
    """

    def __init__(self, text: str = "the resource is in use", *, reason: str = "in-use") -> None:
        super().__init__(text)
        self.reason = reason


class DisposableSizeNotSupportedError(GcsidecarError):
    """Raised by a size method: an unknown, non-trivial amount is used, so that disposing is worth trying."""


class NotAcquiredError(GcsidecarError):
    """`release` was called more often than `acquire`: somebody gives back what is not theirs."""


class MeasurementError(GcsidecarError):
    """A resource could not be measured, so nothing (more) was disposed of.

    Attributes:
        collection: What had been done before the measuring failed; none if nothing had been begun.
    """

    collection: Collection | None = None


class CollectionError(ExceptionGroup[Exception], GcsidecarError):
    """Some disposals failed; the others went on.

    Attributes:
        exceptions: What each failed disposal raised, in their order.
        collection: What was done all the same, the failures included.
    """

    collection: Collection

    def __new__(cls, text: str, errors: Sequence[Exception], collection: Collection) -> Self:
        """Make the group; `collection` goes along."""
        self = super().__new__(cls, text, errors)
        self.collection = collection
        return self

    def __init__(self, text: str, errors: Sequence[Exception], collection: Collection) -> None:
        super().__init__(text, errors)
        self.collection = collection

    def __reduce__(self) -> tuple[object, ...]:
        """How it is copied and pickled: with `collection`, which the base class knows nothing of."""
        return type(self), (self.message, self.exceptions, self.collection), self.__dict__

    def derive(self, excs: Sequence[Exception]) -> CollectionError:  # type: ignore[override]
        """The same group with other members, for `split`, `subgroup` and `except*`."""
        return CollectionError(self.message, excs, self.collection)

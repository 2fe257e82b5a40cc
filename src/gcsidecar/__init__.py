"""Keeps shared caches from filling up; the garbage collection library that does it can be used alone.

The public names are imported when they are first asked for: whoever needs one pays for no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsidecar.errors import GcsidecarError
    from gcsidecar.gc.collection import Collection, Eviction, Failure
    from gcsidecar.gc.collector import GarbageCollector
    from gcsidecar.gc.disposable import Disposable, DisposableResource, RankedDisposable, ResourceTracker
    from gcsidecar.gc.errors import (
        CollectionError,
        DisposableInUseError,
        DisposableSizeNotSupportedError,
        MeasurementError,
        NotAcquiredError,
    )
    from gcsidecar.gc.planning import Candidate, Kept, Plan
    from gcsidecar.gc.pressure import Gauge, Level, Measurement, Resource, Threshold

__version__ = "0.1.0"

_HOME = {
    "Candidate": "gcsidecar.gc.planning",
    "Collection": "gcsidecar.gc.collection",
    "CollectionError": "gcsidecar.gc.errors",
    "Disposable": "gcsidecar.gc.disposable",
    "DisposableInUseError": "gcsidecar.gc.errors",
    "DisposableResource": "gcsidecar.gc.disposable",
    "DisposableSizeNotSupportedError": "gcsidecar.gc.errors",
    "Eviction": "gcsidecar.gc.collection",
    "Failure": "gcsidecar.gc.collection",
    "GarbageCollector": "gcsidecar.gc.collector",
    "Gauge": "gcsidecar.gc.pressure",
    "GcsidecarError": "gcsidecar.errors",
    "Kept": "gcsidecar.gc.planning",
    "Level": "gcsidecar.gc.pressure",
    "Measurement": "gcsidecar.gc.pressure",
    "MeasurementError": "gcsidecar.gc.errors",
    "NotAcquiredError": "gcsidecar.gc.errors",
    "Plan": "gcsidecar.gc.planning",
    "RankedDisposable": "gcsidecar.gc.disposable",
    "Resource": "gcsidecar.gc.pressure",
    "ResourceTracker": "gcsidecar.gc.disposable",
    "Threshold": "gcsidecar.gc.pressure",
}

__all__ = [
    "Candidate",
    "Collection",
    "CollectionError",
    "Disposable",
    "DisposableInUseError",
    "DisposableResource",
    "DisposableSizeNotSupportedError",
    "Eviction",
    "Failure",
    "GarbageCollector",
    "Gauge",
    "GcsidecarError",
    "Kept",
    "Level",
    "Measurement",
    "MeasurementError",
    "NotAcquiredError",
    "Plan",
    "RankedDisposable",
    "Resource",
    "ResourceTracker",
    "Threshold",
    "__version__",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  only who asks for a name pays for finding it

    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__

"""Keeps shared caches from filling up; `lease` keeps a folder, and the library that collects can be used alone.

The public names are imported when they are first asked for: whoever needs one pays for no other.
"""

from __future__ import annotations

TYPE_CHECKING = False  # to type checkers it is true; `typing` itself would cost each short job that takes a lease 8 ms
if TYPE_CHECKING:
    from gcsidecar.client.acquiring import lease
    from gcsidecar.client.errors import FolderMissingError, LeaseError, LeaseRefusedError, LeaseTimeoutError
    from gcsidecar.client.holding import Lease
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
    from gcsidecar.gc.source import DisposableSource

__version__ = "0.1.0"

_HOME = {
    "Candidate": "gcsidecar.gc.planning",
    "Collection": "gcsidecar.gc.collection",
    "CollectionError": "gcsidecar.gc.errors",
    "Disposable": "gcsidecar.gc.disposable",
    "DisposableInUseError": "gcsidecar.gc.errors",
    "DisposableResource": "gcsidecar.gc.disposable",
    "DisposableSizeNotSupportedError": "gcsidecar.gc.errors",
    "DisposableSource": "gcsidecar.gc.source",
    "Eviction": "gcsidecar.gc.collection",
    "Failure": "gcsidecar.gc.collection",
    "FolderMissingError": "gcsidecar.client.errors",
    "GarbageCollector": "gcsidecar.gc.collector",
    "Gauge": "gcsidecar.gc.pressure",
    "GcsidecarError": "gcsidecar.errors",
    "Kept": "gcsidecar.gc.planning",
    "Lease": "gcsidecar.client.holding",
    "LeaseError": "gcsidecar.client.errors",
    "LeaseRefusedError": "gcsidecar.client.errors",
    "LeaseTimeoutError": "gcsidecar.client.errors",
    "Level": "gcsidecar.gc.pressure",
    "Measurement": "gcsidecar.gc.pressure",
    "MeasurementError": "gcsidecar.gc.errors",
    "NotAcquiredError": "gcsidecar.gc.errors",
    "Plan": "gcsidecar.gc.planning",
    "RankedDisposable": "gcsidecar.gc.disposable",
    "Resource": "gcsidecar.gc.pressure",
    "ResourceTracker": "gcsidecar.gc.disposable",
    "Threshold": "gcsidecar.gc.pressure",
    "lease": "gcsidecar.client.acquiring",
}

__all__ = [
    "Candidate",
    "Collection",
    "CollectionError",
    "Disposable",
    "DisposableInUseError",
    "DisposableResource",
    "DisposableSizeNotSupportedError",
    "DisposableSource",
    "Eviction",
    "Failure",
    "FolderMissingError",
    "GarbageCollector",
    "Gauge",
    "GcsidecarError",
    "Kept",
    "Lease",
    "LeaseError",
    "LeaseRefusedError",
    "LeaseTimeoutError",
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
    "lease",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import sys  # noqa: PLC0415  `importlib`, too, would cost each short job a millisecond

    __import__(home)
    return getattr(sys.modules[home], name)


def __dir__() -> list[str]:
    return __all__

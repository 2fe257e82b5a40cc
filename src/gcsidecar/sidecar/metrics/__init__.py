"""The metrics: each is declared once, as a value, and its series are made anew at each scrape.

Nothing here measures, decides or serves.
"""

from __future__ import annotations

from gcsidecar.sidecar.metrics.collector import Metrics

__all__ = ["Metrics"]

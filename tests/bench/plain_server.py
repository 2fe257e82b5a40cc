"""prometheus-client's own server with the series of a text that was scraped before: what the sidecar is held against.

A program of its own: `python -m bench.plain_server PORT FILE`.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric


class _Series(Collector):
    """Gives the same families at each scrape: nothing but rendering and serving is timed."""

    def __init__(self, text: str) -> None:
        self._families = list(text_string_to_metric_families(text))

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def main(port: str, file: str) -> None:
    registry = CollectorRegistry()
    registry.register(_Series(Path(file).read_text()))
    start_http_server(int(port), "127.0.0.1", registry)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])

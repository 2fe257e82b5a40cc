"""Makes the pictures of the dashboards in `docs/`: `make pictures`. It needs root, for small filesystems of its own."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from grafana.board import NAMES, PROJECT, Board
from grafana.choice import Span, choose
from grafana.fleet import Fleet
from grafana.picture import draw, save

if TYPE_CHECKING:
    from e2e.prometheus import Prometheus

LIFE_SECONDS = 300
STEP_SECONDS = 4
SHOWN = {"instance": "builder-1:10977"}


def main() -> None:
    """Let a fleet live, and draw what its Prometheus has of it."""
    parser = argparse.ArgumentParser(prog="grafana", description=__doc__)
    parser.add_argument("--seconds", type=float, default=LIFE_SECONDS, help="how long the fleet lives")
    parser.add_argument("--into", type=Path, default=PROJECT / "docs", help="where the pictures go")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gcsidecar-pictures-") as directory, Fleet(Path(directory)) as fleet:
        began = time.time()
        fleet.live(wanted.seconds)
        pictures(fleet.prometheus, Span(began, time.time(), STEP_SECONDS), wanted.into)


def pictures(prometheus: Prometheus, span: Span, into: Path) -> None:
    """One of each dashboard."""
    for name in NAMES:
        board = Board.read(name)
        path = into / f"{name.replace('gcsidecar', 'dashboard')}.png"
        size_bytes = save(draw(board, choose(board, prometheus, span, SHOWN), span, prometheus), path)
        print(f"{path.name}: {size_bytes / 1024:.0f} KiB")


if __name__ == "__main__":
    main()

"""Writes the dashboards as JSON: `PYTHONPATH=dashboards python -m builder [DIRECTORY]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from builder import cache, health, overview

PAGES = (overview.page, cache.page, health.page)
PLACE = Path(__file__).parent.parent


def documents() -> dict[str, str]:
    """The text of each dashboard, by the name of its file."""
    return {f"{page.uid}.json": _text(page.build()) for page in (each() for each in PAGES)}


def main(place: Path) -> None:
    """Write all."""
    for name, text in documents().items():
        (place / name).write_text(text)


def _text(dashboard: object) -> str:
    return json.dumps(dashboard, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PLACE)

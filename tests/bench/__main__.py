"""`python -m bench` (within `tests/`): measures all figures, prints each beside its goal, and writes the table.

With names it measures those only: `python -m bench start rest`; then nothing is written, unless `--write FILE` says so.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import client, decision, deletion, machine, memory, reaction, rest, scrape, start
from bench.process import compiled_modules
from bench.table import as_markdown, as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.row import LeftOut, Row

FIGURES: dict[str, Callable[[], Iterator[Row | LeftOut]]] = {
    "start": start.rows,
    "memory": memory.rows,
    "reaction": reaction.rows,
    "decision": decision.rows,
    "deletion": deletion.rows,
    "scrape": scrape.rows,
    "rest": rest.rows,
    "client": client.rows,
}
PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C does: what was started and mounted goes
    names = options.figures or list(FIGURES)
    about = [*machine.description(), f"{machine.busy():.2g} other tasks wanted to run in the minute before"]
    print("\n".join(about), end="\n\n", flush=True)
    found: list[Row | LeftOut] = []
    with compiled_modules():
        for row in itertools.chain.from_iterable(FIGURES[name]() for name in names):
            found.append(row)
            print(as_text(row), flush=True)
    page = options.write or (None if options.figures else PAGE)
    if page is not None:
        page.parent.mkdir(exist_ok=True)
        page.write_text(as_markdown(about, found))
        print(f"\nwritten: {page}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="which to measure; all, unless given")
    parser.add_argument("--write", type=Path, metavar="FILE", help="where the table goes; docs/benchmarks.md with all")
    options = parser.parse_args()
    if unknown := [name for name in options.figures if name not in FIGURES]:
        parser.error(f"no such figure: {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    return options


if __name__ == "__main__":
    sys.exit(main())

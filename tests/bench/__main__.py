"""`python -m bench` (within `tests/`): measures all figures, prints each beside its goal, and writes the page.

With names it measures those only, and the page keeps what is known of the others: `python -m bench scan rest`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import (
    cap,
    client,
    decision,
    deletion,
    eviction,
    flood,
    leases,
    machine,
    memory,
    plan,
    reaction,
    rest,
    restart,
    scan,
    scrape,
    shell,
    start,
    storm,
)
from bench.ground import Ground, NotHereError
from bench.page import page
from bench.process import BenchError, compiled_modules
from bench.record import load, record, save
from bench.row import LeftOut, Point, Row
from bench.table import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# In this order: what needs quiet before what deletes on disk, which the disk has to do with for a while afterwards.
FIGURES: dict[str, Callable[[Ground], Iterator[Row | LeftOut | Point]]] = {
    "start": start.rows,
    "plan": plan.rows,
    "memory": memory.rows,
    "scan": scan.rows,
    "restart": restart.rows,
    "leases": leases.rows,
    "scrape": scrape.rows,
    "rest": rest.rows,
    "storm": storm.rows,
    "reaction": reaction.rows,
    "flood": flood.rows,
    "cap": cap.rows,
    "decision": decision.rows,
    "shell": shell.rows,
    "client": client.rows,
    "deletion": deletion.rows_in_memory,
    "eviction": eviction.rows_in_memory,
    "deletion-disk": deletion.rows_on_disk,
    "eviction-disk": eviction.rows_on_disk,
}
DOCS = Path(__file__).resolve().parents[2] / "docs"
# All that is counted in a small run is so much of what it is else.
_QUICK_SHARE = 0.01


def main() -> int:
    options = _options()
    if options.list:
        for name, rows in FIGURES.items():
            print(f"{name:<14} {(sys.modules[rows.__module__].__doc__ or '').partition(chr(10))[0]}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C does: what was started and mounted goes
    print("\n".join(machine.description()), end="\n\n", flush=True)
    failed = []
    if not options.page:
        with compiled_modules(), Ground(_QUICK_SHARE if options.quick else 1.0) as ground:
            failed = [name for name in options.figures or FIGURES if not _measure(name, ground, options.docs)]
    if not options.quick:
        _write_page(options.docs)
    if failed:
        print(f"\nfailed, and left as they were: {', '.join(failed)}")
    return 1 if failed else 0


def _measure(name: str, ground: Ground, docs: Path) -> bool:
    """Measure one figure, print it, and keep it; False where it could not be measured although it should."""
    busy, began = machine.busy(), time.monotonic()
    found: list[Row | LeftOut | Point] = []
    try:
        for one in FIGURES[name](ground):
            found.append(one)
            if isinstance(one, Row | LeftOut):
                print(("" if ground.share == 1.0 else "[small, does not count] ") + as_text(one), flush=True)
    except NotHereError as error:
        left_out = LeftOut(name, str(error))
        found = [left_out]
        print(as_text(left_out), flush=True)
    except BenchError as error:
        print(f"{name}\n  failed: {error}", flush=True)
        return False
    if ground.share == 1.0:
        minutes = (time.monotonic() - began) / 60
        kept = record(found, busy=busy, minutes=minutes, machine=machine.description())
        save(docs / "benchmarks.json", {**load(docs / "benchmarks.json"), name: kept})
    return True


def _write_page(docs: Path) -> None:
    """Make the page and its pictures from all that is known."""
    from bench import plots  # noqa: PLC0415  what it draws with takes a second or more to import

    known = load(docs / "benchmarks.json")
    records = {name: known[name] for name in FIGURES if name in known}
    pictures = plots.draw([point for one in records.values() for point in one.points], docs)
    (docs / "benchmarks.md").write_text(page(records, pictures))
    print(f"\nwritten: {docs / 'benchmarks.md'}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="which to measure; all, unless given")
    parser.add_argument("--list", action="store_true", help="say which figures there are")
    parser.add_argument("--quick", action="store_true", help="all a hundred times smaller, to try it; nothing is kept")
    parser.add_argument("--page", action="store_true", help="measure nothing, only write the page anew")
    parser.add_argument("--docs", type=Path, default=DOCS, metavar="DIRECTORY", help="where the page and its data are")
    options = parser.parse_args()
    if unknown := [name for name in options.figures if name not in FIGURES]:
        parser.error(f"no such figure: {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    return options


if __name__ == "__main__":
    sys.exit(main())

"""What has been measured, kept as data beside the page: so that a run that measures some figures leaves the others.

A figure is kept whole: its rows and points, with when it was measured, of which commit, and on what.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.row import LeftOut, Peer, Point, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SOURCE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Record:
    """One figure, as it was measured.

    Attributes:
        at: When, as `2026-11-25T17:50+00:00`.
        commit: The last one that changed what runs, `+` where more had changed than was committed.
        busy: How many other tasks wanted to run right before.
        minutes: How long it took.
        machine: What it was measured on, a line each.
        rows: What was found.
        points: For the plots.
    """

    at: str
    commit: str
    busy: float
    minutes: float
    machine: tuple[str, ...] = ()
    rows: tuple[Row | LeftOut, ...] = ()
    points: tuple[Point, ...] = field(default=(), repr=False)


def record(found: Iterable[Row | LeftOut | Point], *, busy: float, minutes: float, machine: Iterable[str]) -> Record:
    """What was found just now."""
    rows, points = [], []
    for one in found:
        if isinstance(one, Point):
            points.append(one)
        else:
            rows.append(one)
    now = dt.datetime.now(dt.UTC).isoformat(timespec="minutes")
    return Record(now, commit(), round(busy, 2), round(minutes, 1), tuple(machine), tuple(rows), tuple(points))


def commit() -> str:
    """Which code this is; `unknown` outside of a checkout."""
    try:
        last = _git("log", "-1", "--format=%h", "--", "src")
        return last + ("+" if _git("status", "--porcelain", "--", "src") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def load(file: Path) -> dict[str, Record]:
    """All figures that were measured so far; none where there is no file."""
    if not file.exists():
        return {}
    return {name: _record(found) for name, found in json.loads(file.read_text()).items()}


def save(file: Path, records: Mapping[str, Record]) -> None:
    """Keep them."""
    content = {name: asdict(one) for name, one in records.items()}
    new = file.with_suffix(".new")
    new.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    new.replace(file)


def _git(*command: str) -> str:
    return subprocess.run(("git", *command), cwd=SOURCE, check=True, capture_output=True, text=True).stdout.strip()


def _record(found: dict[str, Any]) -> Record:
    rows = tuple(LeftOut(**row) if "why" in row else _row(row) for row in found["rows"])
    points = tuple(Point(**point) for point in found["points"])
    return Record(**{**found, "machine": tuple(found["machine"]), "rows": rows, "points": points})


def _row(found: dict[str, Any]) -> Row:
    return Row(**{**found, "peers": tuple(Peer(**peer) for peer in found["peers"])})

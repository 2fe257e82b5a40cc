"""How a list of leases is written: as a table for people, and as JSON for programs; nothing is looked at here."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from gcsidecar.cache.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gcsidecar.contract import Holder
    from gcsidecar.sidecar.lease.held import Held

_HEAD = ("FOLDER", "STATE", "HOW", "SINCE", "HOLDER", "PURPOSE")


def as_table(held: Sequence[Held]) -> str:
    """A line each; nothing where nothing is held."""
    if not held:
        return ""
    rows = [_HEAD, *(_row(one) for one in held)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(_line(row, widths) for row in rows)


def as_json(held: Sequence[Held]) -> str:
    """A list of objects; times in seconds since 1970, and names as `os.fsdecode` makes them."""
    return json.dumps([_object(one) for one in held], indent=2) + "\n"


def _object(one: Held) -> dict[str, object]:
    found: dict[str, object] = {name: getattr(one, name) for name in one.__slots__}
    return found | {"holder": one.holder and {name: getattr(one.holder, name) for name in one.holder.__slots__}}


def _line(row: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(map(str.ljust, row, widths)).rstrip() + "\n"


def _row(one: Held) -> tuple[str, ...]:
    since = "-" if one.since is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.since))
    return shown(one.folder), one.state, one.how, since, _who(one), shown(one.holder.purpose) if one.holder else ""


def _who(one: Held) -> str:
    holder: Holder | None = one.holder
    if holder is not None:
        return f"{holder.pid} on {shown(holder.host)}"
    return "somebody" if one.lease is None else shown(one.lease.rpartition("/")[2])

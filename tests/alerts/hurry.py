"""The rules with all their durations shortened, so that an alert that takes an hour is seen to fire within seconds.

Nothing else of a rule changes, and all change alike:

- a window (`[1h]`) and a wait (`for`, `keep_firing_for`) take a sixtieth of their time, within the bounds below;
- an age (what `time() - ...` is compared with) takes a twelfth: a sidecar at rest measures each 5 s and reconciles each
  minute, and what is healthy has to stay so.
"""

from __future__ import annotations

import copy
import re
from typing import Any

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SHARE, AGE_SHARE = 1 / 60, 1 / 12
# With a scrape each second a window needs a few of them; it must outlast what is to be seen in it.
SHORTEST_WINDOW, LONGEST_WINDOW, LONGEST_WAIT = 5, 30, 3
WINDOW = re.compile(r"\[(\d+)([smhd])\]")
AGE = re.compile(r"(time\(\) - \w+ > )(\d+)")


def hurried(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of a parsed rules file, in a hurry."""
    document = copy.deepcopy(document)
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["expr"] = AGE.sub(_sooner, WINDOW.sub(_shorter, rule["expr"]))
            for wait in {"for", "keep_firing_for"} & rule.keys():
                rule[wait] = f"{max(1, min(LONGEST_WAIT, int(_seconds(rule[wait]) * SHARE)))}s"
    return document


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * UNITS[duration[-1]]


def _shorter(window: re.Match[str]) -> str:
    seconds = int(window[1]) * UNITS[window[2]]
    return f"[{max(SHORTEST_WINDOW, min(LONGEST_WINDOW, int(seconds * SHARE)))}s]"


def _sooner(age: re.Match[str]) -> str:
    return f"{age[1]}{int(int(age[2]) * AGE_SHARE)}"

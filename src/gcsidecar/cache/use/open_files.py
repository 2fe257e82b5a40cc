"""Who has something open below a directory: what any visible process has open or mapped, works in, or has mounted.

A look is at every process, so one serves many folders; what may not be looked at counts as nothing found.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from bisect import bisect_left
from typing import TYPE_CHECKING

from gcsidecar.cache.use.places import MountTable, Place, place_of, unescaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gcsidecar.gc.clock import Clock

OPEN = "open"

# A plan is made from a look that is no older, and so is whatever else is decided.
MAX_AGE_SECONDS = 5.0
# For each folder that is about to go there is a new look, unless looks take more than this share of the time; after a
# rest, so many seconds of looking may be spent at once.
SHARE = 0.05
SAVED_SECONDS = 0.5
# Meanwhile a process may hand on what it holds to a child, and end: so those that have come are looked at, too.
ROUNDS = 3

# What is mapped, the last column of a line in /proc/PID/maps; the others have no slash.
_MAPPED = re.compile(rb" (/[^\n]*)")


class Held:
    """All places that were held at one moment.

    Args:
        places: Of them all; one may come more than once.
    """

    def __init__(self, places: Iterable[Place] = ()) -> None:
        self._paths: dict[bytes, list[bytes]] = {}
        for device, path in sorted(set(places)):
            self._paths.setdefault(device, []).append(path)

    def has(self, place: Place) -> bool:
        """Whether this place or one below it was held."""
        paths = self._paths.get(place.device, [])
        at = bisect_left(paths, place.path)
        return paths[at : at + 1] == [place.path] or next(self._below(place), None) is not None

    def folders(self, place: Place, depth: int) -> frozenset[str]:
        """The names of what lies `depth` levels below a place and was held, or had in it what was."""
        parts = (path.split(b"/") for path in self._below(place))
        return frozenset(os.fsdecode(b"/".join(path[:depth])) for path in parts if len(path) >= depth)

    def _below(self, place: Place) -> Iterator[bytes]:
        """What was held below a place, as seen from there."""
        above = place.path.rstrip(b"/") + b"/"
        paths = self._paths.get(place.device, [])
        for at in range(bisect_left(paths, above), len(paths)):
            if not paths[at].startswith(above):
                return
            yield paths[at].removeprefix(above)


def look() -> Held:
    """Look at all processes but this one."""
    spaces: dict[bytes, _Namespace] = {}
    seen = {b"%d" % os.getpid()}
    for _ in range(ROUNDS):
        new = {name for name in os.listdir(b"/proc") if name.isdigit()} - seen
        for process in new:
            with contextlib.suppress(OSError):
                namespace = os.readlink(b"/proc/%b/ns/mnt" % process)
                spaces.setdefault(namespace, _Namespace()).add(process)
        seen |= new
    return Held(place for space in spaces.values() for place in space.places())


def is_open_below(fd: int) -> bool:
    """Whether another process that can be seen holds the directory `fd`, or anything below it, right now.

    Raises:
        OSError: `/proc` can't tell where the directory is.
    """
    return look().has(place_of(fd))


class OpenFiles:
    """What is held, looked at anew when that is due; one for the whole process, thread-safe.

    Args:
        clock: The clock that doesn't jump.
        look: Looks.
    """

    def __init__(self, clock: Clock, look: Callable[[], Held] = look) -> None:
        self._clock, self._look = clock, look
        self._lock = threading.Lock()
        self._held: Held | None = None
        self._looked_at = clock.monotonic()
        self._counted_at = self._looked_at
        self._saved = SAVED_SECONDS

    def is_open_below(self, fd: int) -> bool:
        """As the function of that name, for a folder that is about to go; by a look of a moment ago where many go.

        Raises:
            OSError: `/proc` can't tell where the directory is.
        """
        return self._latest(fresh=True).has(place_of(fd))

    def latest(self) -> Held:
        """What was held a few seconds ago at most: for a plan."""
        return self._latest(fresh=False)

    def _latest(self, *, fresh: bool) -> Held:
        with self._lock:
            now = self._clock.monotonic()
            self._saved = min(SAVED_SECONDS, self._saved + SHARE * (now - self._counted_at))
            self._counted_at = now
            old = now - self._looked_at >= MAX_AGE_SECONDS
            if self._held is None or old or (fresh and self._saved > 0):
                self._held = self._look()
                self._looked_at = self._clock.monotonic()
                self._saved -= self._looked_at - now
            return self._held


class _Namespace:
    """What the processes of one mount namespace hold; collected first, since most have the same libraries mapped."""

    def __init__(self) -> None:
        self._table = MountTable()
        self._roots: set[bytes] = set()
        self._paths: set[bytes] = set()
        self._mapped: set[bytes] = set()

    def add(self, process: bytes) -> None:
        """Take in one process.

        Raises:
            OSError: It may not be looked at, or is gone.
        """
        root = os.readlink(b"/proc/%b/root" % process)
        if root not in self._roots:
            self._table.add(process, root)
            self._roots.add(root)
        self._paths.add(os.readlink(b"/proc/%b/cwd" % process))
        self._paths.update(_links_in(b"/proc/%b/fd/" % process))
        with open(b"/proc/%b/maps" % process, "rb", buffering=0) as file:
            self._mapped.update(_MAPPED.findall(file.read()))

    def places(self) -> Iterator[Place]:
        """All that they hold, and all that is mounted: who has a folder itself mounted needs nothing open."""
        # Of what is mapped a newline is written as \012, and a backslash as it is: either may be meant.
        mapped = self._mapped | {unescaped(path) for path in self._mapped}
        for path in (*self._paths, *self._roots, *mapped, *self._table.points):
            yield from self._table.places(path)


def _links_in(directory: bytes) -> Iterator[bytes]:
    """Paths, as seen from here or, from another namespace, as seen there; what is no path is among them, too."""
    for name in os.listdir(directory):
        try:
            yield os.readlink(directory + name)
        except OSError:  # closed meanwhile
            continue

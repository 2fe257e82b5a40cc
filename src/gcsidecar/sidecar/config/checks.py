"""What can be wrong with a config that is well-formed key by key: judged from its text, never from the machine.

Whatever is found here only an edit mends, so `run` refuses it as `check` does; the machine's state is in `machine`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar.cache.spec import MeasureSpec, MemoryLevels, RootSpec
from gcsidecar.sidecar.config.addresses import AddressError, parse_address
from gcsidecar.sidecar.config.model import DEFAULT_LISTEN, Config
from gcsidecar.sidecar.config.nodes import join
from gcsidecar.sidecar.config.patterns import Fault, folders_fault, keep_fault, lease_fault, lock_fault
from gcsidecar.sidecar.config.places import is_inside, normalised, path_fault, place_fault
from gcsidecar.sidecar.config.problems import Problem, show
from gcsidecar.sidecar.config.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

# More often nobody needs to know what has not changed.
SHORTEST_STALE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Draft:
    """As much of a config as could be read, so that one wrong key does not hide what is wrong with the others.

    Attributes:
        built: What was read, by its key.
        lines: The line of each key.
    """

    built: Mapping[str, object]
    lines: Mapping[str, int]

    @property
    def roots(self) -> list[tuple[str, RootSpec]]:
        """The roots that could be read, each with its key."""
        return [(key, root) for key, root in self.built.items() if isinstance(root, RootSpec)]

    @property
    def config(self) -> Config | None:
        """The whole, where it could be read."""
        whole = self.built.get("")
        return whole if isinstance(whole, Config) else None

    def line(self, key: str) -> int:
        """Where a key stands, or the nearest one around it where it was left out."""
        while key and key not in self.lines:
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return self.lines.get(key, 1)

    def problem(self, key: str, fault: Fault) -> Problem:
        """What is wrong with a key."""
        return Problem(self.line(key), key, fault.what, fault.remedy)

    def warning(self, key: str, fault: Fault) -> Problem:
        """What looks wrong with a key."""
        return Problem(self.line(key), key, fault.what, fault.remedy, severity="warning")


def text_problems(draft: Draft, homes: Collection[str]) -> Iterator[Problem]:
    """All that is wrong or looks wrong, in no order.

    Args:
        draft: What was read.
        homes: Directories that are homes of users.
    """
    if config := draft.config:
        yield from _listen(draft, config)
    for key, measure in draft.built.items():
        if isinstance(measure, MeasureSpec):
            yield from _measure(draft, key, measure)
    for key, root in draft.roots:
        yield from _place(draft, key, root, homes)
        yield from _patterns(draft, key, root)
        yield from _limits(draft, key, root)
    for key, levels in draft.built.items():
        if isinstance(levels, MemoryLevels):
            yield from _memory(draft, key, levels)
    yield from _names(draft)
    yield from _overlaps(draft)


def _listen(draft: Draft, config: Config) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, text in enumerate(config.listen_addresses):
        key = "listen" if isinstance(config.listen, str) else join("listen", number)
        try:
            parse_address(text)
        except AddressError as error:
            yield draft.problem(key, Fault(error.what, error.remedy))
        if text in seen:
            yield draft.problem(
                key, Fault(f"{show(text)} is there twice", f"each address once, such as {DEFAULT_LISTEN}")
            )
        seen.add(text)


def _place(draft: Draft, key: str, root: RootSpec, homes: Collection[str]) -> Iterator[Problem]:
    path_key = join(key, "path")
    if fault := path_fault(root.path) or place_fault(normalised(root.path), homes):
        yield draft.problem(path_key, fault)


def _patterns(draft: Draft, key: str, root: RootSpec) -> Iterator[Problem]:
    if fault := folders_fault(root.folders):
        yield draft.problem(join(key, "folders"), fault)
    yield from _each(draft, join(key, "keep"), ((glob, keep_fault(glob)) for glob in root.keep))
    leases = ((pattern, lease_fault(pattern, root.folders)) for pattern in root.lease.files)
    yield from _each(draft, join(key, "lease", "files"), leases)
    locks = ((pattern, lock_fault(pattern, root.folders)) for pattern in root.lease.locks)
    yield from _each(draft, join(key, "lease", "locks"), locks)


def _each(draft: Draft, key: str, judged: Iterable[tuple[str, Fault | None]]) -> Iterator[Problem]:
    for number, (_, fault) in enumerate(judged):
        if fault:
            yield draft.problem(join(key, number), fault)


def _limits(draft: Draft, key: str, root: RootSpec) -> Iterator[Problem]:
    """Where 0 could mean none or everything, it has to be said which."""
    limits = {
        "lease.ttl": (root.lease.ttl, "null for leases that hold while their file exists"),
        "lease.parked_ttl": (root.lease.parked_ttl, "a duration such as 24h"),
        "max_idle": (root.max_idle, "null to turn it off"),
        "max_size": (root.max_size, "null to turn it off"),
        "history.max_size": (root.history.max_size if root.history else None, "history: null to turn it off"),
    }
    for name, (value, remedy) in limits.items():
        if value is not None and value == 0:
            yield draft.problem(f"{key}.{name}", Fault("is 0", f"more than 0, or {remedy}"))
    if root.max_idle is not None and 0 < root.max_idle < root.min_age:
        what = f"is {format_duration(root.max_idle)}, less than min_age, which is {format_duration(root.min_age)}"
        yield draft.warning(join(key, "max_idle"), Fault(what, "more than min_age, which keeps a folder until then"))


def _measure(draft: Draft, key: str, measure: MeasureSpec) -> Iterator[Problem]:
    stale_after = measure.stale_after
    if stale_after is not None and stale_after < SHORTEST_STALE_SECONDS:
        what = f"is {format_duration(stale_after)}, so that it would never stop measuring"
        fault = Fault(what, f"at least {format_duration(SHORTEST_STALE_SECONDS)}, or null to turn it off")
        yield draft.problem(join(key, "stale_after"), fault)


def _memory(draft: Draft, key: str, levels: MemoryLevels) -> Iterator[Problem]:
    cgroup = levels.cgroup
    if cgroup is not None and cgroup != "host" and (not cgroup.startswith("/") or ".." in cgroup.split("/")):
        fault = Fault(f"{show(cgroup)} is no cgroup", 'the absolute path of a cgroup, or "host"')
        yield draft.problem(join(key, "cgroup"), fault)
    if cgroup is None and levels.min_available is not None:
        fault = Fault("has no effect, since cgroup is null", 'cgroup: "host", or the path of a cgroup')
        yield draft.warning(join(key, "min_available"), fault)
    if cgroup is not None and levels.min_available is None:
        fault = Fault("has no effect, since min_available is null", "min_available: a share or a size")
        yield draft.warning(join(key, "cgroup"), fault)


def _names(draft: Draft) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for key, root in draft.roots:
        other = first.setdefault(root.name, key)
        if other != key:
            line = draft.line(join(other, "name"))
            fault = Fault(f"{show(root.name)} is the name of {other}, too (line {line})", "a name of its own for each")
            yield draft.problem(join(key, "name"), fault)


def _overlaps(draft: Draft) -> Iterator[Problem]:
    earlier: list[tuple[str, str]] = []
    for key, root in draft.roots:
        if path_fault(root.path):
            continue
        path = normalised(root.path)
        for other, other_path in earlier:
            if fault := overlap_fault(path, other, other_path):
                yield draft.problem(join(key, "path"), fault)
        earlier.append((key, path))


def overlap_fault(path: str, other: str, other_path: str) -> Fault | None:
    """What is wrong where one of two roots is, or lies in, the other: each would evict what the other counts."""
    if path == other_path:
        return Fault(f"{show(path)} is the path of {other}, too", "one root for each directory")
    if is_inside(path, other_path):
        return Fault(f"{show(path)} lies inside {other}, {show(other_path)}", "roots that lie apart")
    if is_inside(other_path, path):
        return Fault(f"{show(path)} has {other} in it, {show(other_path)}", "roots that lie apart")
    return None

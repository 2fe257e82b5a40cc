"""How series are read: small makers of readers, one for each thing that has series of its own.

A reader gives what there is at the moment of the view; so what is gone is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.cache.folders.tally import Amount, State
from gcsidecar.cache.names import shown
from gcsidecar.sidecar.metrics.ledger import no_spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsidecar.cache.folders.tally import FolderShare, RootTally
    from gcsidecar.gc.pressure import Resource
    from gcsidecar.sidecar.metrics.ledger import Spread
    from gcsidecar.sidecar.metrics.metric import Reader, Series
    from gcsidecar.sidecar.metrics.view import Reading, View
    from gcsidecar.sidecar.status import FilesystemStatus, HistoryStatus, RootStatus, Status


def of_process(value: Callable[[Status], float]) -> Reader:
    """One series."""
    return lambda view: [((), value(view.status))]


def of_roots(value: Callable[[RootStatus], float]) -> Reader:
    """A series a root."""
    return lambda view: [((root.name,), value(root)) for root in view.status.roots]


def of_tallies(value: Callable[[RootTally], float | None]) -> Reader:
    """A series a root that is open, and has such a value."""
    return lambda view: [((name,), found) for name, tally in _tallies(view) if (found := value(tally)) is not None]


def by_state(value: Callable[[Amount], float]) -> Reader:
    """A series for each state of each root that is open."""
    return lambda view: [
        ((name, state.value), value(tally.by_state.get(state, Amount())))
        for name, tally in _tallies(view)
        for state in State
    ]


def of_histories(value: Callable[[HistoryStatus], float]) -> Reader:
    """A series a root that keeps a history."""
    return lambda view: [((root.name,), value(root.history)) for root in view.status.roots if root.history is not None]


def of_leases(view: View) -> Series:
    """The leases of each root that is open, by state; the stale ones are among those that hold."""
    for name, tally in _tallies(view):
        yield (name, "live"), max(0, tally.leases - tally.stale_leases)
        yield (name, "stale"), tally.stale_leases
        yield (name, "dead"), tally.dead_leases


def of_folders(value: Callable[[FolderShare], float]) -> Reader:
    """A series for each of the largest folders."""
    return lambda view: [
        ((name, shown(folder.name)), value(folder)) for name, tally in _tallies(view) for folder in tally.top
    ]


def of_filesystems(value: Callable[[FilesystemStatus], float]) -> Reader:
    """A series a filesystem."""
    return lambda view: [((filesystem.name,), value(filesystem)) for filesystem in view.status.filesystems]


def of_resource(resource: Resource, value: Callable[[Reading], float | None]) -> Reader:
    """A series a filesystem where `resource` is measured, and has such a value."""
    return lambda view: [
        ((reading.filesystem,), found)
        for reading in view.readings
        if reading.resource is resource and (found := value(reading)) is not None
    ]


def of_resources(value: Callable[[Reading], float | None]) -> Reader:
    """A series for each resource of each filesystem."""
    return lambda view: [
        ((reading.filesystem, reading.resource.value), found)
        for reading in view.readings
        if (found := value(reading)) is not None
    ]


def of_cap(resource: Resource, value: Callable[[Reading], float | None]) -> Reader:
    """A series a root that is capped by `resource`."""
    return lambda view: [
        ((reading.root,), found)
        for reading in view.caps
        if reading.resource is resource and (found := value(reading)) is not None
    ]


def of_caps(value: Callable[[Reading], float | None]) -> Reader:
    """A series for each cap of each root."""
    return lambda view: [
        ((reading.root, reading.resource.value), found)
        for reading in view.caps
        if (found := value(reading)) is not None
    ]


def one_of(states: tuple[str, ...], state: str) -> Iterator[tuple[str, float]]:
    """1 for the state that holds, 0 for the others."""
    for other in states:
        yield other, float(other == state)


def root_names(status: Status) -> list[str]:
    """Of whom counters of roots are."""
    return [root.name for root in status.roots]


def filesystem_names(status: Status) -> list[str]:
    """Of whom counters of filesystems are."""
    return [filesystem.name for filesystem in status.filesystems]


def counted(name: str, names: Callable[[Status], list[str]], *reasons: str) -> Reader:
    """The counter `name` of each root or filesystem, from 0 on, so that `increase` sees the first one; by `reasons`."""
    tails: tuple[tuple[str, ...], ...] = tuple((reason,) for reason in reasons) or ((),)

    def read(view: View) -> Series:
        there = names(view.status)
        series = dict.fromkeys(((who, *tail) for who in there for tail in tails), 0.0)
        series.update((labels, n) for labels, n in view.books.counts.get(name, {}).items() if labels[0] in there)
        return series.items()

    return read


def counted_by_process(name: str, *reasons: str) -> Reader:
    """The counter `name`, from 0 on; by `reasons`."""
    keys: tuple[tuple[str, ...], ...] = tuple((reason,) for reason in reasons) or ((),)
    return lambda view: [(key, view.books.counts.get(name, {}).get(key, 0.0)) for key in keys]


def observed(name: str, buckets: tuple[float, ...], names: Callable[[Status], list[str]]) -> Reader:
    """The histogram `name` of each root or filesystem, from 0 on."""
    nothing: Spread = no_spread(buckets)

    def read(view: View) -> Series:
        spreads = view.books.spreads.get(name, {})
        return [((who,), spreads.get((who,), nothing)) for who in names(view.status)]

    return read


def _tallies(view: View) -> Iterator[tuple[str, RootTally]]:
    for root in view.status.roots:
        if root.tally is not None:
            yield root.name, root.tally

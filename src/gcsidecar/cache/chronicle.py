"""The chronicle of one root: hears of its folders and passes on, to the history what is to be kept, and regrets.

It joins what happens now to what is known from before; it writes nothing itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsidecar.cache.history.file import is_there_beneath
from gcsidecar.cache.history.recorder import PATIENCE_SECONDS, Recorder
from gcsidecar.cache.history.records import Arrival, Departure, Evicted, How, Use
from gcsidecar.cache.history.stocktaking import take_stock
from gcsidecar.cache.regrets import MOST_NAMES, Regrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gcsidecar.cache.folders.adoption import Adoption
    from gcsidecar.cache.folders.census import Census
    from gcsidecar.cache.folders.folder import Folder
    from gcsidecar.cache.history.database import Database
    from gcsidecar.cache.history.records import Present, Record
    from gcsidecar.cache.regrets import Regret
    from gcsidecar.cache.spec import RootSpec
    from gcsidecar.gc.clock import Clock
    from gcsidecar.gc.collection import Eviction


class Chronicle:
    """Of one root.

    Args:
        spec: The root.
        regretted: Told of each folder that came back after its eviction.
        said: Told what becomes of the history: an event's name, and a problem.
        wake: Called when what was known of folders has been told, or is awaited no longer.
        clock: Both clocks.
    """

    def __init__(
        self,
        spec: RootSpec,
        *,
        regretted: Callable[[Regret], object],
        said: Callable[[str, str], object],
        wake: Callable[[], object],
        clock: Clock,
    ) -> None:
        self._spec, self._regretted, self._said, self._wake, self._clock = spec, regretted, said, wake, clock
        self._regrets = Regrets(spec.name, spec.regret_window)
        self._census: Census | None = None
        self._adoption: Adoption | None = None
        self._regrets_are_read = False
        self._begins_by = 0.0
        self.recorder: Recorder | None = None

    # Its life

    def expect(self, root_fd: int) -> None:
        """It may begin soon; where there is a history, what that knows of folders is awaited for a moment."""
        if self._spec.history is not None and is_there_beneath(root_fd):
            self._begins_by = self._clock.monotonic() + PATIENCE_SECONDS

    def stand_by(self) -> None:
        """It doesn't begin for now: another sidecar acts on the root, or nobody can."""
        if self._begins_by:
            self._begins_by = 0.0
            self._wake()

    def is_awaited(self) -> bool:
        """Whether it is about to tell what was known of folders, so that nobody else need look at them all."""
        recorder = self.recorder
        return self._clock.monotonic() < self._begins_by if recorder is None else recorder.is_reading()

    def begin(self, directory_fd: int, census: Census, adoption: Adoption, capacity_bytes: int) -> None:
        """Begin to record, from now on: this process is the one that acts on the root."""
        if self._spec.history is None:
            return
        self._census, self._adoption = census, adoption
        try:
            self.recorder = Recorder(
                self._spec, directory_fd, capacity_bytes, listener=self, said=self._said, clock=self._clock
            )
        except (OSError, RuntimeError) as error:  # no descriptor or no thread to be had: not a reason not to evict
            self._said("history-off", str(error))
            self.stand_by()
            return
        if census.complete:
            self.recorder.stock_is_due()

    def begin_to_end(self) -> None:
        """Write what is left, and record no more; this returns at once."""
        if self.recorder is not None:
            self.recorder.begin_to_stop()

    def end(self) -> None:
        """Await that, for a moment."""
        if self.recorder is not None:
            self.recorder.stop()
        self.recorder = None

    # What is seen

    def complete(self) -> None:
        """All folders have been seen once."""
        if self.recorder is not None:
            self.recorder.stock_is_due()

    def arrived(self, folder: Folder, at: float) -> None:
        """A folder appeared while we looked."""
        self._note_return(folder.name, at)
        if self.recorder is not None:
            self.recorder.note(Arrival(folder.name, folder.identity[1], at))

    def used(self, folder: Folder) -> None:
        """A folder's last use has moved."""
        if self.recorder is not None:
            self.recorder.note_use(folder.name)

    def noted(self, folder: Folder) -> None:
        """What is known of a folder has changed."""
        if self.recorder is not None:
            self.recorder.note_change(folder.name)

    def departed(self, folder: Folder, *, evicted: bool) -> None:
        """A folder is gone, by us or by others."""
        now = self._clock.time()
        if evicted:
            self._regrets.evicted(folder.name, now, folder.disk_bytes or 0)
        if self.recorder is not None:
            how = How.EVICTED if evicted else How.REMOVED
            values = (folder.name, folder.identity[1], now, how, folder.arrived_at, folder.disk_bytes)
            self.recorder.note_departure(Departure(*values), self._use(folder))

    def _use(self, folder: Folder) -> Use:
        at = min(folder.last_used(), self._clock.time())
        return Use(folder.name, folder.identity[1], at, folder.disk_bytes, folder.leases)

    # What others do

    def evicted(self, eviction: Eviction, folder: Folder) -> None:
        """The figures of an eviction; that the folder is gone was told before."""
        if self.recorder is not None:
            self.recorder.note(Evicted(eviction, folder.identity[1]))

    def comes_back(self, names: Iterable[str]) -> None:
        """We may put these back: their return is no regret."""
        for name in names:
            self._regrets.forget(name)

    def may_be_young(self, folder: Folder) -> bool:
        """Whether the history has yet to say when it arrived."""
        return folder.arrived_at is None and self.recorder is not None and self.recorder.is_awaited()

    def _note_return(self, name: str, at: float) -> None:
        regret = self._regrets.returned(name, at)
        if regret is None:
            return
        if self.recorder is not None:
            self.recorder.note(regret)
        self._regretted(regret)

    # What the recorder asks, in its thread

    def recall(self, known: Sequence[Present]) -> None:
        """So much was known of some folders."""
        assert self._adoption is not None
        self._adoption.take_in(known)

    def answered(self) -> None:
        """All of it has been told, or is awaited no longer."""
        assert self._census is not None
        self._census.changed()
        self._wake()

    def known_now(self, names: Sequence[tuple[str, bool]]) -> list[Record]:
        """What is to be written of some folders, and whether each was used."""
        assert self._census is not None
        records: list[Record] = []
        with self._census.still():
            for name, used in names:
                folder = self._census.get(name)
                if folder is not None:
                    records += [self._use(folder)] if used else []
                    records.append(folder.known())
        return records

    def take_stock(self, database: Database) -> None:
        """Compare what the history knew with what is there."""
        assert self._census is not None
        now = self._clock.time()
        if not self._regrets_are_read:
            self._regrets_are_read = True
            self._regrets.remember(database.evicted_since(now - self._regrets.window_seconds, MOST_NAMES))
        take_stock(database, self._census, self._note_return, now)

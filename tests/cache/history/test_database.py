"""What is written is what is read, whatever the order of things, and never more than the bounds."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cache.history.looking import asked
from gcsidecar.cache.history.database import Database
from gcsidecar.cache.history.file import size_bytes
from gcsidecar.cache.history.limits import BATCH, LEAST_BYTES, Limits
from gcsidecar.cache.history.records import Arrival, Departure, Evicted, How, Record, Use
from gcsidecar.cache.regrets import Regret
from gcsidecar.gc.collection import Eviction
from gcsidecar.gc.planning import Candidate, Want
from gcsidecar.gc.pressure import Measurement, Resource, Threshold

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 20
SMALL = Limits.within(ROWS, 1 << 30, 0)
names = st.sampled_from(["a", "b/c", "caf\udce9", "two\nlines", "d" * 200])


class Thing:
    """A Disposable that nobody disposes of."""

    def memory_size(self) -> int:
        return 0

    def disk_size(self) -> int:
        return 0

    def last_used(self) -> float:
        return 0.0

    def dispose(self) -> None:
        pass


def evicted(name: str, inode: int, at: float) -> Evicted:
    sizes: dict[Resource, int | None] = {Resource.DISK: 4096, Resource.INODES: None}
    want = Want(Threshold(Resource.DISK, 10, 20), Measurement(Resource.DISK, 100, 5, at), 15)
    reclaimed = {Resource.DISK: 4096}
    candidate, clamped = Candidate(name, at - 9, sizes, "jobs"), True
    return Evicted(Eviction(candidate, ("disk",), at, 0.5, reclaimed, clamped, Thing(), (want,)), inode)


class Written(RuleBasedStateMachine):
    """Folders come, are used and go; a plain model of what has to be known is kept beside the database."""

    @initialize()
    def begin(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        (self.path / ".gcsidecar").mkdir()
        self.fd = os.open(self.path / ".gcsidecar", os.O_RDONLY)
        self.now, self.inode = 1000.0, 1 << 63
        self.there: dict[str, tuple[int, float | None, float]] = {}
        self.gone: list[tuple[str, str]] = []
        self.regretted: dict[str, float] = {}
        self.open()

    def open(self) -> None:
        self.database = Database(self.fd, SMALL, self.now)

    def write(self, *records: Record) -> None:
        self.now += 1
        assert self.database.write(records) == 0

    @rule(name=names, known=st.booleans())
    def arrive(self, name: str, *, known: bool) -> None:
        at = self.now if known or name in self.there else None  # stocktaking tells of a departure first
        self.inode += 1
        if name in self.there:
            self.gone.append((name, "missed"))
        self.write(Arrival(name, self.inode, at), Arrival(name, self.inode, at))
        self.there[name] = (self.inode, at, 0.0)

    @rule(name=names, touched=st.booleans(), many=st.integers(1, 30))
    def use(self, name: str, *, touched: bool, many: int) -> None:
        inode, at, touched_at = self.there.get(name, (7, None, 0.0))
        last = self.now if touched else None
        self.write(*[Use(name, inode, self.now, 4096, 1, last)] * many)
        if name in self.there:
            self.there[name] = (inode, at, last or touched_at)

    @rule(name=names, how=st.sampled_from(How), again=st.booleans())
    def depart(self, name: str, how: How, *, again: bool) -> None:
        inode, at, _ = self.there.pop(name, (self.inode + 1, None, 0.0))
        self.inode += 1
        records: list[Record] = [Departure(name, inode, self.now, how, at, 4096)]
        if how is How.EVICTED:
            self.regretted.pop(name, None)
            records.append(evicted(name, inode, self.now))
            if again:
                records.append(Regret("jobs", name, self.now, self.now + 1, 4096))
            else:
                self.regretted[name] = self.now
        self.write(*records)
        self.gone.append((name, how.value))

    @rule()
    def restart(self) -> None:
        self.database.close()
        self.open()

    @invariant()
    @precondition(lambda self: hasattr(self, "database"))
    def those_that_are_there_are_known(self) -> None:
        found = {
            one.name: (one.inode, one.arrived_at, one.touched_at) for some in self.database.present() for one in some
        }
        assert found == self.there

    @invariant()
    @precondition(lambda self: hasattr(self, "database"))
    def it_keeps_within_its_bounds_and_counts_right(self) -> None:
        pruning = self.database._pruning
        counted = (pruning.folders, pruning.gone, pruning.present_bytes, pruning.uses)
        pruning.count()
        assert counted == (pruning.folders, pruning.gone, pruning.present_bytes, pruning.uses)
        assert pruning.folders <= ROWS
        assert pruning.uses <= ROWS
        assert size_bytes(self.fd) <= LEAST_BYTES

    def teardown(self) -> None:
        if not hasattr(self, "database"):
            return
        try:
            self.database.close()
            self.the_last_that_went_are_known()
        finally:
            os.close(self.fd)
            shutil.rmtree(self.path)

    def the_last_that_went_are_known(self) -> None:
        rows = asked(self.path, "SELECT name, departure FROM folders WHERE departed_at IS NOT NULL ORDER BY id")
        known = [(os.fsdecode(name), how) for name, how in rows]
        assert sorted(known) == sorted(self.gone[len(self.gone) - len(known) :])
        for child in ("uses", "evictions", "wants"):
            assert asked(self.path, f"SELECT count(*) FROM {child} WHERE folder NOT IN (SELECT id FROM folders)") == [0]
        went = [how for _, how in known].count("evicted")
        assert asked(self.path, "SELECT count(*) FROM evictions JOIN wants USING (folder)") == [went]


TestWritten = Written.TestCase
TestWritten.settings = settings(max_examples=30, stateful_step_count=25)


@pytest.fixture
def directory_fd(tmp_path: Path) -> Iterator[int]:
    (tmp_path / ".gcsidecar").mkdir()
    fd = os.open(tmp_path / ".gcsidecar", os.O_RDONLY)
    yield fd
    os.close(fd)


def test_a_hundred_thousand_folders_and_their_uses_keep_within_the_default_bounds(
    tmp_path: Path, directory_fd: int
) -> None:
    limits = Limits.within(200_000, 16 << 20, 1 << 40)
    database = Database(directory_fd, limits, 0.0)
    largest = refused = 0

    def write(records: Iterator[Record]) -> None:
        nonlocal largest, refused
        while batch := [record for _, record in zip(range(BATCH), records, strict=False)]:
            refused += database.write(batch)
            largest = max(largest, size_bytes(directory_fd))

    many = 100_000
    write(Arrival(f"project-{number:06}-main", number, float(number)) for number in range(many))
    write(Use(f"project-{number:06}-main", number, 1e9, 1 << 30, 0, None) for number in range(many))
    for number in range(0, many, 5):
        name = f"project-{number:06}-main"
        write(iter([Departure(name, number, 2e9 + number, How.EVICTED), evicted(name, number, 2e9 + number)]))
        if number > 5000:
            break
    database.settle(1.0)
    assert refused == 0
    present = sum(len(some) for some in database.present())
    database.close()
    assert largest <= limits.bytes
    assert present == many - 1002
    assert asked(tmp_path, "SELECT count(*) FROM evictions") == [1002]
    assert asked(tmp_path, "SELECT count(*) > 10000 FROM uses") == [1]


def test_more_folders_than_there_may_be_rows_are_refused_and_what_happens_still_finds_room(
    tmp_path: Path, directory_fd: int
) -> None:
    database = Database(directory_fd, SMALL, 0.0)
    assert database.write([Arrival(f"f{number}", number, 1.0) for number in range(ROWS + 10)]) == 10
    assert database.write([Departure("f0", 0, 2.0, How.EVICTED), evicted("f0", 0, 2.0)]) == 0
    assert database.write([Departure("f29", 29, 3.0, How.EVICTED), evicted("f29", 29, 3.0)]) == 0
    database.close()
    assert asked(tmp_path, "SELECT name FROM folders JOIN evictions ON folder = id ORDER BY at") == [b"f29"]


def test_a_bound_that_was_lowered_holds_from_the_next_start_on(tmp_path: Path, directory_fd: int) -> None:
    limits = Limits.within(200_000, 16 << 20, 1 << 40)
    database = Database(directory_fd, limits, 0.0)
    for number in range(40):
        database.write([Use("a", 1, 1.0, 1, 1, None)])
        gone = [Departure(f"f{number}-{index}{'x' * 100}", index, float(index), How.EVICTED) for index in range(BATCH)]
        database.write(gone)
    database.close()
    assert size_bytes(directory_fd) > LEAST_BYTES
    Database(directory_fd, SMALL, 0.0).close()
    assert size_bytes(directory_fd) <= LEAST_BYTES
    assert asked(tmp_path, "SELECT count(*) FROM folders") == [ROWS]

"""What is written is what is read, whatever the order of things, and never more than the bounds."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cache.history.looking import asked
from gcsidecar.cache.history.basis import Basis
from gcsidecar.cache.history.database import Database
from gcsidecar.cache.history.file import size_bytes
from gcsidecar.cache.history.limits import BATCH, LEAST_BYTES, SCATTERED_BATCH, WAL_MOST_BYTES, Limits
from gcsidecar.cache.history.records import Arrival, Departure, Evicted, How, Present, Record, Use
from gcsidecar.cache.regrets import Regret
from gcsidecar.cache.spec import HistorySpec
from gcsidecar.gc.collection import Eviction
from gcsidecar.gc.planning import Candidate, Want
from gcsidecar.gc.pressure import Measurement, Resource, Threshold

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 20
SMALL = Limits.within(ROWS, 1 << 30, 0)
BASIS = Basis("{folder}/.lease", "mtime", "user=0")
storable, amounts = st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, (1 << 63) - 1)
moments, obstacles = st.floats(0.0, 1e12), st.sampled_from(["", "caf\udce9: it is immutable"])
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
        self.there: dict[str, Present] = {}
        self.basis, self.bases = BASIS, dict[str, Basis]()
        self.gone: list[tuple[str, str]] = []
        self.regretted: dict[str, float] = {}
        self.open()

    def open(self) -> None:
        self.database = Database(self.fd, SMALL, self.basis, self.now)

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
        self.there[name] = Present(name, self.inode, at, 0.0)

    @rule(name=names, many=st.integers(1, 30))
    def use(self, name: str, *, many: int) -> None:
        inode = self.there[name].inode if name in self.there else 7
        self.write(*[Use(name, inode, self.now, 4096, 1)] * many)

    @rule(
        name=names,
        touched_at=st.sampled_from([0.0, 5.5]),
        times=st.tuples(storable, storable),
        leaseless=st.booleans(),
        size=st.none() | st.tuples(amounts, amounts, moments, moments, st.none() | obstacles),
    )
    def learn(
        self,
        name: str,
        touched_at: float,
        times: tuple[int, int],
        size: tuple[int, int, float, float, str | None] | None,
        *,
        leaseless: bool,
    ) -> None:
        known = self.there.get(name, Present(name, 7, None, 0.0))
        now = Present(name, known.inode, None, touched_at, *times, leaseless, *(size or ()))
        self.write(now)
        if name in self.there:
            self.there[name] = now._replace(arrived_at=known.arrived_at, touched_at=touched_at or known.touched_at)
            self.bases[name] = self.basis

    @rule(name=names, how=st.sampled_from(How), again=st.booleans())
    def depart(self, name: str, how: How, *, again: bool) -> None:
        known = self.there.pop(name, Present(name, self.inode + 1, None, 0.0))
        inode, at = known.inode, known.arrived_at
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

    @rule(basis=st.sampled_from([BASIS, replace(BASIS, lease_files="other"), replace(BASIS, rights="user=1")]))
    def restart(self, basis: Basis) -> None:
        self.database.close()
        self.basis = basis
        self.open()

    @invariant()
    @precondition(lambda self: hasattr(self, "database"))
    def those_that_are_there_are_known(self) -> None:
        found = {one.name: one for some in self.database.present() for one in some}
        assert found == {name: self.as_seen_now(one) for name, one in self.there.items()}
        there = [(one.name, one.inode) for one in self.there.values()]
        assert sorted(one for some in self.database.names() for one in some) == sorted(there)
        assert self.database.missing([*there, ("other", 1), ("a", 1)]) == [("other", 1), ("a", 1)]

    def as_seen_now(self, one: Present) -> Present:
        """What was found on another basis says nothing about leases, or sizes."""
        basis = self.bases.get(one.name, self.basis)
        if not basis.looked_alike(self.basis):
            one = one._replace(leaseless=False)
        if not basis.measured_alike(self.basis):
            one = Present(*one[:7])
        return one

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


def known(name: str, number: int) -> Present:
    """A folder of a size that was measured."""
    times = (1_790_000_000_123_456_789, 1_790_000_000_123_456_789 + number)
    return Present(name, number, None, 0.0, *times, leaseless=True, disk_bytes=1 << 30, inodes=1000, measured_at=1.79e9)


def test_a_hundred_thousand_folders_and_their_uses_keep_within_the_default_bounds(
    tmp_path: Path, directory_fd: int
) -> None:
    limits = Limits.within(HistorySpec().max_rows, HistorySpec().max_size, 1 << 40)
    database = Database(directory_fd, limits, BASIS, 0.0)
    largest = refused = log_bytes = 0

    def write(records: Iterator[Record], batch_records: int = BATCH) -> None:
        nonlocal largest, refused, log_bytes
        while batch := [record for _, record in zip(range(batch_records), records, strict=False)]:
            refused += database.write(batch)
            largest = max(largest, size_bytes(directory_fd))
            log_bytes = max(log_bytes, os.stat("history.sqlite-wal", dir_fd=directory_fd).st_size)

    many = 100_000
    write(Arrival(f"project-{number:06}-main", number, float(number)) for number in range(many))
    write(Use(f"project-{number:06}-main", number, 1e9, 1 << 30, 0) for number in range(many // 3))
    measured = (number * 7919 % many for number in range(many))  # in any order
    write((known(f"project-{number:06}-main", number) for number in measured), SCATTERED_BATCH)
    for number in range(0, many, 5):
        name = f"project-{number:06}-main"
        write(iter([Departure(name, number, 2e9 + number, How.EVICTED), evicted(name, number, 2e9 + number)]))
        if number > 5000:
            break
    database.settle(1.0)
    assert refused == 0
    present = [one.disk_bytes for some in database.present() for one in some]
    database.close()
    assert largest <= limits.bytes
    assert log_bytes <= WAL_MOST_BYTES
    assert present == [1 << 30] * (many - 1002)
    assert asked(tmp_path, "SELECT count(*) FROM evictions") == [1002]
    assert asked(tmp_path, "SELECT count(*) > 10000 FROM uses") == [1]


def test_rows_that_all_become_longer_in_any_order_keep_the_log_within_its_bound_and_those_without_room_are_refused(
    directory_fd: int,
) -> None:
    limits = Limits.within(200_000, 4 << 20, 1 << 40)
    database = Database(directory_fd, limits, BASIS, 0.0)
    names = [f"{number:05}{'x' * 250}" for number in range(4500)]
    for number in range(0, len(names), BATCH):
        database.write([Arrival(name, 1, 1.0) for name in names[number : number + BATCH]])
    refused, log_bytes = 0, 0
    in_any_order = [names[number * 1987 % len(names)] for number in range(len(names))]
    for number in range(0, len(names), SCATTERED_BATCH):
        some = [known(name, 1)._replace(obstacle="x" * 500) for name in in_any_order[number : number + SCATTERED_BATCH]]
        refused += database.write(some)
        log_bytes = max(log_bytes, os.stat("history.sqlite-wal", dir_fd=directory_fd).st_size)
    found = [one.disk_bytes for some in database.present() for one in some]
    assert database._pruning.present_bytes <= limits.present_bytes
    database.close()
    assert log_bytes <= WAL_MOST_BYTES
    assert size_bytes(directory_fd) <= limits.bytes
    # As many folders as there was room for, and of as many of these as there was room for beside them their sizes.
    assert 2000 < len(found) < len(names)
    assert 0 < len([size for size in found if size]) == len(found) - refused


def test_of_what_sizes_were_based_on_the_last_few_are_kept(tmp_path: Path, directory_fd: int) -> None:
    for number in range(40):
        database = Database(directory_fd, SMALL, replace(BASIS, rights=f"user={number}"), 0.0)
        database.write([Arrival("a", 1, 1.0), known("a", 1)])
        database.close()
    assert asked(tmp_path, "SELECT rights FROM bases")[-1] == "user=39"
    assert asked(tmp_path, "SELECT count(*) FROM bases") == [16]
    for number, size in ((39, 1 << 30), (38, None), (3, None)):
        database = Database(directory_fd, SMALL, replace(BASIS, rights=f"user={number}"), 0.0)
        assert [one.disk_bytes for some in database.present() for one in some] == [size]
        database.close()


def test_what_is_written_again_after_half_of_it_was_written_is_there_once(tmp_path: Path, directory_fd: int) -> None:
    database = Database(directory_fd, SMALL, BASIS, 0.0)
    records: list[Record] = [Arrival("a", 1, 1.0), Departure("a", 1, 2.0, How.EVICTED, 1.0), evicted("a", 1, 2.0)]
    records += [Departure("b", 2, 3.0, How.REMOVED)]
    for part in (records, records[1:]):
        database.write(part)
    database.close()
    assert asked(tmp_path, "SELECT name, departure FROM folders") == [(b"a", "evicted"), (b"b", "removed")]
    assert asked(tmp_path, "SELECT count(*) FROM wants") == [1]


def test_more_folders_than_there_may_be_rows_are_refused_and_what_happens_still_finds_room(
    tmp_path: Path, directory_fd: int
) -> None:
    database = Database(directory_fd, SMALL, BASIS, 0.0)
    assert database.write([Arrival(f"f{number}", number, 1.0) for number in range(ROWS + 10)]) == 10
    assert database.write([Departure("f0", 0, 2.0, How.EVICTED), evicted("f0", 0, 2.0)]) == 0
    assert database.write([Departure("f29", 29, 3.0, How.EVICTED), evicted("f29", 29, 3.0)]) == 0
    database.close()
    assert asked(tmp_path, "SELECT name FROM folders JOIN evictions ON folder = id ORDER BY at") == [b"f29"]


def test_a_bound_that_was_lowered_holds_from_the_next_start_on(tmp_path: Path, directory_fd: int) -> None:
    limits = Limits.within(200_000, 16 << 20, 1 << 40)
    database = Database(directory_fd, limits, BASIS, 0.0)
    for number in range(40):
        database.write([Use("a", 1, 1.0, 1, 1)])
        gone = [Departure(f"f{number}-{index}{'x' * 100}", index, float(index), How.EVICTED) for index in range(BATCH)]
        database.write(gone)
    database.close()
    assert size_bytes(directory_fd) > LEAST_BYTES
    Database(directory_fd, SMALL, BASIS, 0.0).close()
    assert size_bytes(directory_fd) <= LEAST_BYTES
    assert asked(tmp_path, "SELECT count(*) FROM folders") == [ROWS]

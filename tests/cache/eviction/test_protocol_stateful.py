"""The eviction protocol against everything that may happen beside it, in any order, on a real directory.

Clients take leases in two steps, as they do in a shell; whatever the sidecar does may be cut short at each step, or met
there by a client, a replacer or a second sidecar. What the design promises is looked at after each of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import re
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cache.helpers import reconcile, spec
from cache.leasing import put
from fakes import FakeClock
from gcsidecar.cache.custody import STANDBY
from gcsidecar.cache.errors import EvictionError, RemovalError
from gcsidecar.cache.eviction.slots import decode
from gcsidecar.cache.folders import finder
from gcsidecar.cache.root import Root
from gcsidecar.cache.use.leasefile import is_held
from gcsidecar.contract import MARK, decoded
from gcsidecar.gc import collector as gc
from gcsidecar.gc.errors import CollectionError, DisposableInUseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsidecar.cache.folders.folder import Folder

NAMES = ("a", "b")
LEASES = ("{f}/.lease", "{f}/.lease.{n}", "{f}/{n}.lease", "{f}.lease")
STEPS = ["open", "locked", "move out", "moved out", "looked again", "put back", "mark", "condemn", "delete", "deleted"]
ACTIONS = ["crash", "stop", "ask", "confirm", "take", "lock", "hold", "die", "create", "write", "swap", "second"]
MARKERS = 4
PARKED_TTL_SECONDS = 24 * 3600.0

names = st.sampled_from(NAMES)
leases = st.sampled_from(LEASES)
# What happens just before which step of whatever the sidecar does next.
Happenings = list[tuple[str, str, str]]


def told(*story: tuple[str, str]) -> st.SearchStrategy[Happenings]:
    """Happenings that chance alone would seldom put together."""
    return st.tuples(*(st.tuples(st.just(step), st.just(action), leases) for step, action in story)).map(list)


stories = st.one_of(
    st.just([]),
    st.sampled_from(STEPS).flatmap(lambda step: told((step, "crash"))),
    told(("move out", "take")),
    told(("move out", "take"), ("moved out", "create")),
    told(("move out", "take"), ("put back", "create")),
    told(("move out", "swap"), ("move out", "take")),
    told(("moved out", "create"), ("moved out", "take")),
    told(("delete", "crash")),
    told(("delete", "stop")),
)
anything = st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(ACTIONS), leases), max_size=2)
happenings = st.tuples(stories, anything).map(lambda parts: parts[0] + parts[1])


class CrashError(BaseException):
    """The process ends here; no `except Exception` sees it."""


@dataclass(eq=False)
class Client:
    """One user of a folder: `asked` for a lease, then `holding`, or `over`."""

    name: str
    lease: Path | None = None
    lock: int | None = None
    held: int | None = None  # the lease file, locked
    folder: str | None = None  # which of all the folders that had that name
    state: str = "asked"
    must_have: set[str] = field(default_factory=set)

    @property
    def is_beside(self) -> bool:
        return self.lease is not None and self.lease.parent.name != self.name


def folder_in(directory: Path) -> str | None:
    """Which folder it is, by the files it was made with; none if there is nothing of it left."""
    return next((match[1] for name in sorted(os.listdir(directory)) if (match := re.match(r"(k\d+)-", name))), None)


def is_lease(name: str) -> bool:
    return name == ".lease" or name.startswith(".lease.") or name.endswith(".lease")


def holds(path: Path) -> bool:
    """Whether it is a lease, and no dead one."""
    if not is_lease(path.name):
        return False
    with path.open("rb") as file:
        said = decoded(file.read())
        return said is None or is_held(file.fileno())


class Protocol(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="gcsidecar-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        self.descriptors = len(os.listdir("/proc/self/fd"))
        self.path = self.base / "root"
        self.outside = self.base / "outside"
        self.path.mkdir()
        self.outside.mkdir()
        self.clock = FakeClock(time.time())
        # By hours that only this clock knows of a look would count as long after a change in the very same tick.
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(finder, "RECENT_SECONDS", math.inf)
        self.count = 0
        self.clients: list[Client] = []
        self.written: dict[str, set[str]] = {}
        self.happenings: Happenings = []
        self.stop_after: int | None = None
        self.lock_was_lost = False
        self.second: Root | None = None
        for name in NAMES[:2]:
            self.create(name)
        self.root = self.open_root()

    def open_root(self, *, activate: bool = True) -> Root:
        self.stop_after = None
        collector = gc.GarbageCollector(clock=self.clock)
        options = {"clock": self.clock, "step": self.step, "stop": self.stop}
        root = Root(spec(self.path), collector, **options)  # type: ignore[arg-type]
        root.test_collector = collector  # type: ignore[attr-defined]
        if activate:
            root.custody.activate({})
        reconcile(root)
        return root

    # What others do, between two things the sidecar does and in the middle of one

    @rule(name=names)
    def create(self, name: str) -> None:
        """A client makes what it misses."""
        folder = self.path / name
        if os.path.lexists(folder):
            return
        self.count += 1
        key = f"k{self.count}"
        folder.mkdir()
        self.written[key] = {f"{key}-{number}" for number in range(MARKERS)}
        for file in self.written[key]:
            (folder / file).write_bytes(b"x" * 100)

    @rule(name=names, pattern=leases)
    def ask(self, name: str, pattern: str) -> None:
        """The first step of a client: `L=$(mktemp "$F/.lease.XXXXXX")`; where F is gone that is a miss."""
        self.count += 1
        lease = self.path / pattern.format(f=name, n=self.count)
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            os.close(os.open(lease, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self.clients.append(Client(name, lease))

    @rule()
    def confirm(self) -> None:
        """The second step of all who have asked: `test -e "$L"`; a lease beside the folder says nothing without it."""
        for client in self.clients:
            if client.state == "asked":
                there = client.lease is not None and client.lease.exists() and (self.path / client.name).is_dir()
                self.holds(client) if there else self.misses(client)

    @rule(name=names, pattern=leases)
    def take(self, name: str, pattern: str) -> None:
        self.ask(name, pattern)
        self.confirm()

    @rule(name=names)
    def hold(self, name: str) -> None:
        """As our client does, but with no lock on the folder: a lease file, locked before it has a lease's name."""
        self.count += 1
        with contextlib.suppress(FileNotFoundError):
            made = put(self.path / name, f"new-{self.count}")
            fd = os.open(made, os.O_RDONLY)
            fcntl.flock(fd, fcntl.LOCK_EX)
            self.clients.append(Client(name, made.rename(made.with_name(f".lease.{self.count}")), held=fd))

    @rule()
    def die(self) -> None:
        """The kernel drops the locks of all who hold one, and their files stay."""
        for client in [client for client in self.clients if client.held is not None]:
            client.state = "over"
            self.close(client)
            self.clients.remove(client)

    def close(self, client: Client) -> None:
        for fd in (client.lock, client.held):
            if fd is not None:
                os.close(fd)
        client.lock = client.held = None

    @rule(name=names)
    def lock(self, name: str) -> None:
        """A careful client: the shared lock, then a look whether the path still names it, unmarked."""
        try:
            fd = os.open(self.path / name, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            same = os.path.samestat(os.stat(self.path / name), os.fstat(fd)) and not os.fstat(fd).st_mode & MARK
        except OSError:
            same = False
        if not same:
            os.close(fd)
            return
        client = Client(name, lock=fd)
        self.clients.append(client)
        self.holds(client)

    def holds(self, client: Client) -> None:
        client.state = "holding"
        client.folder = folder_in(self.path / client.name)
        assert client.folder is not None, "what is partial had a folder's name"
        client.must_have = self.written[client.folder]

    def misses(self, client: Client) -> None:
        client.state = "over"
        self.remove_lease(client)

    def remove_lease(self, client: Client) -> None:
        """As `rm -f "$L"`; a name like `F/.lease`, that two may have, is for a single holder only, and nobody else."""
        if client.lease is not None and all(c.lease != client.lease or c.state == "over" for c in self.clients):
            client.lease.unlink(missing_ok=True)

    @rule(name=names)
    def write(self, name: str) -> None:
        folder = self.path / name
        key = folder_in(folder) if folder.is_dir() else None
        if key is not None:
            self.count += 1
            (folder / f"{key}-{self.count}").write_bytes(b"y")
            self.written[key].add(f"{key}-{self.count}")

    @rule(name=names, within=st.booleans())
    def swap(self, name: str, *, within: bool = False) -> None:
        """A replacer: another folder has the name from now on. (A lease beside it doesn't follow; one inside does.)"""
        folder = self.path / name
        if not folder.is_dir():
            return
        self.count += 1
        folder.rename((self.path if within else self.outside) / f"{name}-{self.count}")
        for client in self.clients:
            if client.name == name and client.state != "over" and client.is_beside:
                client.state = "over"
        self.create(name)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(self.clients))
        self.let_go(client)
        self.clients.remove(client)

    def let_go(self, client: Client) -> None:
        client.state = "over"
        self.remove_lease(client)
        self.close(client)

    @rule()
    def lose_the_lock_file(self) -> None:
        """Somebody tidies up: a second sidecar may act beside the first from now on."""
        (self.path / ".gcsidecar/lock").unlink(missing_ok=True)
        self.lock_was_lost = True

    # What the sidecar does

    def step(self, step: str) -> None:
        now = [happening for happening in self.happenings if happening[0] == step]
        self.happenings = [happening for happening in self.happenings if happening[0] != step]
        for _, action, pattern in now:
            self.happen(action, pattern)

    def stop(self) -> bool:
        if self.stop_after is None:
            return False
        self.stop_after -= 1
        return self.stop_after < 0

    def happen(self, what: str, pattern: str) -> None:
        if what == "crash":
            raise CrashError
        if what == "stop":
            self.stop_after = 1  # in the middle of a deletion, which asks for each chunk
        elif what in {"confirm", "die"}:
            getattr(self, what)()
        elif what == "second":
            self.a_second_sidecar()
        elif what in {"ask", "take"}:
            for name in NAMES:
                getattr(self, what)(name, pattern)
        else:
            for name in NAMES:
                getattr(self, what)(name)

    @contextlib.contextmanager
    def meanwhile(self, happenings: Happenings) -> Iterator[None]:
        """A crash in it ends the process; another one is started."""
        self.happenings = list(happenings)
        try:
            with contextlib.suppress(EvictionError, RemovalError):
                yield
        except CrashError:
            self.happenings = []
            self.restart([])
        finally:
            self.happenings, self.stop_after = [], None

    @rule(happenings=happenings)
    def restart(self, happenings: Happenings) -> None:
        self.root.close()
        self.root = self.open_root()
        with self.meanwhile(happenings):
            self.root.custody.recover()

    @rule()
    def look_around(self) -> None:
        reconcile(self.root)
        self.check_totals_against_the_disk()

    @rule(happenings=happenings)
    def recover(self, happenings: Happenings) -> None:
        with self.meanwhile(happenings):
            self.root.custody.recover()

    @rule(name=names, happenings=happenings)
    def evict(self, name: str, happenings: Happenings) -> None:
        folder = self.root.census.get(name)
        if folder is not None:
            with self.meanwhile(happenings):
                self.dispose(folder)

    def dispose(self, folder: Folder) -> None:
        before = self.lying("evicting")
        try:
            folder.dispose()
        except DisposableInUseError:
            # Where it can go back it has gone back.
            parked = {decode(entry.name) for entry in self.lying("evicting") if entry not in before}
            assert all((self.path / name).exists() for name in parked)

    @rule(name=names)
    def evict_what_is_free(self, name: str) -> None:
        """What nobody uses goes when it is asked for; what somebody uses stays, whole."""
        reconcile(self.root)
        folder, used = self.root.census.get(name), self.why_used(name)
        if folder is None:
            return
        stays = used or self.root.restraints.holds_back(folder) == STANDBY
        with pytest.raises(DisposableInUseError) if stays else contextlib.nullcontext():
            folder.dispose()
        assert (self.path / name).exists() == stays

    @rule(happenings=happenings)
    def collect(self, happenings: Happenings) -> None:
        reconcile(self.root)
        with self.meanwhile(happenings), contextlib.suppress(CollectionError):
            self.root.test_collector.collect_all()  # type: ignore[attr-defined]

    @rule()
    def a_second_sidecar(self) -> None:
        """It stands by, or acts where it thinks that it is alone; it may come in the middle of the first one's work."""
        if self.second is None:
            self.second = self.open_root(activate=False)
        active = self.second.custody.activate({})
        assert not (active and self.root.custody.active) or self.lock_was_lost, "two act on one root"
        reconcile(self.second)
        self.second.custody.recover()
        for folder in self.second.census.folders():
            try:
                folder.dispose()
            except (DisposableInUseError, EvictionError):
                continue
            assert active

    @rule()
    def the_second_ends(self) -> None:
        if self.second is not None:
            self.second.close()
            self.second = None

    @rule(hours=st.sampled_from([0.1, 25.0]), jump=st.booleans())
    def time_goes_by(self, hours: float, *, jump: bool) -> None:
        self.root.custody.recover()
        self.clock.now += hours * 3600
        if not jump:
            self.clock.mono += hours * 3600
            self.end_what_nobody_can_end(hours * 3600)
        self.root.custody.recover()

    def end_what_nobody_can_end(self, seconds: float) -> None:
        for client in self.clients:
            # The one exception that the design makes: nobody could remove such a lease.
            bare = client.lock is None and client.held is None
            if seconds > PARKED_TTL_SECONDS and bare and not client.is_beside:
                where = self.where(client.folder)
                if where is not None and self.path / ".gcsidecar" in where.parents:
                    client.state = "over"

    # What has to hold

    def why_used(self, name: str) -> bool:
        folder = self.path / name
        if not folder.is_dir():
            return False
        inside = any(holds(folder / entry) for entry in os.listdir(folder))
        locked = any(c.lock is not None and c.folder == folder_in(folder) for c in self.clients)
        parked = name in (decode(entry.name) for entry in self.lying("evicting"))
        return inside or locked or parked or (self.path / f"{name}.lease").exists()

    def lying(self, side: str) -> list[Path]:
        return sorted((self.path / ".gcsidecar" / side).glob("*/*"))

    def named(self) -> list[Path]:
        """Whatever has a folder's name."""
        return [entry for entry in self.path.iterdir() if entry.name != ".gcsidecar" and not is_lease(entry.name)]

    def where(self, key: str | None) -> Path | None:
        places = [*self.named(), *self.lying("evicting"), *self.outside.iterdir()]
        return next((place for place in places if folder_in(place) == key), None)

    @invariant()
    def nothing_in_use_ever_loses_a_file(self) -> None:
        for client in getattr(self, "clients", ()):
            if client.state == "holding":
                where = self.where(client.folder)
                assert where is not None, f"{client} lost its folder"
                assert client.must_have <= set(os.listdir(where))

    @invariant()
    def nothing_partial_has_a_folders_name(self) -> None:
        for folder in self.named() if hasattr(self, "path") else ():
            key = folder_in(folder)
            assert key is not None, f"{folder} is empty"
            assert self.written[key] <= set(os.listdir(folder))
            assert not folder.stat().st_mode & MARK

    @invariant()
    def totals_are_the_sum_of_what_is_known(self) -> None:
        if not hasattr(self, "root"):
            return
        known, tally = self.root.census.folders(), self.root.tally()
        assert sum(amount.folders for amount in tally.by_state.values()) == len(known)
        assert tally.leases == sum(folder.leases for folder in known)
        # The collector is given each folder that is known, and nothing else.
        (source,) = self.root.test_collector._registry.sources(with_backed_off=True)  # type: ignore[attr-defined]
        given = [id(candidate.subject) for candidate in source.candidates(self.clock.time(), ())]
        assert sorted(given) == sorted(map(id, known))

    def check_totals_against_the_disk(self) -> None:
        tally = self.root.tally()
        assert sum(amount.folders for amount in tally.by_state.values()) == len(self.named())
        inside = sum(holds(folder / entry) for folder in self.named() for entry in os.listdir(folder))
        beside = sum((self.path / f"{folder.name}.lease").exists() for folder in self.named())
        assert tally.leases == inside + beside

    def teardown(self) -> None:
        if not hasattr(self, "root"):
            return
        try:
            self.be_quiet()
            self.evict_all()
            self.root.close()
            assert len(os.listdir("/proc/self/fd")) == self.descriptors
        finally:
            self.patch.undo()
            shutil.rmtree(self.base)

    def be_quiet(self) -> None:
        """When all is over, nothing stays in `.gcsidecar/` for ever."""
        for client in self.clients:
            self.let_go(client)
        self.the_second_ends()
        self.remove_all_leases()  # but those in what is parked, which are out of reach
        self.restart([])
        self.clock.advance(2 * PARKED_TTL_SECONDS)
        self.root.custody.recover()
        assert self.lying("evicting") == self.lying("condemned") == []
        self.nothing_partial_has_a_folders_name()

    def remove_all_leases(self) -> None:
        for lease in [*self.path.glob("*.lease"), *self.path.glob("?*/*.lease"), *self.path.glob("?*/.lease*")]:
            lease.unlink(missing_ok=True)

    def evict_all(self) -> None:
        self.remove_all_leases()
        reconcile(self.root)
        for folder in self.root.census.folders():
            folder.dispose()
        assert not self.named()
        assert not self.root.census.folders()
        assert stat.S_IMODE((self.path / ".gcsidecar/evicting").stat().st_mode) == 0o700


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(
    max_examples=500,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

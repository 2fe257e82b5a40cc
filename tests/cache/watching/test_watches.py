"""Which names a descriptor has and which descriptor a name, whatever is put, taken and ended by the kernel."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gcsidecar.cache.watching.watches import NOT_IN_FORCE, Change, Watches

NAMES = st.sampled_from(["", "a", "b", "above/", "above/c"])
DESCRIPTORS = st.integers(1, 4)


def nobody(_change: Change) -> None:
    """Nobody listens."""


class Bookkeeping(RuleBasedStateMachine):
    """Against the plainest thing that keeps the same: one descriptor a name."""

    def __init__(self) -> None:
        super().__init__()
        self.watches = Watches("/root", nobody)
        self.known: dict[str, int] = {}
        self.limited: set[str] = set()

    def names_of(self, descriptor: int) -> set[str]:
        return {name for name, known in self.known.items() if known == descriptor}

    def forgets(self, name: str) -> int:
        """What the kernel is to let go of when a name goes."""
        self.limited.discard(name)
        before = self.known.pop(name, NOT_IN_FORCE)
        return NOT_IN_FORCE if self.names_of(before) else before

    @rule(name=NAMES, descriptor=DESCRIPTORS)
    def put(self, name: str, descriptor: int) -> None:
        expected = NOT_IN_FORCE if self.known.get(name) == descriptor else self.forgets(name)
        assert self.watches.put(name, descriptor) == expected
        self.known[name] = descriptor

    @rule(name=NAMES, limited=st.booleans())
    def refuse(self, name: str, *, limited: bool) -> None:
        self.take(name)
        self.watches.refuse(name, limited=limited)
        self.known[name] = NOT_IN_FORCE
        if limited:
            self.limited.add(name)

    @rule(name=NAMES)
    def take(self, name: str) -> None:
        assert self.watches.take(name) == self.forgets(name)

    @rule(descriptor=DESCRIPTORS)
    def end(self, descriptor: int) -> None:
        names = self.names_of(descriptor)
        assert set(self.watches.take_all(descriptor)) == names
        for name in names:
            del self.known[name]

    @rule()
    def lapse(self) -> None:
        self.watches.lapse()
        self.known = dict.fromkeys(self.known, NOT_IN_FORCE)
        self.limited = set(self.known)

    @rule()
    def clear(self) -> None:
        self.watches.clear()
        self.known, self.limited = {}, set()

    @invariant()
    def agree(self) -> None:
        assert set(self.watches.names()) == set(self.known)
        names: dict[int, set[str]] = defaultdict(set)
        for name, descriptor in self.known.items():
            assert self.watches.descriptor_of(name) == descriptor
            names[descriptor].add(name)
        refused = names.pop(NOT_IN_FORCE, set())
        for descriptor in range(1, 5):
            found = self.watches.names_of(descriptor)
            assert (set(found), len(found)) == (names[descriptor], len(names[descriptor]))
        assert (self.watches.in_force, self.watches.refused) == (len(self.known) - len(refused), len(refused))
        assert self.watches.limited == bool(self.limited)
        assert dict(self.watches.refusals()) == {name: name in self.limited for name in refused}


TestBookkeeping = Bookkeeping.TestCase


def test_a_name_leads_to_its_path_be_it_the_root_a_folder_or_a_directory_above_folders() -> None:
    watches = Watches("/mnt/caf\udce9", nobody)
    assert [watches.path_of(name) for name in ("", "a", "above/", "above/\udcff")] == [
        b"/mnt/caf\xe9",
        b"/mnt/caf\xe9/a",
        b"/mnt/caf\xe9/above",
        b"/mnt/caf\xe9/above/\xff",
    ]

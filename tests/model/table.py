"""What spin explores: sets of participants for which all has to hold, and what is refuted once a check is left out.

The names are those that `lease.pml` explains; how one is explored stands in `spin.py`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """One configuration, and what has to come of it.

    Attributes:
        configuration: What is defined for it.
        refutes: What it shows to be wrong; empty where all has to hold.
        is_long: Whether it is left to `make model`.
    """

    configuration: str
    refutes: str = ""
    is_long: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """A check of the protocol.

    Attributes:
        name: What is defined as 0 to leave it out.
        sees: What it sees to.
        refuted_with: The participants for whom all holds with it, and not without.
    """

    name: str
    sees: str
    refuted_with: str

    @property
    def case(self) -> Case:
        """The check left out."""
        return Case(f"{self.refuted_with} {self.name}=0", refutes=f"without: {self.sees}")


_SHORT = (
    "CAREFUL SIMPLE",
    "CAREFUL CAREFUL2 STRICT=1",
    "CAREFUL REPLACER",
    "CAREFUL REAPER R=2 STRICT=1",
    "CAREFUL SIMPLE LOCK=0",
    "SIMPLE SIMPLE2",
    "SIMPLE SIMPLE2 LOCK=0",
    "SIMPLE SIMPLE2 STRICT=1 AGAIN=1",
    "SIMPLE SIMPLE2 EARLY=1",
    "SIMPLE REPLACER EARLY=1",
    "MOUNTED SIMPLE",
    "MOUNTED CAREFUL STRICT=1",
    "MOUNTED REPLACER",
    "BESIDE SIMPLE",
    "BESIDE CAREFUL STRICT=1",
    "BESIDE REPLACER",
    "BEATING REAPER",
    "FLOCK SIMPLE",
    "FLOCK REPLACER",
    "REMOTE SIMPLE LOCK=0",
    "REMOTE BESIDE LOCK=0",
    "TWOEV CAREFUL E=1",
    "TWOEV SIMPLE E=1 CRASHES=0",
    "TWOEV MOUNTED E=1",
    "TWOEV REPLACER E=1",
    "TWOEV CAREFUL E=1 LOCK=0 CRASHES=0",
    "TWOEV SIMPLE E=1 LOCK=0 CRASHES=0 REMAKE=0",
    "TWOEV BESIDE E=1 LOCK=0 CRASHES=0",
)

_LONG = (
    "CAREFUL SIMPLE R=2",
    "CAREFUL CAREFUL2 R=2 E=3 KILLS=2",
    "CAREFUL CAREFUL2 REAPER",
    "CAREFUL SIMPLE REAPER",
    "CAREFUL SIMPLE REPLACER",
    "CAREFUL SIMPLE CRASHES=2",
    "SIMPLE SIMPLE2 R=2",
    "SIMPLE SIMPLE2 REPLACER",
    "MOUNTED SIMPLE R=2",
    "MOUNTED SIMPLE REPLACER",
    "BESIDE SIMPLE CAREFUL",
    "BEATING CAREFUL",
    "BEATING REPLACER",
    "FLOCK SIMPLE CAREFUL",
    "REMOTE SIMPLE LOCK=0 R=2",
    "REMOTE CAREFUL LOCK=0 R=2",
    "TWOEV SIMPLE E=1",
    "TWOEV CAREFUL E=2",
    "TWOEV BESIDE E=1",
    "TWOEV CAREFUL REPLACER E=1 CRASHES=0",
    "TWOEV CAREFUL SIMPLE E=1 CRASHES=0",
    "TWOEV CAREFUL E=1 LOCK=0",
    "TWOEV SIMPLE E=1 LOCK=0 REMAKE=0",
    "TWOEV BESIDE E=1 LOCK=0",
)

# What clients may not do, and what nobody can guarantee.
REFUTED = (
    Case("SIMPLE SIMPLE2 OWNFILE=0", "one lease file for two holders: the first to remove it ends both"),
    Case("BEATING RENEW=0", "a heartbeat that comes after its ttl, and is taken for one that came in time"),
    Case("SIMPLE STRICT=1", "a lease file removed by path while its folder is away: it comes back with the folder"),
    Case("MOUNTED LOCK=0", "the folder itself mounted, and a filesystem without locks"),
    Case("MOUNTED MODES=0", "the folder itself mounted, a filesystem where it can't be marked, and a crash"),
    Case(
        "TWOEV SIMPLE E=1 LOCK=0 CRASHES=0",
        "two sidecars, a filesystem without locks, and a client that makes its folder again",
    ),
)

CHECKS = (
    Check("STILL", "once it is locked, the name still names it", "TWOEV CAREFUL E=1 CRASHES=0"),
    Check("PARKNAME", "a name is leased while another folder of that name is parked", "SIMPLE"),
    Check("ONCE", "no two entries of slots are called the same", "TWOEV CAREFUL E=1 LOCK=0 CRASHES=0"),
    Check("SAME", "what was moved is what was opened", "SIMPLE REPLACER"),
    Check("SETTLE", "before the second look, a wait for the views of other hosts", "REMOTE LOCK=0"),
    Check("DEAD", "a lease that says that it is locked, and isn't, holds nothing", "CAREFUL STRICT=1"),
    Check("LOOK2", "leases, once it is moved", "SIMPLE"),
    Check("MARK", "a mark on what is condemned", "MOUNTED"),
    Check("CONDEMN", "a place of its own for what is no longer whole", "CAREFUL"),
    Check("HOLD", "the lock, until the folder is gone", "MOUNTED MODES=0 CRASHES=0"),
    Check("RLOCK", "recovery: the lock, before anything is done with what is whole", "MOUNTED REPLACER"),
    Check("RSTILL", "recovery: once it is locked, the slot still holds it", "TWOEV MOUNTED E=1"),
    Check("UNMARK", "recovery: the mark is taken off", "CAREFUL"),
    Check("RBACK", "recovery: it goes back where its name is free", "SIMPLE"),
    Check("RSETTLE", "recovery: before its look, a wait for the views of other hosts", "REMOTE SIMPLE LOCK=0"),
    Check("RLOOK", "recovery: leases, before it is condemned", "SIMPLE"),
    Check("EXPIRE", "recovery: bare leases in a parked folder end (`parked_ttl`)", "SIMPLE"),
    Check("VERIFY2", "our client: once its lease is there, the path still names the folder", "CAREFUL LOCK=0"),
    Check("PUTLOCKED", "our client: its lease file appears locked", "CAREFUL REAPER"),
    Check("CONFIRM", "a simple client: its lease file is there (`test -e`)", "SIMPLE"),
    Check("COMPARE", "`flock -s`: the path names what is locked", "FLOCK SIMPLE"),
)

_WITHOUT_WHAT_IS_KEPT = ("CAREFUL SIMPLE", "CAREFUL REPLACER", "MOUNTED SIMPLE", "TWOEV MOUNTED E=1")

# Checks that nothing refutes, and what each is kept for.
KEPT = {
    "LOOK1": "the first look for leases spares a leased folder the two renames",
    "VERIFY1": "our client's first look at the path spares somebody else's folder a lease file",
    "LINKS": "a lease file can't be put into a deleted folder anyway; one look at the inode has both, links and mark",
    "CMARK": "for a client that came by its path, the lock and the path do; it is the same look as for one that didn't",
    "MMARK1": "a client that has the folder itself mounted: either look at the mark does",
    "MMARK2": "a client that has the folder itself mounted: either look at the mark does",
    "DLOCK": "what is condemned bears a mark, and nobody goes in; it is for filesystems where that can't be set",
}

# Whoever refutes a check when it is left out has to hold with it.
_WITH_THE_CHECK = tuple(check.refuted_with for check in CHECKS)

HOLDING = (
    *(Case(configuration) for configuration in dict.fromkeys((*_SHORT, *_WITH_THE_CHECK))),
    *(Case(configuration, is_long=True) for configuration in _LONG),
    *(Case(f"{who} {check}=0", is_long=True) for check in KEPT for who in _WITHOUT_WHAT_IS_KEPT),
)

CASES = (*HOLDING, *REFUTED, *(check.case for check in CHECKS))

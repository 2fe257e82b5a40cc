"""What every kind of lease gives, tried with each of them."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from cache.helpers import make_folder, opened, reconcile
from e2e.harness import eventually
from fakes import NOW
from shell.holders import BY_HAND, HOLDERS, kept, lease_files, shell

if TYPE_CHECKING:
    from pathlib import Path

STEPS = ("open", "locked", "move out", "moved out", "looked again", "mark", "condemn", "delete", "deleted")
# Why a folder is kept after the process is killed.
ENDS = {"by hand": "leased", "flock": None, "python": None, "run": "leased", "exec": None, "acquire": "leased"}
# How many lease files there are, and whether the folder itself is locked.
HELD_BY = {"by hand": (1, 0), "flock": (0, 1), "python": (1, 1), "run": (1, 1), "exec": (1, 1), "acquire": (1, 0)}
FILES = [kind for kind in HOLDERS if kind != "flock"]


@pytest.mark.parametrize("kind", HOLDERS)
def test_a_held_folder_stays_and_one_that_is_let_go_can_be_evicted(folder: Path, kind: str) -> None:
    """While a folder has a lease, nothing of it is deleted, however scarce space is."""
    with HOLDERS[kind](folder):
        assert kept(folder.parent, folder.name) == "leased"
        assert (folder / "data").exists()
        with opened(folder.parent, max_folders=0) as root:
            assert root.census.get(folder.name) is not None
    if kind != "exec":  # whose file stays behind, unlocked
        assert kept(folder.parent, folder.name) is None
        assert not folder.exists()


@pytest.mark.parametrize("kind", HOLDERS)
@pytest.mark.parametrize("other", ["by hand", "flock", "run"])
def test_the_last_of_two_holders_ends_it(folder: Path, kind: str, other: str) -> None:
    """Each holder has a lease of its own, and the folder is held until the last of them has ended."""
    with HOLDERS[other](folder):
        with HOLDERS[kind](folder):
            pass
        assert kept(folder.parent, folder.name) == "leased"
    if kind != "exec":
        assert kept(folder.parent, folder.name) is None


@pytest.mark.parametrize(("kind", "after"), ENDS.items())
def test_what_becomes_of_it_when_its_process_is_killed(folder: Path, kind: str, after: str | None) -> None:
    """a file made by hand | the file, until it is removed | it holds on | a shell

    `flock -s` | a lock on the folder, until the last process that has it ends | it ends | `flock`, and real locks

    Python's `lease` | a file and locks, until it is released | it ends | this package

    `gcsidecar lease run` | a file and locks, until the command and all that inherited them have ended | the command
    holds on | this package

    `gcsidecar lease exec` | a file and locks, until the command and all that inherited them have ended | it ends | this
    package, and real locks

    `gcsidecar lease acquire` | the file, until it is removed | there is none, and it holds on | this package
    """
    with HOLDERS[kind](folder) as process:
        files, lock = lease_files(folder), shell('flock -n -x "$1" true', folder).returncode
        assert (len(files), lock) == HELD_BY[kind]
        if isinstance(process, subprocess.Popen):
            process.kill()
            process.wait()
            if kind == "flock":  # whose command has it, too
                assert process.stdin is not None
                process.stdin.close()
        if after is None:
            eventually(lambda: kept(folder.parent, folder.name) is None, "it ends")
        else:
            assert kept(folder.parent, folder.name) == after


def test_a_folder_that_is_being_taken_away_is_missing_or_whole(folder: Path) -> None:
    """Whoever comes by name while a folder is being taken away finds it missing, or finds it whole."""
    for number in range(20):
        (folder / f"file{number}").write_bytes(b"x")
    whole, seen = sorted(os.listdir(folder)), {}

    def look(step: str) -> None:
        seen[step] = sorted(os.listdir(folder)) if folder.exists() else None

    assert kept(folder.parent, folder.name, step=look) is None
    assert tuple(seen) == STEPS
    assert [seen[step] for step in STEPS] == [whole] * 3 + [None] * 6


@pytest.mark.parametrize("step", STEPS[3:])
def test_a_new_folder_of_the_name_is_another_one(folder: Path, step: str) -> None:
    """Missing is a miss: a folder that is made anew under the name is another one, and is left alone."""

    def make_anew(now: str) -> None:
        if now == step:
            (make_folder(folder.parent, folder.name) / "new").touch()

    kept(folder.parent, folder.name, step=make_anew)
    assert sorted(os.listdir(folder)) == ["data", "new"]


@pytest.mark.parametrize("where", [".lease", "f/sub/.lease", "f/sub/.lease.x"])
def test_a_lease_is_on_one_folder(folder: Path, where: str) -> None:
    """A lease is on the folder that it lies in, and on no folder above or below it."""
    (folder / "sub").mkdir()
    (folder.parent / where).touch()
    assert kept(folder.parent, folder.name) is None


@pytest.mark.parametrize("kind", HOLDERS)
def test_a_lease_needs_no_sidecar(folder: Path, kind: str) -> None:
    """A lease needs no sidecar: one that starts later finds it."""
    with HOLDERS[kind](folder):
        assert not (folder.parent / ".gcsidecar").exists()
        assert kept(folder.parent, folder.name) == "leased"


@pytest.mark.parametrize("kind", [*FILES, "touch", "read"])
def test_taking_and_ending_a_lease_are_uses(folder: Path, kind: str) -> None:
    """To take a lease that is a file, and to end it, counts as a use of the folder; so does `touch FOLDER`, and reading
    in it does not.
    """

    def last_used() -> float:
        with opened(folder.parent) as root:
            reconcile(root)
            found = root.census.get(folder.name)
            assert found is not None
            return found.last_used()

    long_ago(folder)
    began = time.time() - 1
    if kind in HOLDERS:
        with HOLDERS[kind](folder):
            assert last_used() >= began
            long_ago(folder)
    elif kind == "touch":
        shell('touch "$1"', folder)
    else:
        shell('cat "$1"/*', folder)
    if kind != "exec":
        assert (last_used() >= began) == (kind != "read")


def long_ago(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        os.utime(path, (NOW, NOW))


@pytest.mark.parametrize("step", STEPS)
def test_a_lease_that_was_confirmed_holds_whenever_it_was_taken(folder: Path, step: str) -> None:
    """`test -e`, once, after it was made, confirms a lease: from then on the folder stays."""
    found = []

    def come(now: str) -> None:
        if now == step:
            done = shell(BY_HAND.replace("trap 'rm -f", "trap ': rm -f"), folder)
            found.append(done.returncode)

    reason = kept(folder.parent, folder.name, step=come)
    assert found == [0 if step in STEPS[:3] else 75]
    assert (reason == "leased", folder.exists()) == ((True, True) if found == [0] else (False, False))

"""Patterns of locks that tools keep, and the rule that no directory of leases or locks is itself a folder."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import product

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gcsidecar.cache.folders.listing import FolderGlob
from gcsidecar.cache.spec import InUseSpec, LeaseSpec, RootSpec, Seconds
from gcsidecar.cache.use.lease import LeasePatterns
from gcsidecar.sidecar.config.loader import read_text
from gcsidecar.sidecar.config.patterns import folders_fault, lease_fault, lock_fault


def text_of(rest: str) -> bytes:
    return f"roots:\n- name: jobs\n  path: /cache/jobs\n{rest}\n".encode()


def lines_of(rest: str) -> list[str]:
    return [problem.at("f.yaml") for problem in read_text(text_of(rest), {}).problems]


def root_of(rest: str) -> RootSpec:
    reading = read_text(text_of(rest), {})
    assert reading.config is not None, [problem.at("f") for problem in reading.problems]
    return reading.config.roots[0]


def test_neither_tools_locks_nor_open_files_count_unless_asked_for() -> None:
    root = root_of("")
    assert (root.lease.locks, root.lease.lock_grace, root.in_use) == ((), Seconds(120), InUseSpec(open_files=False))


def test_locks_their_grace_and_open_files_can_be_set() -> None:
    root = root_of('  lease: {locks: [".locks/{folder}/*.lock"], lock_grace: 5m}\n  in_use: {open_files: true}')
    assert root.lease == LeaseSpec(locks=(".locks/{folder}/*.lock",), lock_grace=Seconds(300))
    assert root.in_use.open_files


@pytest.mark.parametrize("grace", ["0", "0s"])
def test_a_grace_of_0_is_no_grace(grace: str) -> None:
    assert root_of(f"  lease: {{lock_grace: {grace}}}").lease.lock_grace == Seconds(0)


EXAMPLE = 'a pattern such as ".locks/{folder}/*.lock" or "{folder}/lock"'
LEAVE_OUT = 'folders that leave that directory out, such as "models--*": evicting it would disarm the locks'


@pytest.mark.parametrize(
    ("pattern", "what", "remedy"),
    [
        ("/x/{folder}", "is an absolute path", f"a path relative to the root: {EXAMPLE}"),
        ("{folder}/../x", "leads out of the root with ..", EXAMPLE),
        ("{folder}/**", "has **, which has no bounded depth", EXAMPLE),
        (".locks/*.lock", "has no {folder}", f"{{folder}} once, in place of the folder's name: {EXAMPLE}"),
        ("{folder}/{hash}.lock", "has braces that are not {folder}", EXAMPLE),
        ("{folder}", "is the folder itself, whose lock holds it in any case", EXAMPLE),
        ("{folder}*", "also matches what belongs to another folder whose name starts the same", EXAMPLE),
        ("*/{folder}.lock", "can match outside its folder: a wildcard stands before {folder}", EXAMPLE),
        (".gcsidecar/{folder}", "lies in the sidecar's own directory", LEAVE_OUT),
        ("locks/{folder}/*", 'lies in "locks", which is a folder itself by folders: "*"', LEAVE_OUT),
        ("{folder}-locks/x", 'lies in "*-locks", which is a folder itself by folders: "*"', LEAVE_OUT),
    ],
)
def test_a_wrong_pattern_of_locks_has_its_line_and_a_remedy(pattern: str, what: str, remedy: str) -> None:
    (line,) = lines_of(f"  lease:\n    locks:\n    - '{pattern}'")
    assert line == f'f.yaml:6: roots[0].lease.locks[0]: "{pattern}" {what}; {remedy}'


@pytest.mark.parametrize(
    "pattern",
    ["{folder}/lock", ".locks/{folder}/*.lock", ".locks/{folder}/*", "{folder}/*", "{folder}.lock", "{folder}/a/*.lck"],
)
def test_a_pattern_of_locks_may_match_all_that_is_in_a_directory(pattern: str) -> None:
    assert not lines_of(f"  lease: {{locks: ['{pattern}']}}")


@pytest.mark.parametrize(
    ("folders", "pattern"),
    [
        (".locks", ".locks/{folder}/*.lock"),
        (".*", ".locks/{folder}/*.lock"),
        (".l?cks", ".locks/{folder}/*.lock"),
        (".*/.*", ".locks/{folder}/*.lock"),
        ("*", "locks/{folder}.lock"),
        ("[a-z]*", "locks/{folder}.lock"),
        ("*/*", "locks/{folder}.lock"),
        ("*/*", "x/locks/{folder}.lock"),
        ("[ab]*", "{folder}-locks/x"),
    ],
)
def test_a_glob_of_folders_that_covers_the_directory_of_locks_or_leases_is_refused(folders: str, pattern: str) -> None:
    for key in ("locks", "files"):
        (line,) = lines_of(f"  folders: '{folders}'\n  lease: {{{key}: ['{pattern}']}}")
        assert f'which is a folder itself by folders: "{folders}"' in line


@pytest.mark.parametrize(
    ("folders", "pattern"),
    [
        ("*", ".locks/{folder}/*.lock"),
        ("*/*", ".locks/{folder}/*.lock"),
        ("models--*", "locks/{folder}/*.lock"),
        ("models--*", "locks-{folder}/x"),
        (".*/*", ".locks/{folder}/*.lock"),
        ("*/*/*", ".locks/{folder}.lock"),
        ("*/*/*", "{folder}.lock"),
        ("*/models--*", "{folder}.lock"),
        ("[!l]*", "locks/{folder}.lock"),
        ("?", "locks/{folder}.lock"),
    ],
)
def test_hidden_directories_are_covered_only_where_the_glob_says_so(folders: str, pattern: str) -> None:
    assert not lines_of(f"  folders: '{folders}'\n  lease: {{locks: ['{pattern}']}}")


GLOBS = st.lists(st.sampled_from(["a", "b", ".", "*", "?", "[ab]", "[!a]", "[", "-"]), min_size=1, max_size=4)
PATHS = st.lists(GLOBS.map("".join), min_size=1, max_size=2).map("/".join)
NAMES = ["a", "b", "ab", "a-", "-b", ".a", "ba-a"]


@given(PATHS, st.sampled_from(NAMES))
@example("*", "ab")
@example("*/*", "ab")
@example("*?[ab]", "a")
def test_wherever_locks_would_lie_in_a_folder_the_pattern_is_refused(glob: str, where: str) -> None:
    assume(folders_fault(glob) is None)
    folders, depth = FolderGlob(glob, LeasePatterns(("{folder}/.lease",))), glob.count("/") + 1
    for folder in filter(folders.matches, map("/".join, product(NAMES, repeat=depth))):
        for pattern in (f"{where}/{{folder}}/x", f"{where}/{{folder}}.x", f"{{folder}}{where}/x"):
            *above, _ = pattern.replace("{folder}", folder).split("/")
            if folders.matches("/".join(above[:depth])):
                assert lock_fault(pattern, glob)
                assert lease_fault(pattern, glob)


@given(GLOBS.map("".join), st.sampled_from(NAMES))
def test_a_directory_of_locks_is_refused_only_where_it_is_a_folder(glob: str, where: str) -> None:
    assume(folders_fault(glob) is None)
    is_folder = fnmatchcase(where, glob) and (not where.startswith(".") or glob.startswith("."))
    assert (lock_fault(f"{where}/{{folder}}/x", glob) is not None) == is_folder

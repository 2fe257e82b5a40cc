"""Which names are leases, whose they are, and how one without a sign of life ends."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cache.helpers import make_folder, opened, reconcile
from fakes import FakeClock
from gcsidecar.cache import syscalls
from gcsidecar.cache.entries import may_have
from gcsidecar.cache.globs import compiled, needle, without_longer
from gcsidecar.cache.spec import LEASE_PATTERNS, LeaseSpec, Seconds
from gcsidecar.cache.use.lease import PLACEHOLDER, Lease, LeasePatterns
from gcsidecar.cache.use.liveness import Liveness
from gcsidecar.gc.errors import DisposableInUseError


def open_directory(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def found(patterns: tuple[str, ...], root: Path, folder: str) -> set[str]:
    """All leases on a folder; what is beside it with a `../`."""
    compiled = LeasePatterns(patterns)
    root_fd, fd = open_directory(root), open_directory(root / folder)
    try:
        inside = {lease.path for lease in compiled.inside(fd)}
        return inside | {f"../{lease.path}" for lease in compiled.beside(root_fd, folder)}
    finally:
        os.close(root_fd)
        os.close(fd)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


TABLE = [
    (LEASE_PATTERNS, "a", ["a/.lease"], {".lease"}),
    (LEASE_PATTERNS, "a", ["a/.lease.x", "a/job.lease"], {".lease.x", "job.lease"}),
    (LEASE_PATTERNS, "a", ["a.lease"], {"../a.lease"}),
    (LEASE_PATTERNS, "a", ["b.lease", "ab.lease", "a.lease2", "b/.lease", "a/lease", "a/sub/.lease"], set()),
    (LEASE_PATTERNS, "a", ["a/x.lease.lease", "a/.lease.lease"], {"x.lease.lease", ".lease.lease"}),
    (LEASE_PATTERNS, "x/y", ["x/y/.lease", "x/y.lease", "y.lease", "x.lease"], {".lease", "../x/y.lease"}),
    (LEASE_PATTERNS, "[ab]*?", ["[ab]*?.lease", "a.lease", "axx.lease"], {"../[ab]*?.lease"}),
    (("{folder}/in/use/*.pid",), "a", ["a/in/use/1.pid", "a/in/2.pid", "a/3.pid"], {"in/use/1.pid"}),
    (("{folder}/*/pid", "{folder}/in/pid"), "a", ["a/in/pid", "a/out/pid"], {"in/pid", "out/pid"}),
    (("{folder}.lease.*",), "a", ["a.lease.1", "a.lease.2", "b.lease.1"], {"../a.lease.1", "../a.lease.2"}),
    ((".locks/{folder}/*.lease",), "a", [".locks/a/1.lease", ".locks/b/2.lease"], {"../.locks/a/1.lease"}),
    (("locks/use-{folder}.*",), "x/y", ["locks/use-x/y.1", "locks/use-y.2"], {"../locks/use-x/y.1"}),
    (("*/{folder}.pid",), "a", ["l/a.pid", "l/b.pid"], {"../l/a.pid"}),
]


@pytest.mark.parametrize(("patterns", "folder", "files", "expected"), TABLE)
def test_leases_are_what_the_patterns_match(
    tmp_path: Path, patterns: tuple[str, ...], folder: str, files: list[str], expected: set[str]
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    touch(tmp_path, *files)
    assert found(patterns, tmp_path, folder) == expected


@pytest.mark.parametrize(("patterns", "folder", "files", "expected"), TABLE)
def test_one_look_at_all_folders_finds_what_a_look_at_each_finds(
    tmp_path: Path, patterns: tuple[str, ...], folder: str, files: list[str], expected: set[str]
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    touch(tmp_path, *files)
    fd = open_directory(tmp_path)
    leased = {folder} if any(path.startswith("../") for path in expected) else set()
    there = {folder, "other"}
    assert LeasePatterns(patterns).folders_with_lease_beside(fd, there, there.__contains__) == leased
    os.close(fd)


@settings(max_examples=60)
@given(
    st.sampled_from(["{folder}.lease", "x-{folder}", "l/{folder}", "l/x-{folder}.l", "l/{folder}/a"]),
    st.sets(st.text(st.sampled_from("ab.x-l[*\udcff"), min_size=1, max_size=3).filter(lambda s: s.strip("."))),
    st.lists(st.text(st.sampled_from("ab.x-l[*\udcff"), min_size=1, max_size=6).filter(lambda s: s.strip("."))),
)
def test_the_name_of_a_lease_beside_tells_which_folder_it_is_on(
    pattern: str, folders: set[str], files: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root, patterns = Path(directory), LeasePatterns((pattern, "{folder}/.lease"))
        for file in [*files, *(pattern.replace("{folder}", file) for file in files)]:
            with contextlib.suppress(OSError):  # one name is above another
                (root / "l" / file).mkdir(parents=True)
                (root / file).mkdir(parents=True)
        fd = open_directory(root)
        for folder in folders:
            for lease in patterns.beside(fd, folder):
                assert folder in (patterns.folders_beside(lease.path) or ())
        os.close(fd)


@pytest.mark.parametrize(
    ("patterns", "path", "told"),
    [
        (("{folder}.lease", "{folder}.l"), "a.lease", {"a"}),
        (("{folder}.lease", "{folder}.b.lease"), "a.b.lease", {"a", "a.b"}),
        (("{folder}.lease",), ".lease", set()),
        (("{folder}*.lease",), "ab.lease", None),
        (("{folder}.lease", "{folder}/*.lease"), "a.lease", {"a"}),
    ],
)
def test_where_a_wildcard_stands_beside_a_folder_only_a_listing_tells(
    patterns: tuple[str, ...], path: str, told: set[str] | None
) -> None:
    assert LeasePatterns(patterns).folders_beside(path) == told


@settings(max_examples=60)
@given(
    st.sampled_from(["{folder}.lease", "{folder}.*", "*.{folder}", "l/{folder}", "l/x-{folder}*", "*/{folder}.lease"]),
    st.sets(st.text(st.sampled_from("ab.[*\udcff"), min_size=1, max_size=3).filter(lambda s: s.strip(".")), min_size=1),
    st.lists(st.text(st.sampled_from("ab.[*-xl\udcff"), min_size=1, max_size=6).filter(lambda s: s.strip("."))),
)
def test_both_looks_agree_whatever_the_names_are(pattern: str, folders: set[str], files: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "l").mkdir()
        for number, file in enumerate(files):
            where = Path(directory) / "l" if number % 2 else Path(directory)
            (where / file).mkdir(exist_ok=True)
        fd = open_directory(Path(directory))
        patterns = LeasePatterns((pattern,))
        each = {name for name in folders if patterns.beside(fd, name)}
        assert patterns.folders_with_lease_beside(fd, folders, folders.__contains__) == each
        os.close(fd)


@given(
    st.sampled_from(
        ["*.lease", "[a-c]?", "[!\u00e9-\u00ff]x", "[\u00e9-\u20ac\U0001f600]?", "caf\u00e9*", "\udce9*", "[!\udce9]"]
    ),
    st.sampled_from([b"", b".lease", b"\xe9", "\u00e9".encode()]),
    st.binary(max_size=3),
)
def test_a_name_in_bytes_is_a_lease_where_the_same_name_is(glob: str, begin: bytes, rest: bytes) -> None:
    patterns, name = LeasePatterns([f"{PLACEHOLDER}/{glob}"]), begin + rest
    assert patterns.is_inside_raw(name) == patterns.is_inside(os.fsdecode(name))


@given(st.text(st.sampled_from("ab.*?[]!-"), max_size=8), st.text(st.sampled_from("ab.*?[]!-"), max_size=8))
@example("[ab]*", "a")
@example("a*.lease?b", "a.leaseab")
def test_what_a_glob_matches_has_its_needle(glob: str, name: str) -> None:
    if compiled([glob]).match(name):
        assert needle(glob) in name


@pytest.mark.parametrize("glob", ["*.lease", "[!x]*.lease", "*"])
def test_of_very_many_names_not_one_lease_is_missed(tmp_path: Path, glob: str) -> None:
    names = [f"file-{number}" for number in range(700)]
    leases = [f"{number}.lease" for number in range(0, 700, 100)]
    touch(tmp_path, *(f"a/{name}" for name in [*names, *leases]))
    assert found((f"{PLACEHOLDER}/{glob}",), tmp_path, "a") == {*leases, *(names if glob == "*" else ())}


PARTS = st.text(st.sampled_from("ab.é\udcff"), min_size=1, max_size=6)


@given(st.lists(PARTS, max_size=4), st.sets(PARTS.filter(lambda name: name not in {".", ".."}), max_size=6))
def test_a_quick_look_never_says_no_where_a_name_holds_one_of_the_parts(parts: list[str], names: set[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            Path(directory, name).touch()
        fd = open_directory(Path(directory))
        try:
            may = may_have(fd, [os.fsencode(part) for part in without_longer(parts)])
            assert may or not any(part in name for part in parts for name in names)
        finally:
            os.close(fd)


def test_where_the_c_library_lists_nothing_raw_a_quick_look_says_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscalls, "_getdents", None)
    touch(tmp_path, "a/.lease", "b/file")
    assert found(LEASE_PATTERNS, tmp_path, "a") == {".lease"}
    assert found(LEASE_PATTERNS, tmp_path, "b") == set()


def test_a_name_that_is_not_utf_8_has_leases_like_any_other(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / name).mkdir()
    touch(tmp_path, f"{name}.lease", f"{name}/\udcff.lease")
    assert found(LEASE_PATTERNS, tmp_path, name) == {f"../{name}.lease", "\udcff.lease"}


def test_a_look_is_not_disturbed_by_another_look_at_the_same_directory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    touch(tmp_path, "a.lease.1")
    fd = open_directory(tmp_path)
    with os.scandir(fd) as others:  # it shares its position with `fd`, and reads to the end at once
        next(others)
        assert LeasePatterns(("{folder}.lease.*",)).beside(fd, "a")
    os.close(fd)


def test_a_way_to_leases_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.lease")
    (tmp_path / "a").mkdir()
    (tmp_path / ".locks").mkdir()
    (tmp_path / ".locks/a").symlink_to(tmp_path / "elsewhere")
    assert found((".locks/{folder}/*.lease",), tmp_path, "a") == set()


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100), st.booleans()), max_size=8))
def test_a_lease_is_stale_only_when_both_clocks_say_so(steps: list[tuple[float, float, bool]]) -> None:
    """Each step: so much by the calendar, so much by the other clock, and then perhaps a touch."""
    clock = FakeClock(1000.0)
    liveness = Liveness(TTL, locks_are_real=True, clock=clock)
    fd, mtime, seen = open_directory(Path("/")), clock.now, clock.mono
    liveness.judge("a", fd, [Lease(".lease", mtime, inside=True)])
    for calendar, passed, touched in steps:
        clock.now, clock.mono = clock.now + calendar, clock.mono + passed
        if touched and mtime != clock.now:
            mtime, seen = clock.now, clock.mono
        lease = Lease(".lease", mtime, inside=True)
        stale = clock.now - mtime > 60 and clock.mono - seen > 60
        judged = liveness.judge("a", fd, [lease])
        assert (judged.holding, judged.stale, judged.ended) == ((lease,), stale, ())
    os.close(fd)


def test_what_is_released_is_forgotten_and_begins_anew() -> None:
    clock = FakeClock(1000.0)
    liveness, lease = Liveness(TTL, locks_are_real=True, clock=clock), Lease(".lease", 0.0, inside=True)
    fd = open_directory(Path("/"))

    def is_stale_after(seconds: float, *leases: Lease) -> bool:
        clock.advance(seconds)
        return liveness.judge("a", fd, leases).stale > 0

    assert not is_stale_after(0, lease)
    assert not is_stale_after(50)
    assert not is_stale_after(50, lease)
    assert is_stale_after(61, lease)
    os.close(fd)


TTL = LeaseSpec(ttl=Seconds(60))
EXPIRE = LeaseSpec(ttl=Seconds(60), on_stale="expire")
LEASES = ["a/.lease", "a/1.lease", "a.lease"]


def old_lease(path: Path, clock: FakeClock) -> float:
    path.touch()
    at = clock.now - 1000
    os.utime(path, (at, at))
    if path.parent.name == "a":
        os.utime(path.parent, (at, at))
    return at


@pytest.mark.parametrize("lease", LEASES)
def test_a_stale_lease_holds_and_is_counted(tmp_path: Path, lease: str) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a")
    at = old_lease(tmp_path / lease, clock)
    with opened(tmp_path, clock=clock, lease=TTL) as root:
        assert root.tally().stale_leases == 0
        clock.advance(61)
        reconcile(root)
        assert (root.tally().leases, root.tally().stale_leases) == (1, 1)
        assert root.tally().oldest_lease_at == pytest.approx(at, abs=0.001)
        with pytest.raises(DisposableInUseError):
            root.census.folders()[0].dispose()
        assert (tmp_path / lease).exists()


@pytest.mark.parametrize("lease", LEASES)
def test_an_expired_lease_is_reaped_and_its_last_sign_of_life_is_the_last_use(tmp_path: Path, lease: str) -> None:
    clock = FakeClock(time.time())
    folder = make_folder(tmp_path, "a", used_at=clock.now - 5000)
    at = old_lease(tmp_path / lease, clock)
    with opened(tmp_path, clock=clock, lease=EXPIRE) as root:
        assert root.tally().leases == 1
        clock.advance(61)
        reconcile(root)
        assert root.tally().leases == 0
        assert not (tmp_path / lease).exists()
        assert folder.stat().st_mtime == pytest.approx(at, abs=0.001)
        assert root.census.folders()[0].last_used() == pytest.approx(at, abs=0.001)


@pytest.mark.parametrize(("calendar", "monotonic"), [(7 * 86400, 1), (-86400, 3600), (1, 3600)])
def test_a_jump_of_the_clock_expires_nothing(tmp_path: Path, calendar: float, monotonic: float) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a")
    (tmp_path / "a/.lease").touch()
    with opened(tmp_path, clock=clock, lease=EXPIRE) as root:
        clock.now += calendar
        clock.mono += monotonic
        reconcile(root)
        assert (tmp_path / "a/.lease").exists()
        assert root.tally().leases == 1


def test_a_heartbeat_keeps_a_lease_alive(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    make_folder(tmp_path, "a")
    lease = tmp_path / "a/.lease"
    lease.touch()
    with opened(tmp_path, clock=clock, lease=EXPIRE) as root:
        for _ in range(5):
            clock.advance(50)
            os.utime(lease, (clock.now, clock.now))
            reconcile(root)
            assert root.tally().leases == 1
        clock.advance(61)
        reconcile(root)
        assert root.tally().leases == 0


def test_what_has_a_leases_name_and_cannot_be_removed_leaves_the_folder_alone(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    folder = make_folder(tmp_path, "a")
    (folder / ".lease").mkdir()
    (folder / ".lease/full").touch()
    with opened(tmp_path, clock=clock, lease=EXPIRE) as root:
        clock.advance(1000)
        root.finder.refresh("a")
        before = folder.stat()
        time.sleep(0.02)  # more than a tick of the filesystem's clock
        root.finder.refresh("a")  # a change of its times would be a hint, and that cause another look, for ever
        assert folder.stat().st_ctime_ns == before.st_ctime_ns


def test_the_release_of_a_lease_beside_a_folder_is_its_last_use(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    folder = make_folder(tmp_path, "a", used_at=clock.now - 5000)
    (tmp_path / "a.lease").touch()
    with opened(tmp_path, clock=clock) as root:
        assert folder.stat().st_mtime == pytest.approx(clock.now - 5000, abs=0.001)
        clock.advance(100)
        (tmp_path / "a.lease").unlink()
        reconcile(root)
        assert folder.stat().st_mtime == pytest.approx(clock.now, abs=0.001)
        assert root.census.folders()[0].last_used() == pytest.approx(clock.now, abs=0.001)


def test_a_standby_neither_reaps_nor_changes_times(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    folder = make_folder(tmp_path, "a", used_at=clock.now - 5000)
    old_lease(tmp_path / "a/.lease", clock)
    (tmp_path / "a.lease").touch()
    before = folder.stat()
    with opened(tmp_path, clock=clock, lease=EXPIRE, active=False) as root:
        clock.advance(61)
        (tmp_path / "a.lease").unlink()
        reconcile(root)
        assert (tmp_path / "a/.lease").exists()
        assert (folder.stat().st_mtime_ns, folder.stat().st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
        assert root.census.folders()[0].last_used() == pytest.approx(clock.now, abs=0.001)

"""From a file to a config: defaults, what is left out, and each error of the text with its exact line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gcsidecar.cache.spec import (
    LEASE_PATTERNS,
    ByteSize,
    LeaseSpec,
    MemoryLevels,
    RootSpec,
    Seconds,
    SpaceLevels,
    Thresholds,
)
from gcsidecar.errors import GcsidecarError
from gcsidecar.gc.pressure import Level
from gcsidecar.sidecar.config import Config, ConfigError, load
from gcsidecar.sidecar.config.loader import MAX_FILE_BYTES, read_text

if TYPE_CHECKING:
    from pathlib import Path

MINIMAL = "roots: [{name: jobs, path: /cache/jobs}]\n"
HOMES = frozenset({"/home/ann", "/data/users/bob"})


def config_of(text: str, **environ: str) -> Config:
    reading = read_text(text.encode(), environ, HOMES)
    assert reading.config is not None, [problem.at("f") for problem in reading.problems]
    return reading.config


def lines_of(text: str, **environ: str) -> list[str]:
    return [problem.at("f.yaml") for problem in read_text(text.encode(), environ, HOMES).problems]


def root_with(rest: str) -> str:
    return f"roots:\n- name: jobs\n  path: /cache/jobs\n  {rest}\n"


def test_a_root_needs_a_name_and_a_path_only() -> None:
    config = config_of(MINIMAL)
    assert config.listen_addresses == (":10977",)
    assert (config.log.level, config.log.format, config.dry_run) == ("info", "logfmt", False)
    (root,) = config.roots
    assert root == RootSpec(name="jobs", path="/cache/jobs")
    assert root.lease == LeaseSpec()
    assert root.lease.files == LEASE_PATTERNS
    assert (root.folders, root.keep, root.last_used, root.min_age) == ("*", (), "mtime", Seconds(120))
    assert config.thresholds_of(root) == Thresholds()


def test_every_value_can_be_set() -> None:
    config = config_of(
        """
        listen: ["127.0.0.1:10977", "[::1]:10977"]
        log: {level: debug, format: json}
        dry_run: true
        roots:
          - name: jobs
            path: /cache//jobs/
            folders: "*/*"
            lease: {files: ["{folder}/.lease"], ttl: 5m, on_stale: expire, parked_ttl: 2h}
            keep: ["base-*"]
            last_used: atime
            min_age: 0
            max_idle: 7d
            max_size: 10GiB
            target_size: 8GiB
            max_folders: 100
            keep_newest: 3
            top_folders: 5
            priority: -1
            thresholds: {disk: {min_free: 5GiB}, inodes: null}
        thresholds: {memory: {cgroup: host, min_available: 2GiB}}
        """
    )
    (root,) = config.roots
    assert root.path == "/cache/jobs"
    assert root.lease == LeaseSpec(
        files=("{folder}/.lease",), ttl=Seconds(300), on_stale="expire", parked_ttl=Seconds(7200)
    )
    assert (root.min_age, root.max_idle) == (Seconds(0), Seconds(604_800))
    assert (root.max_size, root.target_size) == (ByteSize(10 * 1024**3), Level(8 * 1024**3))
    assert (root.max_folders, root.keep_newest, root.top_folders, root.priority) == (100, 3, 5, -1)
    resolved = config.thresholds_of(root)
    assert resolved.disk == SpaceLevels(min_free=Level(5 * 1024**3), target_free=Level(5 * 1024**3 * 5 // 4))
    assert resolved.inodes is None
    memory = MemoryLevels(cgroup="host", min_available=Level(2 * 1024**3), target_available=Level(5 * 1024**3 // 2))
    assert resolved.memory == memory


@pytest.mark.parametrize(
    ("common", "own", "minimum", "target"),
    [
        ("{}", "{}", 0.20, 0.25),
        ("{disk: {min_free: 40%}}", "{}", 0.40, 0.50),
        ("{disk: {min_free: 40%, target_free: null}}", "{}", 0.40, 0.50),
        ("{disk: {min_free: 90%}}", "{}", 0.90, 1.0),
        ("{disk: {target_free: 30%}}", "{}", 0.20, 0.30),
        ("{disk: {}}", "{}", 0.20, 0.25),
        ("{disk: {min_free: 40%, target_free: 60%}}", "{disk: {target_free: 70%}}", 0.40, 0.70),
        ("{disk: {min_free: 40%, target_free: 60%}}", "{disk: {min_free: 8%}}", 0.08, 0.10),
        ("{disk: null}", "{disk: {min_free: 8%}}", 0.08, 0.10),
    ],
)
def test_what_is_left_out_is_completed(common: str, own: str, minimum: float, target: float) -> None:
    config = config_of(f"roots: [{{name: a, path: /cache/a, thresholds: {own}}}]\nthresholds: {common}\n")
    levels = config.thresholds_of(config.roots[0]).disk
    assert levels is not None
    assert levels.target_free is not None
    assert levels.min_free.share == pytest.approx(minimum)
    assert levels.target_free.share == pytest.approx(target)


@pytest.mark.parametrize(
    ("rest", "target"),
    [
        ("max_size: 10GiB", Level(share=0.9)),
        ("max_size: 10GiB\n  target_size: 50%", Level(share=0.5)),
        ("max_size: null", None),
        ("max_size: null\n  target_size: 50%", None),
    ],
)
def test_the_target_of_a_budget_is_90_percent_of_it(rest: str, target: Level | None) -> None:
    assert config_of(root_with(rest)).roots[0].target_size == target


@pytest.mark.parametrize("written", ["null", "${OFF:-null}", "${OFF:-}", '"${OFF:-}"', "~", ""])
def test_null_turns_a_resource_off(written: str) -> None:
    config = config_of(MINIMAL + f"thresholds:\n  disk: {written}\n")
    assert config.thresholds.disk is None


def test_variables_serve_every_kind_of_value() -> None:
    config = config_of(
        'roots: [{name: "${N}", path: "${P}", max_folders: "${C}", max_size: "${S}", min_age: "${D}"}]\n'
        "dry_run: ${B}\nlog: {level: '${L}'}\nthresholds: {inodes: {min_free: '${I}'}}",
        N="123",
        P="/cache/a",
        C="7",
        S="1024",
        D="3m",
        B="true",
        L="error",
        I="500",
    )
    root = config.roots[0]
    assert (root.name, root.max_folders, root.max_size, root.min_age) == ("123", 7, ByteSize(1024), Seconds(180))
    assert (config.dry_run, config.log.level) == (True, "error")
    assert config.thresholds.inodes == SpaceLevels(min_free=Level(500), target_free=Level(625))


HINT = 'a pattern such as "{folder}/.lease.*" or "{folder}.lease"'
OWN = "a directory of its own for the cache, such as /cache/jobs"
ADDRESS = 'HOST:PORT or :PORT, such as ":10977", "127.0.0.1:10977" or "[::1]:10977"'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "1: (file): is empty; at least roots, each with a name and a path"),
        (
            "{}",
            "1: roots: is missing; a list, each entry a mapping with the keys " + ", ".join(RootSpec.__struct_fields__),
        ),
        ("roots: []", "1: roots: is an empty list; at least one entry"),
        ("- a", "1: (file): is a list; a mapping with the keys listen, log, dry_run, thresholds, measure, roots"),
        (
            "roots:\n- path: /cache/a",
            "2: roots[0].name: is missing; letters, digits, _ . and -, 63 at most, the first one a letter or digit",
        ),
        ("roots:\n- name: a", "2: roots[0].path: is missing; text"),
        ("roots:\n- name: a\n  path: 5", '3: roots[0].path: is 5; text, in quotes: "5"'),
        ("roots:\n- name: a\n  path:", "3: roots[0].path: has no value; text"),
        (
            'roots:\n- name: a\n  path: "/a\\0b"',
            "3: roots[0].path: has a character that no path can have; text without it",
        ),
        (MINIMAL + "listne: x", '2: listne: is not a known key; did you mean "listen"?'),
        (
            MINIMAL + "zzz: x",
            "2: zzz: is not a known key; known here: listen, log, dry_run, thresholds, measure, roots",
        ),
        (root_with("lease:\n    tll: 5m"), '5: roots[0].lease.tll: is not a known key; did you mean "ttl"?'),
        (MINIMAL + "dry_run: yes", '2: dry_run: is "yes"; true or false'),
        (MINIMAL + "log: {level: loud}", '2: log.level: is "loud"; one of debug, error, info, warning'),
        (MINIMAL + "log: null", "2: log: is null; a mapping with the keys level, format"),
        (root_with("max_folders: 0"), "4: roots[0].max_folders: is 0; a whole number of at least 1, or null"),
        (root_with("top_folders: 1001"), "4: roots[0].top_folders: is 1001; a whole number from 0 to 1000"),
        (root_with("keep_newest: 1.5"), "4: roots[0].keep_newest: is 1.5; a whole number of at least 0"),
        (root_with("priority: " + "9" * 90), "4: roots[0].priority: is a number out of range; a whole number"),
        (root_with("keep: base-*"), '4: roots[0].keep: is "base-*"; a list, each entry text'),
        (root_with("lease: {files: []}"), "4: roots[0].lease.files: is an empty list; at least one entry"),
        (root_with("min_age: 30"), "4: roots[0].min_age: 30 has no unit; 30s if seconds are meant"),
        (root_with("min_age: null"), "4: roots[0].min_age: is null; a duration such as 30s, 2h, 7d or 1h30m"),
        (
            root_with("max_size: lots"),
            '4: roots[0].max_size: "lots" is not a size; a size such as 10GiB, 500MB or a plain number of bytes',
        ),
        (root_with("max_size: 0"), "4: roots[0].max_size: is 0; more than 0, or null to turn it off"),
        (
            root_with("lease: {ttl: 0}"),
            "4: roots[0].lease.ttl: is 0; more than 0, or null for leases that hold while their file exists",
        ),
        (
            root_with("history: {max_size: 0}"),
            "4: roots[0].history.max_size: is 0; more than 0, or history: null to turn it off",
        ),
        (
            root_with("history: {max_rows: 0}"),
            "4: roots[0].history.max_rows: is 0; a whole number of at least 1",
        ),
        (root_with("max_idle: 0s"), "4: roots[0].max_idle: is 0; more than 0, or null to turn it off"),
        (
            MINIMAL + "thresholds:\n  disk:\n    min_free: 20%\n    target_free: 15%",
            (
                "5: thresholds.disk.target_free: is 15%, below min_free, which is 20%; "
                "at least min_free, or leave it out for 25%"
            ),
        ),
        (
            MINIMAL + "thresholds: {inodes: {min_free: 2000, target_free: 1000}}",
            (
                "2: thresholds.inodes.target_free: is 1000, below min_free, which is 2000; "
                "at least min_free, or leave it out for 2500"
            ),
        ),
        (
            root_with("thresholds: {disk: {target_free: 15%}}"),
            (
                "4: roots[0].thresholds.disk.target_free: is 15%, below min_free, which is 20%; "
                "at least min_free, or leave it out for 25%"
            ),
        ),
        (
            root_with("max_size: 10GiB\n  target_size: 11GiB"),
            (
                "5: roots[0].target_size: is 11GiB, above max_size, which is 10GiB; "
                "at most max_size, or leave it out for 90% of it"
            ),
        ),
        (
            MINIMAL + "thresholds: {memory: {cgroup: host, min_available: 2GiB, target_available: 1GiB}}",
            (
                "2: thresholds.memory.target_available: is 1GiB, below min_available, which is 2GiB; "
                "at least min_available, or leave it out for 2560MiB"
            ),
        ),
        (
            MINIMAL + "thresholds: {memory: {cgroup: a, min_available: 1GiB}}",
            '2: thresholds.memory.cgroup: "a" is no cgroup; the absolute path of a cgroup, or "host"',
        ),
        (
            MINIMAL + "thresholds: {memory: {min_available: 1GiB}}",
            (
                "2: thresholds.memory.min_available: warning: has no effect, since cgroup is null; "
                'cgroup: "host", or the path of a cgroup'
            ),
        ),
        (
            root_with("max_idle: 1m"),
            (
                "4: roots[0].max_idle: warning: is 1m, less than min_age, which is 2m; "
                "more than min_age, which keeps a folder until then"
            ),
        ),
        (
            "roots:\n- {name: a, path: /cache/a}\n- {name: a, path: /cache/b}",
            '3: roots[1].name: "a" is the name of roots[0], too (line 2); a name of its own for each',
        ),
        (
            "roots:\n- {name: a, path: /cache/a}\n- {name: b, path: /cache//a/.}",
            '3: roots[1].path: "/cache/a" is the path of roots[0], too; one root for each directory',
        ),
        (
            "roots:\n- {name: a, path: /cache}\n- {name: b, path: /cache/b}",
            '3: roots[1].path: "/cache/b" lies inside roots[0], "/cache"; roots that lie apart',
        ),
        (
            "roots:\n- {name: a, path: /cache/a/b}\n- {name: b, path: /cache/a}",
            '3: roots[1].path: "/cache/a" has roots[0] in it, "/cache/a/b"; roots that lie apart',
        ),
        ("roots: [{name: a, path: ''}]", f"1: roots[0].path: is empty; an absolute path: {OWN}"),
        (
            "roots: [{name: a, path: cache/a}]",
            '1: roots[0].path: "cache/a" is relative; an absolute path, such as "/cache/cache/a"',
        ),
        (
            "roots: [{name: a, path: ~/a}]",
            '1: roots[0].path: "~/a" starts with ~, which is not replaced here; ${HOME}/a',
        ),
        (
            "roots: [{name: a, path: /cache/../etc}]",
            '1: roots[0].path: "/cache/../etc" goes up with ..; the path written out',
        ),
        ("roots: [{name: a, path: /}]", f"1: roots[0].path: is /, the whole machine; {OWN}"),
        ("roots: [{name: a, path: //}]", f"1: roots[0].path: is /, the whole machine; {OWN}"),
        ("roots: [{name: a, path: /var/lib/}]", f'1: roots[0].path: "/var/lib" is a directory of the system; {OWN}'),
        ("roots: [{name: a, path: /etc/ssl}]", f'1: roots[0].path: "/etc/ssl" is a directory of the system; {OWN}'),
        ("roots: [{name: a, path: /dev/disk}]", f'1: roots[0].path: "/dev/disk" is a directory of the system; {OWN}'),
        (
            "roots: [{name: a, path: /home/ann}]",
            (
                '1: roots[0].path: "/home/ann" is a home directory; '
                "a directory of its own for the cache, such as /home/ann/.cache/jobs"
            ),
        ),
        (
            "roots: [{name: a, path: /data}]",
            f'1: roots[0].path: "/data" has the home directory "/data/users/bob" in it; {OWN}',
        ),
        (
            root_with("folders: /x"),
            (
                '4: roots[0].folders: "/x" is an absolute path; '
                'a path relative to the root: "*" for the subfolders of the root, "*/*" for theirs'
            ),
        ),
        (
            root_with("folders: ../*"),
            (
                '4: roots[0].folders: "../*" leads out of the root with ..; '
                '"*" for the subfolders of the root, "*/*" for theirs'
            ),
        ),
        (
            root_with('folders: "**"'),
            (
                '4: roots[0].folders: "**" has **, which has no bounded depth; '
                '"*" for the subfolders of the root, "*/*" for theirs'
            ),
        ),
        (
            root_with('folders: "*/"'),
            (
                '4: roots[0].folders: "*/" has an empty part between its slashes; '
                '"*" for the subfolders of the root, "*/*" for theirs'
            ),
        ),
        (root_with('folders: "*/*/*/*/*"'), '4: roots[0].folders: "*/*/*/*/*" goes 5 levels down; 4 levels at most'),
        (
            root_with('folders: "{a,b}"'),
            '4: roots[0].folders: "{a,b}" has braces, which this glob does not know; a root for each alternative',
        ),
        (
            root_with("folders: .gcsidecar"),
            (
                '4: roots[0].folders: ".gcsidecar" names the sidecar\'s own directory; '
                'subfolders of the cache, such as "*"'
            ),
        ),
        (
            root_with("keep: [a, /b]"),
            (
                '4: roots[0].keep[1]: "/b" is an absolute path; '
                'a path relative to the root: the name of a folder, or a glob such as "base-*"'
            ),
        ),
        (MINIMAL + "listen: 10977", '2: listen: is 10977; text, or a list, each entry text, in quotes: "10977"'),
        (
            MINIMAL + 'listen: "10977"',
            '2: listen: "10977" is not an address to listen on; ":10977" for that port on all interfaces',
        ),
        (
            MINIMAL + 'listen: "::1"',
            (
                '2: listen: "::1" is not an address to listen on; '
                '"[::1]:10977": brackets around the address, then the port'
            ),
        ),
        (MINIMAL + "listen: [':1', ':70000']", '2: listen[1]: ":70000" has the port 70000; a port up to 65535'),
        (MINIMAL + "listen: '300.0.0.1:80'", f'2: listen: "300.0.0.1:80" has no host that can exist; {ADDRESS}'),
        (MINIMAL + "listen: '[::x]:80'", f'2: listen: "[::x]:80" has no IPv6 address in its brackets; {ADDRESS}'),
        (MINIMAL + "listen: [':1', ':1']", '2: listen[1]: ":1" is there twice; each address once, such as :10977'),
        (
            "roots: [{name: a, path: '${NOPE}'}]",
            "1: roots[0].path: uses the variable NOPE, which is not set; set it, or write ${NOPE:-default}",
        ),
        (
            MINIMAL + "measure: {stale_after: 0}",
            "2: measure.stale_after: is 0s, so that it would never stop measuring; at least 1m, or null to turn it off",
        ),
        (
            MINIMAL + "measure:\n  stale_after: 59s",
            (
                "3: measure.stale_after: is 59s, so that it would never stop measuring; at least 1m, or null to turn "
                "it off"
            ),
        ),
        ("roots: &a\n- *a", "2: roots[0]: is the alias *a of what it stands in itself; write the value out"),
        (
            "roots: !!python/object/apply:os.system [x]",
            '1: roots: has the tag "!!python/object/apply:os.system", which is not allowed; the plain value',
        ),
    ],
)
def test_each_error_is_one_line_with_its_place_and_its_remedy(text: str, line: str) -> None:
    assert lines_of(text) == [f"f.yaml:{line}"]


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("/x/{folder}", "is an absolute path"),
        ("../{folder}.lease", "leads out of the root with .."),
        ("{folder}/../x", "leads out of the root with .."),
        ("{folder}//x", "has an empty part between its slashes"),
        ("{folder}/**/x", "has **, which has no bounded depth"),
        ("*.lease", "has no {folder}"),
        ("{folder}/{folder}.lease", "has {folder} more than once"),
        ("{folder}/{user}.lease", "has braces that are not {folder}"),
        ("{folder}", "is the folder itself, which would hold it for ever"),
        ("{folder}/*", "matches everything in the folder, which would hold it for ever"),
        ("{folder}*", "also matches what belongs to another folder whose name starts the same"),
        ("{folder}?.lease", "also matches what belongs to another folder whose name starts the same"),
        ("*{folder}.lease", "can match outside its folder: a wildcard stands before {folder}"),
        ("*/{folder}.lease", "can match outside its folder: a wildcard stands before {folder}"),
        (".gcsidecar/{folder}", "lies in the sidecar's own directory"),
        ("leases/{folder}", 'lies in "leases", which is a folder itself by folders: "*"'),
    ],
)
def test_a_lease_pattern_that_can_match_outside_its_folder_is_refused(pattern: str, what: str) -> None:
    (line,) = lines_of(root_with(f"lease: {{files: ['{pattern}']}}"))
    assert line.startswith(f'f.yaml:4: roots[0].lease.files[0]: "{pattern}" {what}; ')


@pytest.mark.parametrize(
    "pattern",
    [
        *LEASE_PATTERNS,
        ".locks/{folder}/*.lock",
        "{folder}/lock",
        "{folder}.*.lease",
        ".leases/{folder}",
        "{folder}/a/*.lck",
    ],
)
def test_a_lease_pattern_that_belongs_to_one_folder_is_taken(pattern: str) -> None:
    assert not lines_of(root_with(f"lease: {{files: ['{pattern}']}}"))


@pytest.mark.parametrize(
    "path",
    [
        "/cache",
        "/var/cache/jobs",
        "/var/lib/jobs",
        "/dev/shm/jobs",
        "/home/ann/.cache/pip",
        "/tmp/x",
        "/mnt",
        "/data/users2",
    ],
)
def test_a_directory_of_its_own_is_taken_as_a_root(path: str) -> None:
    assert not lines_of(f"roots: [{{name: a, path: {path}}}]")


def test_roots_whose_names_only_start_the_same_do_not_overlap() -> None:
    assert not lines_of("roots:\n- {name: a, path: /cache/a}\n- {name: b, path: /cache/ab}")


@pytest.mark.parametrize(
    "address", [":0", "localhost:80", "0.0.0.0:10977", "[::]:1", "[fe80::1%eth0]:80", "a-b.example.:9"]
)
def test_an_address_that_can_exist_is_taken(address: str) -> None:
    assert not lines_of(MINIMAL + f"listen: '{address}'")


def test_all_errors_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = """\
listne: x
log: {level: loud}
roots:
  - name: a b
    path: /etc
    lease: {files: ["{folder}*"], ttl: 5}
  - name: b
    path: ${NOPE}
    max_size: big
  - name: b
    path: /cache/b
    folders: "**"
    thresholds: {disk: {min_free: 30%, target_free: 20%}}
thresholds: {inodes: {min_free: 10GiB}}
"""
    places = [line.removeprefix("f.yaml:").split(": ")[:2] for line in lines_of(text)]
    assert places == [
        ["1", "listne"],
        ["2", "log.level"],
        ["4", "roots[0].name"],
        ["5", "roots[0].path"],
        ["6", "roots[0].lease.files[0]"],
        ["6", "roots[0].lease.ttl"],
        ["8", "roots[1].path"],
        ["9", "roots[1].max_size"],
        ["10", "roots[2].name"],
        ["12", "roots[2].folders"],
        ["13", "roots[2].thresholds.disk.target_free"],
        ["14", "thresholds.inodes.min_free"],
    ]


def test_what_a_key_or_value_contains_stays_on_its_line() -> None:
    (line,) = lines_of(MINIMAL + '"a\\nb\\u2028": x')
    assert line.startswith('f.yaml:2: "a\\nb\\u2028": is not a known key')
    assert len(line.splitlines()) == 1


def test_load_raises_one_error_that_holds_all_problems(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("roots: [{name: a, path: /}]\nx: 1\n")
    with pytest.raises(ConfigError) as caught:
        load(str(file), {})
    assert isinstance(caught.value, GcsidecarError)
    assert [problem.key for problem in caught.value.problems] == ["roots[0].path", "x"]
    assert str(caught.value).splitlines() == [problem.at(str(file)) for problem in caught.value.problems]


def test_load_takes_a_config_that_has_warnings_only(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(root_with("max_idle: 1m"))
    assert load(str(file), {}).roots[0].max_idle == Seconds(60)


def test_a_file_with_a_byte_order_mark_is_read() -> None:
    assert read_text(b"\xef\xbb\xbf" + MINIMAL.encode(), {}).config


def test_a_file_that_is_not_utf_8_has_its_line() -> None:
    (problem,) = read_text(MINIMAL.encode() + b"# \xff", {}).problems
    assert problem.at("f") == "f:2: (file): is not UTF-8; save it as UTF-8"


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (os.fspath, "can't be read: No such file or directory"),
        (os.mkdir, "can't be read: Is a directory"),
        (lambda path: path.write_bytes(b"#" * (MAX_FILE_BYTES + 1)), "is larger than 1 MiB"),
    ],
)
def test_a_file_that_is_none_is_an_error_of_ours(tmp_path: Path, make: Any, what: str) -> None:
    make(tmp_path / "c.yaml")
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path / "c.yaml"), {})
    assert caught.value.problems[0].what == what


_KEYS = st.sampled_from(
    [
        "roots",
        "name",
        "path",
        "lease",
        "files",
        "ttl",
        "thresholds",
        "disk",
        "min_free",
        "target_free",
        "listen",
        "max_size",
        "x",
    ]
)
_LEAVES = st.sampled_from(
    ["a", "/cache/a", "10%", "1GiB", "5m", "${A}", "null", "{folder}", 0, 7, -1, 0.5, True, None, 10**400, float("inf")]
)
_TREES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=15
)


def _only_a_config_or_errors(content: bytes) -> None:
    reading = read_text(content, {"A": "1\udcff"}, HOMES)
    assert (reading.config is None) == any(problem.severity == "error" for problem in reading.problems)
    for problem in reading.problems:
        assert len(problem.at("f").splitlines()) == 1
        problem.at("f").encode()


@given(st.dictionaries(_KEYS, _TREES, max_size=5))
@settings(max_examples=300)
def test_any_structure_gives_a_config_or_errors(tree: dict[str, Any]) -> None:
    _only_a_config_or_errors(yaml.safe_dump(tree).encode())


@given(st.dictionaries(st.sampled_from(RootSpec.__struct_fields__), _TREES, max_size=6))
@settings(max_examples=300)
def test_any_root_gives_a_config_or_errors(root: dict[str, Any]) -> None:
    _only_a_config_or_errors(yaml.safe_dump({"roots": [{"name": "a", "path": "/cache/a", **root}]}).encode())


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_give_a_config_or_errors(content: bytes) -> None:
    _only_a_config_or_errors(content)

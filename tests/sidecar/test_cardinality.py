"""The number of series is bounded, whatever a cache holds and whatever happens to it: a real one of 100,000 folders."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import needs
from cache.helpers import reconcile, spec
from gcsidecar.cache.names import named
from gcsidecar.cache.regrets import Regret
from gcsidecar.cache.root import Root
from gcsidecar.cache.use.verdict import End
from gcsidecar.cache.walking.sizes import measure
from gcsidecar.gc.collection import Collection, Failure
from gcsidecar.gc.planning import Kept
from gcsidecar.sidecar.metrics import Metrics
from gcsidecar.sidecar.metrics.labels import EVICTION_REASONS, KEPT_REASONS
from gcsidecar.sidecar.opening import Link
from gcsidecar.sidecar.stalls import Stall
from gcsidecar.sidecar.status import Status
from sidecar.metrics_sample import NOW, eviction, filesystem, reaped
from sidecar.metrics_sample import root as root_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric as Family

    from gcsidecar.cache.folders.tally import RootTally

FOLDERS, LARGE, TOP = 100_000, 50, 20
LONGEST = 255
# What may stand in a name and means something somewhere: in a label, in a line, in a terminal, in a format.
HOSTILE = (
    *(
        b'"',
        b"'",
        b"\\",
        b"\\n",
        b"\n",
        b"\r",
        b"\t",
        b"\x1b[31m",
        b"\x7f",
        b" ",
        b"#",
        b"{}",
        b",",
        b"=",
        b"$(id)",
        b"%s",
    ),
    *(b'a"} 1\n# EOF\n', b"\\x41", b"\xff", b"\xc3(", b"\xed\xa0\x80", "\u202e\u2028\u0085é".encode()),
)


def hostile_name(number: int) -> bytes:
    """A name that no other number has; every second one is as long as may be."""
    text = HOSTILE[number % len(HOSTILE)] + b"%d" % number
    return text if number % 2 else text + b"\xf0" * (LONGEST - len(text))


@pytest.fixture(scope="module")
def tally() -> Iterator[RootTally]:
    """What is shown of a root with 100,000 folders, all with such names; of the largest the size is known."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as path:
        for number in range(FOLDERS):
            os.mkdir(os.fsencode(path) + b"/" + hostile_name(number))
        for number in range(LARGE):
            with open(os.fsencode(path) + b"/" + hostile_name(number) + b"/data", "wb") as file:
                file.write(bytes(4096 * (number + 1)))
            Path(os.fsdecode(file.name)).with_name(".lease").touch()
        root = Root(spec(Path(path)), Link(), dry_run=True)
        try:
            reconcile(root)
            for number in range(LARGE):
                folder = root.census.get(os.fsdecode(hostile_name(number)))
                assert folder is not None
                root.census.measured(folder, measure(root.fd, folder.name))
            assert root.census.count == FOLDERS
            yield root.tally()
        finally:
            root.close()


def process(tally: RootTally, roots: int, filesystems: int) -> Metrics:
    """One to which everything has happened that can: every cap, all memory watched, every reason seen, and others."""
    names = [f"root{number}" for number in range(roots)]
    shared = [names[number::filesystems] for number in range(filesystems)]
    status = Status(
        tuple(replace(root_status(name, there[0]), tally=tally) for there in shared for name in there),
        tuple(filesystem(there[0], *there) for there in shared),
    )
    stalls = tuple(Stall(resource, "cgroup", 1.0, 1.0) for resource in ("io", "memory"))
    made = Metrics(lambda: status, version="1", stalls=lambda: stalls)
    for there in shared:
        for name in there:
            happen(made, there[0], name)
    return made


def happen(made: Metrics, where: str, name: str) -> None:
    unheard = tuple(f"reason-{number}" for number in range(100))
    for reason in (*EVICTION_REASONS, *unheard):
        made.record_eviction(where, eviction(name, reason))
    known = (reason for reasons in KEPT_REASONS.values() for reason in reasons)
    kept = tuple(Kept("a", reason, name) for reason in (*known, *unheard))
    failed = tuple(Failure(f"f{number}", OSError("no"), name) for number in range(100))
    made.record_collection(where, Collection(NOW, kept=kept, failures=failed))
    made.record_regret(Regret(name, "a", NOW - 1, NOW, 1))
    for why in End:
        made.record_reaped(reaped(why))


def series(made: Metrics) -> int:
    return sum(len(family.samples) for family in made.registry.collect())


@pytest.mark.parametrize(("roots", "filesystems"), [(1, 1), (50, 1), (5, 5), (200, 1), (12, 4)])
def test_series_stay_within_their_bound(tally: RootTally, roots: int, filesystems: int) -> None:
    assert len(tally.top) == TOP
    assert tally.oldest_lease_at is not None
    assert series(process(tally, roots, filesystems)) < 200 + 60 * (roots + filesystems) + 2 * TOP * roots


def test_there_is_room_left_for_each_root_and_each_filesystem(tally: RootTally) -> None:
    alone, two_roots, apart = (series(process(tally, *shape)) for shape in ((1, 1), (2, 1), (2, 2)))
    assert two_roots - alone <= 60 + 2 * TOP
    assert apart - two_roots <= 60


def in_text(made: Metrics) -> str:
    return generate_latest(made.registry).decode()


def in_openmetrics(made: Metrics) -> str:
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    return encode(made.registry).decode()


@pytest.mark.parametrize(
    ("write", "parse"), [(in_text, parse_text), (in_openmetrics, parse_openmetrics)], ids=["text", "openmetrics"]
)
def test_the_worst_names_are_read_back_as_the_folders_they_are(
    tally: RootTally, write: Callable[[Metrics], str], parse: Callable[[str], list[Family]]
) -> None:
    text = write(process(tally, 2, 1))
    folders = {
        os.fsencode(named(sample.labels["folder"])): sample.value
        for family in parse(text)
        for sample in family.samples
        if sample.name == "gcsidecar_folder_size_bytes"
    }
    assert folders.keys() == {hostile_name(number) for number in range(LARGE - TOP, LARGE)}
    assert sorted(folders.values()) == sorted(float(folder.disk_bytes) for folder in tally.top)
    assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}


def test_promtool_has_nothing_to_say_of_them(tally: RootTally) -> None:
    command = [needs.program("promtool", "prometheus"), "check", "metrics"]
    done = subprocess.run(command, input=in_text(process(tally, 5, 5)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")

"""Pressure stalls: read from directories that look as the kernel's do, and from the kernel's own where it has them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gcsidecar.sidecar.stalls import Stall, stalls

if TYPE_CHECKING:
    from pathlib import Path

SOME = "some avg10=1.20 avg60=0.80 avg300=0.20 total={}\n"
FULL = "full avg10=0.50 avg60=0.30 avg300=0.10 total={}\n"


class Machine:
    """What a kernel shows: `proc` and `cgroups`, the mount of version 2."""

    def __init__(self, path: Path) -> None:
        self.proc, self.cgroups = path / "proc", path / "cgroup"
        (self.proc / "pressure").mkdir(parents=True)
        (self.proc / "self").mkdir()
        self.cgroups.mkdir()

    def host(self, some: int) -> None:
        """The host has waited for so many microseconds, for a memory three times as long as for a disk."""
        for resource, factor in (("io", 1), ("memory", 3)):
            (self.proc / f"pressure/{resource}").write_text(SOME.format(factor * some) + FULL.format(some))

    def cgroup(self, name: str, some: int) -> Path:
        """A cgroup has waited for so long."""
        path = self.cgroups / name
        path.mkdir(parents=True, exist_ok=True)
        (path / "cgroup.type").write_text("domain\n")
        for resource in ("io", "memory"):
            (path / f"{resource}.pressure").write_text(SOME.format(some) + FULL.format(some // 2))
        return path

    def run_in(self, *lines: str) -> None:
        """What the process's own cgroups are."""
        (self.proc / "self/cgroup").write_text("".join(f"{line}\n" for line in lines))

    def stalls(self, cgroup: Path | str | None = None) -> tuple[Stall, ...]:
        return stalls(None if cgroup is None else str(cgroup), str(self.proc), str(self.cgroups))

    def scopes(self, cgroup: Path | str | None = None) -> list[tuple[str, float]]:
        return [(stall.scope, stall.waiting_seconds) for stall in self.stalls(cgroup)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_totals_are_seconds_of_some_and_of_all(machine: Machine) -> None:
    machine.host(2_500_000)
    assert machine.stalls() == (Stall("io", "host", 2.5, 2.5), Stall("memory", "host", 7.5, 2.5))


def test_the_cgroup_that_is_named_comes_before_our_own_and_that_before_the_host(machine: Machine) -> None:
    machine.host(1_000_000)
    machine.run_in("0::/pod/sidecar")
    assert machine.scopes() == [("host", 1.0), ("host", 3.0)]
    machine.cgroup("pod/sidecar", 2_000_000)
    assert machine.scopes() == [("cgroup", 2.0)] * 2
    assert machine.scopes(machine.cgroup("pod", 3_000_000)) == [("cgroup", 3.0)] * 2


def test_where_the_host_is_named_no_cgroup_counts(machine: Machine) -> None:
    machine.host(1_000_000)
    machine.run_in("0::/pod")
    machine.cgroup("pod", 2_000_000)
    assert machine.scopes("host") == [("host", 1.0), ("host", 3.0)]


@pytest.mark.parametrize(
    "lines", [("4:memory:/pod",), ("0::/elsewhere",), ()], ids=["version 1 only", "not mounted here", "none"]
)
def test_where_our_own_cgroup_has_no_such_files_the_host_counts(machine: Machine, lines: tuple[str, ...]) -> None:
    machine.host(1_000_000)
    machine.cgroup("pod", 2_000_000)
    machine.run_in(*lines)
    assert machine.scopes() == [("host", 1.0), ("host", 3.0)]


def test_a_cgroup_of_version_1_that_is_named_has_none_and_the_next_counts(machine: Machine, tmp_path: Path) -> None:
    machine.host(1_000_000)
    (tmp_path / "v1").mkdir()
    assert machine.scopes(tmp_path / "v1") == [("host", 1.0), ("host", 3.0)]


def test_a_container_sees_its_own_cgroup_as_the_topmost_and_only_there_that_has_a_type(machine: Machine) -> None:
    machine.host(1_000_000)
    machine.run_in("0::/")
    machine.cgroup(".", 2_000_000)
    assert machine.scopes() == [("cgroup", 2.0)] * 2
    (machine.cgroups / "cgroup.type").unlink()
    assert machine.scopes() == [("host", 1.0), ("host", 3.0)]


def test_a_kernel_without_them_has_none(machine: Machine) -> None:
    assert machine.stalls() == ()
    machine.host(0)
    (machine.proc / "pressure/memory").unlink()
    assert [stall.resource for stall in machine.stalls()] == ["io"]


def test_without_a_line_for_all_tasks_they_never_stalled(machine: Machine) -> None:
    (machine.proc / "pressure/io").write_text(SOME.format(1_000_000))
    assert machine.stalls() == (Stall("io", "host", 1.0, 0.0),)


@pytest.mark.parametrize(
    "text", ["", "some\n", "some total=\n", "some avg10=0.00 total=-5\n", "\xff\n", "full total=5\n"]
)
def test_what_is_no_such_file_counts_as_none(machine: Machine, text: str) -> None:
    (machine.proc / "pressure/io").write_text(text, encoding="latin-1")
    assert machine.stalls() == ()


def test_the_kernel_here_is_understood() -> None:
    there = [resource for resource in ("io", "memory") if os.path.exists(f"/proc/pressure/{resource}")]
    found = stalls("host")
    assert [stall.resource for stall in found] == there
    assert all(stall.waiting_seconds >= stall.stalled_seconds >= 0 for stall in found)

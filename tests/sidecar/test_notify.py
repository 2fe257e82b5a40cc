"""What systemd would hear, over a real datagram socket."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from typing import TYPE_CHECKING

import pytest

from gcsidecar.sidecar.notify import Notifier
from gcsidecar.sidecar.web.pages import Readiness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Notifiers = Callable[[Mapping[str, str]], Notifier]

READY = Readiness(ok=True)
WAITING = Readiness(ok=False, lines=("jobs: not reconciled yet",))


class Manager:
    """A service manager that listens."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.settimeout(0)
        self.environ = {"NOTIFY_SOCKET": address}

    def heard(self) -> list[str]:
        """All that was said since the last time."""
        said = []
        with contextlib.suppress(BlockingIOError):
            while True:
                said.append(self.socket.recv(4096).decode())
        return said


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@gcsidecar-test-{os.getpid()}"
    manager = Manager(address)
    with manager.socket:
        yield manager


@pytest.fixture
def notifiers() -> Iterator[Notifiers]:
    with contextlib.ExitStack() as made:

        def make(environ: Mapping[str, str]) -> Notifier:
            notifier = Notifier(environ)
            made.callback(notifier.stopping)
            return notifier

        yield make


def alive() -> bool:
    return True


def test_it_says_ready_once_it_is_and_what_it_waits_for_until_then(manager: Manager, notifiers: Notifiers) -> None:
    notifier = notifiers(manager.environ)
    for readiness in (WAITING, WAITING, READY, READY):
        notifier.turn(lambda now=readiness: now, alive)  # type: ignore[misc]
    assert manager.heard() == ["STATUS=jobs: not reconciled yet", "READY=1\nSTATUS=all roots are kept"]


def test_a_status_that_changes_is_told_on_one_line(manager: Manager, notifiers: Notifiers) -> None:
    notifier = notifiers(manager.environ)
    for lines in ((), ("jobs: standby",), ("jobs: standby",), ("a: x\nREADY=0", "b: missing")):
        notifier.turn(lambda now=lines: Readiness(True, now), alive)  # type: ignore[misc]  # noqa: FBT003
    assert manager.heard() == [
        "READY=1\nSTATUS=all roots are kept",
        "STATUS=jobs: standby",
        "STATUS=a: x READY=0; b: missing",
    ]


def test_a_reload_has_its_time_and_ends_with_ready(manager: Manager, notifiers: Notifiers) -> None:
    notifier = notifiers(manager.environ)
    notifier.turn(lambda: READY, alive)
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.turn(lambda: READY, alive)
    notifier.stopping()
    _, reloading, ready, stopping = manager.heard()
    match = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", reloading)
    assert match
    assert before <= int(match[1]) <= time.monotonic_ns() // 1000
    assert (ready, stopping) == ("READY=1\nSTATUS=all roots are kept", "STOPPING=1")


def test_a_sign_of_life_comes_at_half_of_the_watchdogs_time_and_only_from_the_living(
    manager: Manager, notifiers: Notifiers
) -> None:
    notifier = notifiers(manager.environ | {"WATCHDOG_USEC": "400000", "WATCHDOG_PID": str(os.getpid())})
    assert notifier.pause_seconds(1.0) == 0.1
    beats: list[float] = []
    while len(beats) < 3:
        notifier.turn(lambda: READY, alive)
        beats += [time.monotonic()] * manager.heard().count("WATCHDOG=1")
        time.sleep(0.01)
    assert min(beats[1] - beats[0], beats[2] - beats[1]) > 0.19
    time.sleep(0.25)
    notifier.turn(lambda: READY, lambda: False)
    assert manager.heard() == []
    notifier.turn(lambda: READY, alive)
    assert manager.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "400000", "WATCHDOG_PID": "1"}])
def test_without_a_watchdog_or_with_one_for_another_process_there_are_no_signs_of_life(
    manager: Manager, notifiers: Notifiers, environ: dict[str, str]
) -> None:
    notifier = notifiers(manager.environ | environ)
    notifier.turn(lambda: READY, alive)
    assert manager.heard() == ["READY=1\nSTATUS=all roots are kept"]
    assert notifier.pause_seconds(1.0) == 1.0


def test_until_it_is_ready_it_looks_more_often(manager: Manager, notifiers: Notifiers) -> None:
    notifier = notifiers(manager.environ)
    assert notifier.pause_seconds(1.0) == 0.1


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_without_a_manager_it_does_nothing(address: str, notifiers: Notifiers) -> None:
    notifier = notifiers({"NOTIFY_SOCKET": address} if address else {})
    notifier.turn(lambda: READY, alive)
    notifier.reloading()
    notifier.stopping()


def test_a_manager_that_does_not_read_holds_nothing_up_and_hears_of_it_later(
    manager: Manager, notifiers: Notifiers
) -> None:
    other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    address = manager.environ["NOTIFY_SOCKET"]
    with other, contextlib.suppress(BlockingIOError):
        for _ in range(10_000):
            other.sendto(b"noise", f"\0{address[1:]}" if address.startswith("@") else address)
    notifier = notifiers(manager.environ)
    began = time.monotonic()
    notifier.turn(lambda: READY, alive)
    assert time.monotonic() - began < 1
    manager.heard()
    notifier.turn(lambda: READY, alive)
    assert manager.heard() == ["READY=1\nSTATUS=all roots are kept"]

"""What a terminal, a shell and others send to `gcsidecar lease run`, and what its command gets of it."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from e2e.harness import eventually
from shell.holders import LEASE, lease_files, running

if TYPE_CHECKING:
    from pathlib import Path

# Writes down each signal it gets, and ends when it got SIGTERM.
RECORDER = """
import os, signal, sys, time
def note(number, frame):
    os.write(log, f"{signal.Signals(number).name}\\n".encode())
    if number == signal.SIGTERM:
        os._exit(3)
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for name in ("HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM", "WINCH", "CONT"):
    signal.signal(getattr(signal, "SIG" + name), note)
print("held", flush=True)
while True:
    time.sleep(60)
"""


def noted(log: Path) -> list[str]:
    return log.read_text().split()


@pytest.mark.parametrize("options", [(), ("--ttl", "60")])
def test_each_signal_that_is_sent_to_it_reaches_the_command(
    folder: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """A signal that is sent to it is passed on to the command; those of a terminal reach both, and the command once."""
    log, expected = tmp_path / "log", []
    with running(*LEASE, "run", folder, *options, "--", sys.executable, "-c", RECORDER, log) as process:
        for name in ("HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "WINCH", "CONT", "TERM"):
            process.send_signal(getattr(signal, f"SIG{name}"))
            expected.append(f"SIG{name}")
            eventually(lambda: noted(log) == expected, f"SIG{name} is passed on")
        assert process.wait(20) == 3
    assert lease_files(folder) == []


def test_its_heartbeat_takes_no_signal(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(*LEASE, "run", folder, "--ttl", "60", "--", sys.executable, "-c", RECORDER, log) as process:
        for _ in range(2000):
            process.send_signal(signal.SIGUSR1)
        process.terminate()
        assert process.wait(20) == 3


def test_an_alarm_that_was_set_before_reaches_the_command(folder: Path, tmp_path: Path) -> None:
    """A signal that is sent to it is passed on to the command; those of a terminal reach both, and the command once."""
    log = tmp_path / "log"
    alarm = "import os, signal, sys; signal.setitimer(signal.ITIMER_REAL, 1); os.execv(sys.argv[1], sys.argv[1:])"
    command = [*LEASE, "run", folder, "--", sys.executable, "-c", RECORDER, log]
    with running(sys.executable, "-c", alarm, *command) as process:
        eventually(lambda: log.exists() and noted(log) == ["SIGALRM"], "the alarm is passed on")
        process.terminate()
        assert process.wait(20) == 3


class Terminal:
    """A process that has a terminal of its own, and who sits at it."""

    def __init__(self, *words: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execvp(words[0], words)
        self.said = ""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._fd, text.encode())

    def await_text(self, text: str) -> None:
        """Wait until it was said after what was waited for before."""
        until = time.monotonic() + 20
        while text not in self.said:
            assert time.monotonic() < until, self.said
            self.said += os.read(self._fd, 4096).decode(errors="replace")
        self.said = self.said.partition(text)[2]

    def end(self) -> int:
        """What `waitpid` says of its end."""
        try:
            while os.read(self._fd, 4096):
                pass
        except OSError:  # nobody has the other end
            pass
        os.close(self._fd)
        return os.waitpid(self.pid, 0)[1]


def test_the_command_gets_what_a_terminal_sends_once(folder: Path, tmp_path: Path) -> None:
    """A signal that is sent to it is passed on to the command; those of a terminal reach both, and the command once."""
    log = tmp_path / "log"
    terminal = Terminal(*LEASE, "run", str(folder), "--", sys.executable, "-c", RECORDER, str(log))
    terminal.await_text("held")
    for number in range(1, 4):
        terminal.type("\x03")
        eventually(lambda: len(noted(log)) >= number, "^C reaches it")  # noqa: B023  it is called here
    terminal.type("\x1c")
    eventually(lambda: "SIGQUIT" in noted(log), "^\\ reaches it")
    os.kill(terminal.pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(terminal.end()) == 3
    assert noted(log) == ["SIGINT"] * 3 + ["SIGQUIT", "SIGTERM"]


def test_ctrl_c_ends_it_by_that_signal(folder: Path) -> None:
    """It ends as the command does: with its status, or by its signal."""
    terminal = Terminal(*LEASE, "run", str(folder), "--", "sh", "-c", "echo held; exec sleep 60")
    terminal.await_text("held")
    terminal.type("\x03")
    assert os.WTERMSIG(terminal.end()) == signal.SIGINT
    assert lease_files(folder) == []


@pytest.mark.parametrize("how", ["^Z", "sent to it", "sent to the command", "reads in the background"])
def test_a_shell_can_stop_it_and_go_on(folder: Path, tmp_path: Path, how: str) -> None:
    """When the command stops (`^Z`), it stops, and goes on with it."""
    shell = Terminal("bash", "--norc", "--noprofile", "-i")
    command = " ".join(
        [*LEASE, "run", str(folder), "--", "sh", "-c", f"'echo $$ >{tmp_path}/pid; echo he''ld; exec cat'"]
    )
    shell.type(f"{command}{' &' if how == 'reads in the background' else ''}\n")
    shell.await_text("held")
    child = int((tmp_path / "pid").read_text())
    parent = int(stat(child)[1])
    if how == "^Z":
        for _ in range(5):  # which of two signals comes first is for the kernel to say
            shell.type("\x1a")
            eventually(lambda: {state(child), state(parent)} == {"T"}, "both are stopped")
            shell.type("fg\n")
            eventually(lambda: "T" not in {state(child), state(parent)}, "both go on")
        shell.type("\x1a")
    elif how.startswith("sent"):
        os.kill(parent if how == "sent to it" else child, signal.SIGTSTP)
    eventually(lambda: {state(child), state(parent)} == {"T"}, "both are stopped")
    assert len(lease_files(folder)) == 1
    shell.type("\njobs -s | grep -c St''opped\n")
    shell.await_text("1\r\n")
    shell.type("fg\n")
    eventually(lambda: "T" not in {state(child), state(parent)}, "both go on")
    shell.type("line\n")
    shell.await_text("line\r\nline")
    shell.type("\x04")
    eventually(lambda: lease_files(folder) == [], "it ends with the command")
    shell.type("exit\n")
    shell.end()


def stat(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` after the name: state, parent, ..."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()


def state(pid: int) -> str:
    return stat(pid)[0]


def test_nothing_is_left_where_it_is_ended_while_it_waits(folder: Path) -> None:
    with running("flock", "-x", folder, "sh", "-c", "echo held; exec cat"):
        for number in (signal.SIGINT, signal.SIGTERM):
            command = [*LEASE, "run", str(folder), "--", "true"]
            process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            eventually(lambda: str(folder) in opened_by(process.pid), "it waits for the folder")  # noqa: B023
            process.send_signal(number)
            assert process.communicate(timeout=20)[1] == ""
            assert process.returncode == -number
    assert lease_files(folder) == []


def opened_by(pid: int) -> set[str]:
    """What a process has open."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found

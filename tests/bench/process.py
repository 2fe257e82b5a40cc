"""The process under test, and any other to stand beside it: started, asked what it takes, ended.

It is the real program, started as an operator does; what is measured on it stands in a module for each figure.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.places import config, directory, fill

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Beside the interpreter that runs this: the console script, as an image would start it.
COMMAND = str(Path(sys.executable).with_name("gcsidecar"))
_POLL_SECONDS = 0.001
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


@contextlib.contextmanager
def compiled_modules() -> Iterator[None]:
    """Let all programs that are started find their modules compiled, as an installation or an image has them.

    From a checkout they would be compiled anew at each start, for 0.1 s, where the environment forbids to write them.
    """
    with tempfile.TemporaryDirectory(prefix="gcsidecar-bench-") as path:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = path
        subprocess.run((sys.executable, "-c", "import gcsidecar.sidecar.service"), check=True)
        yield


class BenchError(Exception):
    """A benchmark can't go on, and why."""


class Process:
    """A running process, by what `/proc` says of it.

    Attributes:
        pid: Its number.
    """

    def __init__(self, command: Sequence[str], errors: Path | None = None) -> None:
        self._errors = errors
        with contextlib.ExitStack() as stack:
            stderr = stack.enter_context(errors.open("wb")) if errors is not None else None
            self._popen = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr)
        self.pid = self._popen.pid

    def rss_bytes(self) -> int:
        """What it has in memory now."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s*(\d+) kB$", text, re.MULTILINE)
        if found is None:
            raise BenchError(f"process {self.pid} has no memory: it ended")
        return int(found[1]) * 1024

    def cpu_seconds(self) -> float:
        """What it has run so far, all threads: utime and stime, to the nanosecond where the kernel keeps that.

        Threads that have ended are left out of the finer figure, so take it of a process whose threads live on.
        """
        tasks = Path(f"/proc/{self.pid}/task")
        try:
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9
        except FileNotFoundError:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def check(self) -> None:
        """See that it lives.

        Raises:
            BenchError: It has ended; with what it said last.
        """
        if (status := self._popen.poll()) is not None:
            said = self._errors.read_text(errors="replace")[-2000:] if self._errors is not None else ""
            raise BenchError(f"it ended with status {status}: {said}")

    def end(self) -> None:
        """Ask it to end; kill it where it doesn't."""
        self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


class Sidecar(Process):
    """`gcsidecar run`, listening on `port`.

    Args:
        config: The config file.
        port: Where the config lets it listen.
    """

    def __init__(self, config: Path, port: int) -> None:
        super().__init__((COMMAND, "run", "--config", str(config)), config.with_suffix(".log"))
        self.port = port

    def await_ready(self) -> None:
        """Ask `/readyz` until it says yes, each time by a new connection, as kubelet does."""
        until = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            self.check()
            if time.monotonic() > until:
                raise BenchError(f"not ready after {_START_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    def get(self, path: str) -> bytes:
        """One page, by a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("GET", path)
            return connection.getresponse().read()

    def metric(self, name: str) -> float:
        """The sum of all series of one metric; 0 where there is none."""
        text = self.get("/metrics").decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE))

    def await_metric(self, name: str, value: float, seconds: float = _START_SECONDS) -> None:
        """Wait until a metric has a value.

        Raises:
            BenchError: It still hasn't.
        """
        until = time.monotonic() + seconds
        while (found := self.metric(name)) != value:
            if time.monotonic() > until:
                raise BenchError(f"{name} is {found} and not {value} after {seconds:.0f} s")
            time.sleep(0.2)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        return False


@contextlib.contextmanager
def measured_sidecar(folders: int) -> Iterator[tuple[Sidecar, Path]]:
    """A sidecar that has measured so many folders, and the directory that it is in."""
    with directory() as path:
        root, file = path / "root", path / "config.yaml"
        root.mkdir()
        fill(root, folders)
        sidecar = Sidecar(file, config(file, root))
        with running(sidecar):
            sidecar.await_ready()
            sidecar.await_metric("gcsidecar_root_unmeasured_folders", 0)
            yield sidecar, path


@contextlib.contextmanager
def running(process: Process) -> Iterator[None]:
    """End the process at the end."""
    try:
        yield
    finally:
        process.end()

"""The process under test, and any other to stand beside it: started, asked what it takes, ended.

It is the real program, started as an operator does; what is measured on it stands in a module for each figure.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import usage
from bench.places import config, directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Beside the interpreter that runs this: the console script, as an image would start it.
COMMAND = str(Path(sys.executable).with_name("gcsidecar"))
STATE = ".gcsidecar"
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

    It has a session of its own, as a service or a container has a group of its own: where Linux shares out processors
    by session (`sched_autogroup`), it would have to live on what a writer leaves of theirs.

    Attributes:
        pid: Its number.
    """

    def __init__(self, command: Sequence[str], errors: Path | None = None) -> None:
        self._errors = errors
        with contextlib.ExitStack() as stack:
            stderr = stack.enter_context(errors.open("wb")) if errors is not None else None
            self._popen = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True)
        self.pid = self._popen.pid

    def rss_bytes(self) -> int:
        """What it and its children have in memory now."""
        return usage.rss_bytes(self.pid)

    def cpu_seconds(self) -> float:
        """What it and its children have run so far, all threads."""
        return usage.cpu_seconds(self.pid)

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
        prefix: What runs it, such as `taskset`.
    """

    def __init__(self, config: Path, port: int, prefix: Sequence[str] = ()) -> None:
        self.log = config.with_suffix(".log")
        super().__init__((*prefix, COMMAND, "run", "--config", str(config)), self.log)
        self.port = port

    def await_ready(self, poll_seconds: float = _POLL_SECONDS) -> None:
        """Ask `/readyz` until it says yes, each time by a new connection, as kubelet does; that takes it time."""
        until = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            self.check()
            if time.monotonic() > until:
                raise BenchError(f"not ready after {_START_SECONDS:.0f} s")
            time.sleep(poll_seconds)

    def get(self, path: str) -> bytes:
        """One page, by a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("GET", path)
            return connection.getresponse().read()

    def metric(self, name: str, label: str = "") -> float:
        """The sum of all series of one metric, or of those with a label; 0 where there is none."""
        return _sum(self._exposition(name), name, label)

    def metrics(self, *names: str) -> list[float]:
        """The sum of all series of each metric, from one scrape."""
        text = self._exposition(*names)
        return [_sum(text, name) for name in names]

    def _exposition(self, *names: str) -> str:
        return self.get(f"/metrics?{'&'.join(f'name[]={name}' for name in names)}").decode()

    def await_measured(self, folders: int, poll_seconds: float = 0.2, seconds: float = 600.0) -> None:
        """Wait until it shows so many folders, and the size of each.

        Raises:
            BenchError: It still doesn't.
        """
        until = time.monotonic() + seconds
        while self.metrics("gcsidecar_root_folders", "gcsidecar_root_unmeasured_folders") != [folders, 0.0]:
            self.check()
            if time.monotonic() > until:
                raise BenchError(f"the size of some of {folders} folders is not known after {seconds:.0f} s")
            time.sleep(poll_seconds)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        return False


def _sum(exposition: str, name: str, label: str = "") -> float:
    series = rf"^{name}(?:\{{.*{re.escape(label)}.*\}}){'' if label else '?'} (\S+)$"
    return sum(map(float, re.findall(series, exposition, re.MULTILINE)))


@contextlib.contextmanager
def measured_sidecar(root: Path, prefix: Sequence[str] = (), **settings: object) -> Iterator[Sidecar]:
    """A sidecar that has measured all folders of a root."""
    with sidecar_on(root, prefix=prefix, **settings) as sidecar:
        sidecar.await_ready()
        sidecar.await_measured(len(os.listdir(root)) - (root / STATE).is_dir())
        yield sidecar


@contextlib.contextmanager
def sidecar_on(*roots: Path, prefix: Sequence[str] = (), **settings: object) -> Iterator[Sidecar]:
    """A sidecar that was just started on some roots."""
    with directory() as path:
        file = path / "config.yaml"
        sidecar = Sidecar(file, config(file, *roots, **settings), prefix)
        with running(sidecar):
            yield sidecar


def forget(root: Path) -> None:
    """Let no sidecar know any more that one has been here."""
    shutil.rmtree(root / STATE, ignore_errors=True)


@contextlib.contextmanager
def running(process: Process) -> Iterator[None]:
    """End the process at the end."""
    try:
        yield
    finally:
        process.end()

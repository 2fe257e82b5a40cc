"""Real processes for the tests: the sidecar as an operator starts it, and what it says."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import yaml
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

PATIENCE_SECONDS = 20.0


def eventually(true: Callable[[], Any], what: str, timeout_seconds: float = PATIENCE_SECONDS) -> Any:
    """What `true` gives once it is truthy; the test fails where that takes too long."""
    until = time.monotonic() + timeout_seconds
    while not (value := true()):
        assert time.monotonic() < until, f"it did not come true within {timeout_seconds} s: {what}"
        time.sleep(0.02)
    return value


class Sidecar:
    """One `gcsidecar run`, with its config file and its log.

    Args:
        directory: Where these are.
        config: What differs from the defaults.
        config_path: A config file that is there already.
        flags: More of them.
        environ: Variables over those of the test's own environment.
        tls: What it is asked by, where it speaks TLS.
        headers: What each question carries.
        under: A command that runs it.
    """

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Any],
        *,
        config_path: Path | None = None,
        flags: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
    ) -> None:
        self._under, self._flags, self._environ = tuple(under), tuple(flags), dict(environ or {})
        self.tls, self.headers = tls, dict(headers or {})
        self.config_path = config_path or directory / "gcsidecar.yaml"
        self.log_path = directory / f"sidecar-{time.monotonic_ns()}.log"
        self._config = {"listen": "127.0.0.1:0", "log": {"format": "json"}} | dict(config)
        if config_path is None:
            self.write(self._config)
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, config: Mapping[str, Any] | str) -> None:
        """Change the config file."""
        self.config_path.write_text(config if isinstance(config, str) else yaml.safe_dump(dict(config)))

    def start(self) -> Self:
        """Start it; it may not be ready yet."""
        with self.log_path.open("ab") as log:
            command = [sys.executable, "-m", "gcsidecar.sidecar.cli", "run", "--config", str(self.config_path)]
            command = [*self._under, *command, *self._flags]
            environ = {**os.environ, **self._environ}
            # As a service has it: in ours it would share our part of the processors (`sched_autogroup`).
            self.process = subprocess.Popen(command, stderr=log, env=environ, start_new_session=True)
        return self

    def __enter__(self) -> Self:
        self.start()
        try:
            eventually(lambda: self.has_ended() or self.is_ready(), "the sidecar is ready")
            assert not self.has_ended(), self.log_path.read_text()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self.process is not None
        return self.process.pid

    def has_ended(self) -> bool:
        """Whether it runs no longer."""
        return self.process is not None and self.process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def stop(self) -> tuple[int, float]:
        """End it as a supervisor does; its exit status, and how long it took in seconds."""
        began = time.monotonic()
        self.send(signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(PATIENCE_SECONDS), time.monotonic() - began

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """All that it has logged so far, or only the events of one name."""
        lines = self.log_path.read_text().splitlines() if self.log_path.exists() else []
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [event for event in found if name is None or event["event"] == name]

    @property
    def port(self) -> int:
        """Where it listens; the last time it said so."""
        return int(str(eventually(lambda: self.events("listening"), "it listens")[-1]["ports"]).split(",")[0])

    def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> tuple[int, str]:
        """Status and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        if self.tls is not None:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=self.tls)
        try:
            connection.request(method, path, headers={**self.headers, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """Whether `/readyz` says so."""
        if not self.events("listening"):
            return False
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of one series, none where it is not there."""
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return None

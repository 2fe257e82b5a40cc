"""A real Prometheus, as Debian packages it, that scrapes sidecars each second; and questions to its API."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import urllib.parse
from typing import TYPE_CHECKING, Any, Self

import needs
from e2e.harness import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCRAPE_SECONDS = 1
STOP_SECONDS = 20.0


class Prometheus:
    """One process of it, with its config and data below a directory.

    Args:
        directory: Where.
        targets: The ports that it is to scrape.
        scrape: More of the scrape config: `scheme`, `tls_config`, ...
    """

    def __init__(self, directory: Path, *targets: int, scrape: Mapping[str, Any] | None = None) -> None:
        self._program = needs.program("prometheus")
        self._directory = directory / "prometheus"
        self._directory.mkdir()
        addresses = [f"127.0.0.1:{port}" for port in targets]
        job = {"job_name": "gcsidecar", "static_configs": [{"targets": addresses}], **(scrape or {})}
        seconds = f"{SCRAPE_SECONDS}s"
        config = {"global": {"scrape_interval": seconds, "scrape_timeout": seconds}, "scrape_configs": [job]}
        (self._directory / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        self._log = self._directory / "log"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [
            self._program,
            f"--config.file={self._directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            eventually(self._is_ready, "Prometheus is ready")
        except AssertionError:
            self.__exit__()
            print(self._log.read_text())
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        result: list[dict[str, Any]] = self.ask("/api/v1/query", {"query": expression})["result"]
        return result

    def ask(self, path: str, parameters: Mapping[str, str]) -> Any:
        """What its API answers."""
        status, body = self._get(f"{path}?{urllib.parse.urlencode(parameters)}")
        answer = json.loads(body)
        assert status == 200, answer
        return answer["data"]

    def value(self, expression: str) -> float:
        """The value of an expression that gives a single series."""
        result = self.query(expression)
        assert len(result) == 1, f"{expression} gives {result}"
        return float(result[0]["value"][1])

    def has(self, expression: str) -> bool:
        """Whether an expression gives anything."""
        return bool(self.query(expression))

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        with contextlib.suppress(OSError):
            return self._get("/-/ready")[0] == 200
        return False

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

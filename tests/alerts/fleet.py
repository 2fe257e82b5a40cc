"""A Prometheus with our rules, in a hurry, that scrapes a fleet of sidecars; a label says what ails each of them."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import yaml

from alerts.hurry import hurried
from alerts.rules import documents
from e2e.prometheus import SCRAPE_SECONDS, Prometheus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class FleetPrometheus(Prometheus):
    """One that evaluates the rules at each scrape, and remembers which alerts it has seen firing.

    Args:
        directory: Where.
        targets: The port of each sidecar, by what ails it.

    Attributes:
        fired: The annotations of each alert that was seen firing, by its cause and its name.
    """

    def __init__(self, directory: Path, targets: Mapping[str, int]) -> None:
        super().__init__(directory, 0)
        self.fired: dict[tuple[str, str], dict[str, str]] = {}
        self._rules = self._directory / "hurried.rules.yaml"
        self._rules.write_text(yaml.safe_dump(hurried(documents())))
        self._configure(targets)

    def lose(self) -> None:
        """Have no target any more."""
        self._configure({})
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def look(self) -> set[tuple[str, str]]:
        """See which alerts fire; gives all that have fired so far."""
        status, body = self._get("/api/v1/alerts")
        assert status == 200, body
        for alert in json.loads(body)["data"]["alerts"]:
            if alert["state"] == "firing":
                labels = alert["labels"]
                self.fired[labels.get("cause", ""), labels["alertname"]] = alert["annotations"]
        return set(self.fired)

    def _configure(self, targets: Mapping[str, int]) -> None:
        static = [{"targets": [f"127.0.0.1:{port}"], "labels": {"cause": cause}} for cause, port in targets.items()]
        every = f"{SCRAPE_SECONDS}s"
        config: dict[str, Any] = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": [str(self._rules)],
            "scrape_configs": [{"job_name": "gcsidecar", "static_configs": static}],
        }
        (self._directory / "prometheus.yml").write_text(yaml.safe_dump(config))

"""Writers for a test: starts their processes, ends them, and reads what they said they did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.writers import Work

PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a folder by one writer, from before it took its lease until after it released it.

    Attributes:
        made: Whether it made the folder.
        began: Before it took its lease, POSIX seconds.
        took: When it had it for sure.
        releasing: Before it removed it.
        released: After that.
        wrote_bytes: How much it added.
        lost: Files that were there under its lease, and were not whole at its end.
        partial: Files that the folder was made with, and that were missing when it took its lease.
        in_place: Whether the folder had its name at the end.
    """

    folder: str
    made: bool
    began: float
    took: float
    releasing: float
    released: float
    wrote_bytes: int
    lost: list[str]
    partial: list[str]
    in_place: bool

    @property
    def went_well(self) -> bool:
        """Whether all that was promised to a leased folder was kept."""
        return not self.lost and not self.partial and self.in_place


class Crew:
    """Writer processes, all of which end with it; a directory holds what they say."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def hire(self, work: Work) -> None:
        """Start a writer."""
        log = self._directory / f"writer-{work.name}.log"
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
        with log.open("wb") as output:
            command = [sys.executable, "-m", "e2e.writers", json.dumps(asdict(work))]
            self._processes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT))
        self._logs.append(log)

    def dismiss(self) -> None:
        """Let all end what they are at; none may have failed, a full disk included."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(PATIENCE_SECONDS)
        assert [process.returncode for process in self._processes] == [0] * len(self._processes), self.said()

    def said(self) -> list[str]:
        """The last line of each."""
        return ["".join(log.read_text().splitlines()[-1:]) for log in self._logs]

    def uses(self) -> list[Use]:
        """All uses that are over."""
        return [_use(line) for line in self._lines() if "used" in line]

    def missed(self) -> list[str]:
        """Folders that went, or were away for a moment, just when a lease was taken."""
        return [line["missed"] for line in self._lines() if "missed" in line]

    def _lines(self) -> Iterator[dict[str, Any]]:
        for log in self._logs:
            for line in log.read_text().splitlines():
                if line.startswith("{") and line.endswith("}"):
                    yield json.loads(line)


def _use(line: dict[str, Any]) -> Use:
    return Use(folder=line["used"], **{key: value for key, value in line.items() if key != "used"})

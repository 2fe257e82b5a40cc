"""A file into a config, or into all that is wrong with it; nothing else comes out.

The story of a config in one place: bytes, text, nodes, values, checks. Each step is a module of its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from gcsidecar.sidecar.config.checks import Draft, text_problems
from gcsidecar.sidecar.config.document import parse
from gcsidecar.sidecar.config.machine import machine_problems
from gcsidecar.sidecar.config.model import Config
from gcsidecar.sidecar.config.places import known_homes, normalised
from gcsidecar.sidecar.config.problems import WHOLE_FILE, ConfigError, Problem, has_errors, ordered
from gcsidecar.sidecar.config.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a text.

    Attributes:
        config: The config; none where there is an error.
        draft: As much of it as could be read.
        problems: Errors and warnings of the text, in order.
    """

    config: Config | None
    draft: Draft
    problems: tuple[Problem, ...]


def load(path: str, environ: Mapping[str, str] = os.environ) -> Config:
    """Load a config whose text is right, whatever the state of the machine.

    Args:
        path: The YAML file.
        environ: Where its variables come from.

    Raises:
        ConfigError: There is something wrong with it; it holds all of it, a line each.
    """
    reading = _read(path, environ)
    if reading.config is None:
        raise ConfigError(path, [problem for problem in reading.problems if problem.severity == "error"])
    return reading.config


def check(path: str, environ: Mapping[str, str] = os.environ) -> tuple[Problem, ...]:
    """All that is wrong, or looks wrong, with a config and with this machine for it, in the order of its lines.

    It looks at each root, so it may hang where a mount hangs.
    """
    reading = _read(path, environ)
    config = reading.config or reading.draft.config
    if config is None:
        return reading.problems
    return ordered([*reading.problems, *machine_problems(config, reading.draft, known_homes(environ))])


def read_text(content: bytes, environ: Mapping[str, str], homes: Collection[str] = ()) -> Reading:
    """Read the content of a config file; nothing raises.

    Args:
        content: The file's bytes.
        environ: Where variables come from.
        homes: Directories that are homes of users.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _refused(Problem(line, WHOLE_FILE, "is not UTF-8", "save it as UTF-8"))
    document = parse(text, environ)
    reader = Reader()
    config = reader.read(document.root, Config)
    draft = Draft(reader.built, reader.lines)
    refused = [*document.problems, *reader.problems]
    reported = {problem.key for problem in refused}
    # Where a value was refused a stand-in is in its place, about which there is nothing to say.
    judged = [problem for problem in text_problems(draft, homes) if problem.key not in reported]
    problems = ordered([*refused, *judged])
    usable = None if config is None or has_errors(problems) else _tidied(config)
    return Reading(usable, draft, problems)


def _refused(problem: Problem) -> Reading:
    return Reading(None, Draft({}, {}), (problem,))


def _tidied(config: Config) -> Config:
    """The config with its paths in their plain form, as everything after this compares them."""
    roots = tuple(structs.replace(root, path=normalised(root.path)) for root in config.roots)
    return structs.replace(config, roots=roots)


def _read(path: str, environ: Mapping[str, str]) -> Reading:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return _refused(Problem(1, WHOLE_FILE, f"can't be read: {why}", "the path of a YAML file"))
    if len(content) > MAX_FILE_BYTES:
        return _refused(Problem(1, WHOLE_FILE, "is larger than 1 MiB", "a config, which has a few KiB"))
    return read_text(content, environ, known_homes(environ))

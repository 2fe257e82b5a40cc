"""The command line: what is asked for, and with which status it ends; the work is done elsewhere.

Status 0: all went well. 1: it can't be done, and stderr says why. 2: the command line itself is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from gcsidecar import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsidecar.sidecar.config import Problem


STDERR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    _open_standard_streams()
    options = _parser().parse_args(arguments)
    status: int = options.command(options)
    return status


def _open_standard_streams() -> None:
    """Where a supervisor has closed one, the next file opened would get its number, and a log line would go into it."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(fd)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gcsidecar",
        description="Keeps shared cache volumes from filling up: evicts the least recently used folders.",
    )
    parser.add_argument("--version", action="version", version=f"gcsidecar {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run", help="run the sidecar", description="Run the sidecar until SIGTERM; SIGHUP reads its config anew."
    )
    run.set_defaults(command=_run)
    check = commands.add_parser(
        "check",
        help="check a config and this machine for it",
        description="Check a config and this machine for it: prints all that is wrong, a line each.",
    )
    check.set_defaults(command=_check)
    for command in (run, check):
        command.add_argument("--config", metavar="FILE", required=True, help="the YAML config file")
    return parser


def _check(options: argparse.Namespace) -> int:
    from gcsidecar.sidecar.config import check, has_errors

    problems = check(options.config)
    _print(problems, options.config)
    if has_errors(problems):
        return 1
    print(f"{options.config}: all is well")
    return 0


def _run(options: argparse.Namespace) -> int:
    from gcsidecar.sidecar import log
    from gcsidecar.sidecar.config import ConfigError, load
    from gcsidecar.sidecar.service import Service
    from gcsidecar.sidecar.web.listening import WebError

    try:
        config = load(options.config)
    except ConfigError as error:
        _print(error.problems, options.config)
        return 1
    log.configure(config.log.level, config.log.format)
    try:
        service = Service(options.config, config, os.environ)
    except WebError as error:
        print(f"gcsidecar: {error}", file=sys.stderr)
        return 1
    service.run()
    return 0


def _print(problems: Sequence[Problem], path: str) -> None:
    for problem in problems:
        print(problem.at(path), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

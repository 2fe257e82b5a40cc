"""The command line: what is asked for, and with which status it ends; the work is done elsewhere.

Status 0: all went well. 1: it can't be done, and stderr says why. 2: the command line itself is wrong. (`lease run` and
`lease exec` end as their command does; what is wrong with them is 125.)
"""

from __future__ import annotations

import argparse
import os
import sys

from gcsidecar import __version__

TYPE_CHECKING = False  # `typing` itself would cost each `lease run` 2 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcsidecar.sidecar.config import Problem


STDERR = 2
# Its commands are run once for each job, and so pay for nothing that the others need.
LEASE = "lease"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    _open_standard_streams()
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == [LEASE]:
        return _lease(words[1:])
    options = _parser().parse_args(words)
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
        command.add_argument(
            "--web.config.file",
            dest="web_config_file",
            metavar="FILE",
            help="who may ask: TLS and basic auth, in the format of the Prometheus exporter toolkit",
        )
    _add_web_flags(run)
    _add_healthcheck(commands.add_parser("healthcheck", help="ask a sidecar on this machine whether it is healthy"))
    commands.add_parser(LEASE, help="hold a folder of a cache, or see who does")  # it has a parser of its own
    return parser


def _add_web_flags(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--web.listen-address",
        dest="listen_addresses",
        metavar="ADDRESS",
        action="append",
        default=[],
        help='where to listen, over the config\'s "listen"; may be given again',
    )
    run.add_argument(
        "--web.enable-lifecycle",
        dest="lifecycle",
        action="store_true",
        help="let a POST to /-/reload have the config read anew",
    )


def _add_healthcheck(healthcheck: argparse.ArgumentParser) -> None:
    healthcheck.set_defaults(command=_healthcheck)
    healthcheck.description = "Ask a sidecar on this machine whether it is healthy: status 0 if it is, else 1 and why."
    where = healthcheck.add_mutually_exclusive_group()
    where.add_argument("--config", metavar="FILE", help='the config file, for where its "listen" says')
    where.add_argument("--url", metavar="URL", help="where it listens; http://127.0.0.1:10977 unless given")
    healthcheck.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=3.0, help="for how long to wait; 3 unless given"
    )


def _check(options: argparse.Namespace) -> int:
    from gcsidecar.sidecar.config import check, has_errors

    problems = check(options.config)
    _print(problems, options.config)
    web_is_wrong = options.web_config_file is not None and not _check_web(options.web_config_file)
    if has_errors(problems) or web_is_wrong:
        return 1
    print(f"{options.config}: all is well")
    return 0


def _check_web(path: str) -> bool:
    from gcsidecar.sidecar.config import ConfigError
    from gcsidecar.sidecar.web.loader import load_access

    try:
        load_access(path)
    except ConfigError as error:
        _print(error.problems, path)
        return False
    return True


def _healthcheck(options: argparse.Namespace) -> int:
    from gcsidecar.sidecar.healthcheck import UnhealthyError, check_health, target_of

    try:
        check_health(target_of(options.url, options.config), options.timeout)
    except UnhealthyError as error:
        print(f"gcsidecar: {error}", file=sys.stderr)
        return 1
    return 0


def _lease(words: Sequence[str]) -> int:
    from gcsidecar.sidecar.lease.actions import act
    from gcsidecar.sidecar.lease.flags import parse

    return act(parse(words))


def _run(options: argparse.Namespace) -> int:
    from gcsidecar.sidecar import log
    from gcsidecar.sidecar.config import AddressError, ConfigError, load
    from gcsidecar.sidecar.service import Service
    from gcsidecar.sidecar.serving import WebOptions
    from gcsidecar.sidecar.web.listening import WebError

    web = WebOptions(tuple(options.listen_addresses), options.web_config_file, options.lifecycle)
    try:
        config = load(options.config)
        log.configure(config.log.level, config.log.format)
        service = Service(options.config, config, os.environ, web)
    except ConfigError as error:
        _print(error.problems, error.path)
        return 1
    except (AddressError, WebError) as error:
        print(f"gcsidecar: {error}", file=sys.stderr)
        return 1
    service.run()
    return 0


def _print(problems: Sequence[Problem], path: str) -> None:
    for problem in problems:
        print(problem.at(path), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

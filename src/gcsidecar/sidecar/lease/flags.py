"""The command line of `gcsidecar lease`: which words there are, with an example of each; what they do is elsewhere.

Options may stand before or after PATH. What follows `--` is the command, and nobody here looks into it.
"""

from __future__ import annotations

import argparse
import math
import sys

TYPE_CHECKING = False  # `typing` itself would cost each command 2 ms
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

# As `env`, `timeout` and `docker run` have it: what is wrong with us is told apart from what the command says.
FAILED = 125
WITH_COMMAND = ("run", "exec")
_WIDTH = 110
TIMEOUT_SECONDS = 30.0
MAX_TTL_SECONDS = 1e12


class Parser(argparse.ArgumentParser):
    """A parser whose complaint has a status of its own, where every other may be that of a command."""

    complaint_status = 2

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end."""
        self.print_usage(sys.stderr)
        self.exit(self.complaint_status, f"{self.prog}: error: {message}\n")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What is asked for: the `action`, what it needs, and in `words` the command that follows `--`."""
    ours, words = _split(arguments)
    options, unknown = _parser().parse_known_args(ours, argparse.Namespace(words=words))
    if options.action in WITH_COMMAND and not any(words[:1]):
        options.parser.error("there is no COMMAND; it follows --")
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is for us, and the command, where it is one that takes a command."""
    ours = list(arguments)
    if ours[:1] not in ([name] for name in WITH_COMMAND) or "--" not in ours:
        return ours, []
    at = ours.index("--")
    return ours[:at], ours[at + 1 :]


def _parser() -> Parser:
    lease = Parser(
        prog="gcsidecar lease", description="Hold a folder of a cache, or see who does.", formatter_class=_formatter
    )
    commands = lease.add_subparsers(required=True, metavar="COMMAND", dest="action", prog="gcsidecar lease")
    _add_run(commands)
    _add_exec(commands)
    _add_acquire(commands)
    _add_release(commands)
    _add_list(commands)
    return lease


def _add_run(commands: Any) -> None:
    run = _command(
        commands,
        "run",
        "run a command, and hold a folder for as long as it takes",
        "Hold a lease on the folder PATH, run COMMAND, and end as it does: with its status, or by its signal. Signals\n"
        "are passed on to it. The lease holds as long as COMMAND, or anything it started that inherited the lease.\n"
        "Status 125: there is no lease, and stderr says why; 126: COMMAND can't be run; 127: it isn't there.",
        "gcsidecar lease run /cache/jobs/my-project --env PIP_CACHE_DIR -- pip install -r requirements.txt",
        "[OPTION]... PATH -- COMMAND [ARGUMENT]...",
    )
    _add_folder(run)
    _add_env(run)
    _add_ttl(run, "for a sidecar that can't see our locks: it ends the lease so long after our last sign of life")
    run.add_argument(
        "--no-inherit",
        dest="inherit",
        action="store_false",
        help="the lease ends with COMMAND, also where it leaves something running",
    )


def _add_exec(commands: Any) -> None:
    exec_ = _command(
        commands,
        "exec",
        "become a command that holds a folder",
        "Take a lease on the folder PATH and become COMMAND, which holds it from then on, with whatever inherits it.\n"
        "No process of ours stays, so this is refused where locks mean nothing. Status as with `lease run`.",
        "gcsidecar lease exec /cache/models/llama -- python3 serve.py",
        "[OPTION]... PATH -- COMMAND [ARGUMENT]...",
    )
    _add_folder(exec_)
    _add_env(exec_)


def _add_acquire(commands: Any) -> None:
    acquire = _command(
        commands,
        "acquire",
        "take a lease for a script",
        "Take a lease on the folder PATH that holds until it is released; no process of ours stays. Prints how.",
        "lease=$(gcsidecar lease acquire /cache/jobs/my-project --print) || exit\n  trap 'rm -f \"$lease\"' EXIT",
        "[OPTION]... PATH",
    )
    _add_folder(acquire)
    _add_ttl(acquire, 'it ends by itself so long after its last `touch -c "$lease"`')
    acquire.add_argument("--print", action="store_true", help="print the path of the lease file and nothing else")


def _add_release(commands: Any) -> None:
    release = _command(
        commands,
        "release",
        "end leases that a script took",
        "Remove lease files that `lease acquire` or mktemp made. One that is gone already is none to end: all is well.",
        'gcsidecar lease release "$lease"',
        "FILE...",
    )
    release.add_argument("files", metavar="FILE", nargs="+", help="what `lease acquire --print` printed")


def _add_list(commands: Any) -> None:
    list_ = _command(
        commands,
        "list",
        "say who holds what",
        "List the leases on a folder, or on all folders of a root: who holds it since when, for what, how that is\n"
        "known (a file, its heartbeat, a lock), and whether it is live, stale or dead. It changes nothing.",
        "gcsidecar lease list /cache/jobs --output json",
        "[OPTION]... [PATH]...",
    )
    list_.add_argument("paths", metavar="PATH", nargs="*", default=["."], help="a folder, or a root; here unless given")
    list_.add_argument("--output", choices=("table", "json"), default="table", help="table unless given")


def _command(commands: Any, name: str, short: str, long: str, example: str, usage: str) -> Parser:
    parser: Parser = commands.add_parser(
        name,
        help=short,
        description=long,
        epilog=f"example:\n  {example}",
        usage=f"gcsidecar lease {name} {usage}",
        formatter_class=_formatter,
    )
    parser.set_defaults(parser=parser)
    if name in WITH_COMMAND:
        parser.complaint_status = FAILED
    return parser


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Of a width that is known: to ask the terminal for it takes 2 ms, and each command would, help or not."""
    return argparse.RawDescriptionHelpFormatter(prog, width=_WIDTH)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="the folder; it is made where it isn't there")
    parser.add_argument(
        "--no-create", dest="create", action="store_false", help="fail where the folder isn't there: a miss"
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=TIMEOUT_SECONDS,
        help="how long to try where the folder is just being taken away; %(default).0f unless given",
    )
    parser.add_argument(
        "--purpose",
        metavar="TEXT",
        default="",
        help="what it is held for, for `lease list` and the log; the name of a command unless given",
    )


def _add_env(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--env",
        metavar="NAME[=SUBFOLDER]",
        type=_variable,
        action="append",
        default=[],
        help="set this variable to the folder's absolute path, or to SUBFOLDER in it, for COMMAND; may be given again",
    )


def _add_ttl(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument("--ttl", metavar="SECONDS", type=_lifetime, default=None, help=meaning)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def _lifetime(text: str) -> float:
    value = _seconds(text)
    if not 0 < value < MAX_TTL_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} s is no time to live")
    return value


def _variable(text: str) -> tuple[str, str]:
    name, _, subfolder = text.partition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} has no name of a variable")
    if subfolder.startswith("/") or ".." in subfolder.split("/"):
        raise argparse.ArgumentTypeError(f"{subfolder!r} is not below the folder")
    return name, subfolder

"""`lease run` and `lease exec`: a lease that holds as long as a command, or what it started and handed it on to."""

from __future__ import annotations

import os
import signal

from gcsidecar.client.acquiring import acquire
from gcsidecar.client.errors import LeaseRefusedError
from gcsidecar.sidecar.lease.command import Command, end_as, signals_held, status_of
from gcsidecar.sidecar.lease.output import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gcsidecar.client.holding import Lease


def run_(options: argparse.Namespace) -> int:
    """Run a command under a lease; ends as the command does."""
    lease = acquire(
        options.path, ttl=options.ttl, create=options.create, timeout=options.timeout, purpose=_purpose(options)
    )
    with lease, signals_held() as mask:
        lease.set_inheritable(options.inherit)
        try:
            command = Command(options.words, _environ(options, lease), mask)
        except OSError as error:
            return _not_started(options.words[0], error)
        status = command.wait()
        if options.inherit:
            lease.let_go()
    return end_as(status)


def exec_(options: argparse.Namespace) -> int:
    """Become a command that holds a lease; comes back only where that fails."""
    with acquire(options.path, create=options.create, timeout=options.timeout, purpose=_purpose(options)) as lease:
        if not lease.locked:
            raise LeaseRefusedError(
                f"{lease.path}: locks on this filesystem show nobody who holds it, so nothing would end the lease; use "
                f"`lease run`, whose process sees to that"
            )
        lease.set_inheritable(True)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, which the command would inherit
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execvpe(options.words[0], options.words, _environ(options, lease))  # noqa: S606  that is what it is for
        except OSError as error:
            return _not_started(options.words[0], error)


def _purpose(options: argparse.Namespace) -> str:
    """What was said, else the program: its arguments may be nobody's business, and everybody may read a lease."""
    return str(options.purpose or os.path.basename(options.words[0]))


def _environ(options: argparse.Namespace, lease: Lease) -> dict[str, str]:
    """The environment of a command: some variables name the folder, or a subfolder that its tool makes by itself."""
    chosen = {name: os.path.join(lease.path, below) if below else lease.path for name, below in options.env}
    return {**os.environ, **chosen}


def _not_started(program: str, error: OSError) -> int:
    complain(f"{program}: {error.strerror}")
    return status_of(error)

"""The command that `lease run` runs: started, waited for, its signals passed on, and its end made ours.

It knows no leases. Command and parent share a process group, as with `time` or `nice`: what a terminal sends goes to
both at once, so only what is sent to the parent alone is passed on.
"""

from __future__ import annotations

import contextlib
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOT_FOUND, NOT_EXECUTABLE = 127, 126
# Python ignores these, which a command would inherit.
_IGNORED_HERE = (signal.SIGPIPE, signal.SIGXFSZ)
# What can't be caught, and what says that this very process is broken.
_OWN = {signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP}
_WAITED_FOR = signal.valid_signals() - _OWN
_JOB_CONTROL = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
# What a terminal sends, to the whole group; anything else that comes from the kernel (an alarm that outlived our own
# start) is for one process.
_FROM_TERMINAL = _JOB_CONTROL | {signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCONT, signal.SIGWINCH}
_SENT_BY_KERNEL = 0x80
# With a limit of 0 a core handler that is a pipe would be run for us all the same; with this one it isn't.
_NO_CORE_BYTES = 1


class Command:
    """A command that runs.

    Args:
        words: The program and its arguments.
        environ: What it finds in its environment.
        mask: The signals that it has blocked at its start.

    Raises:
        OSError: It can't be started.
    """

    def __init__(self, words: list[str], environ: Mapping[str, str], mask: set[signal.Signals]) -> None:
        self.pid = os.posix_spawnp(words[0], words, environ, setsigmask=mask, setsigdef=_IGNORED_HERE)

    def wait(self) -> int:
        """Wait for its end, within `signals_held`; what `waitpid` says of it."""
        while True:
            info = signal.sigwaitinfo(_WAITED_FOR)
            if info.si_signo != signal.SIGCHLD:
                self._pass_on(info)
            elif (status := self._reap()) is not None:
                return status

    def _pass_on(self, info: signal.struct_siginfo) -> None:
        if info.si_code == _SENT_BY_KERNEL and info.si_signo in _FROM_TERMINAL:
            return
        with contextlib.suppress(PermissionError):
            os.kill(self.pid, info.si_signo)

    def _reap(self) -> int | None:
        """Its end, if that is what has happened; as process 1 of a container we have other children, too."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                return None
            if pid != self.pid:
                continue
            if not os.WIFSTOPPED(status):
                return status
            if os.WSTOPSIG(status) in _JOB_CONTROL:
                _stop_by(os.WSTOPSIG(status))


@contextlib.contextmanager
def signals_held() -> Iterator[set[signal.Signals]]:
    """Signals wait until they are asked for; gives what was blocked before."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where our parent ignores it, no child could be waited for
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
    try:
        yield {signal.Signals(number) for number in before}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_as(status: int) -> int:
    """End as a command did: by its signal; else its exit status is ours.

    As process 1 of a container, which no signal of its own ends: 128 plus the signal's number, as a shell has it.
    """
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    _leave_no_core()
    with contextlib.suppress(OSError):  # SIGKILL has no other disposition
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    return 128 + number


def status_of(error: OSError) -> int:
    """The exit status of a shell whose command could not be started."""
    return NOT_FOUND if isinstance(error, (FileNotFoundError, NotADirectoryError)) else NOT_EXECUTABLE


def _stop_by(number: int) -> None:
    """Stop as the command did, for the shell that has both as one job; its SIGCONT goes on from here.

    What the terminal sent may be waiting for us, too: with it and another one we would stop once more after that.
    """
    signal.sigtimedwait({number}, 0)
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})


def _leave_no_core() -> None:
    """The command has left one, where one is wanted."""
    import resource  # noqa: PLC0415  hardly ever needed

    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    most = _NO_CORE_BYTES if hard in {-1, resource.RLIM_INFINITY} else min(_NO_CORE_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (most, hard))

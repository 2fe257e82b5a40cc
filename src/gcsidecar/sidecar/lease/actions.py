"""Which `lease` command was asked for, and what becomes of its errors: a line on stderr and a status, no traceback."""

from __future__ import annotations

import os
import signal
import sys

from gcsidecar.errors import GcsidecarError
from gcsidecar.sidecar.lease.flags import FAILED, WITH_COMMAND
from gcsidecar.sidecar.lease.output import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

# Each is imported when it runs: who takes a lease doesn't pay for the list.
_HOME = {
    "run": "gcsidecar.sidecar.lease.holding",
    "exec": "gcsidecar.sidecar.lease.holding",
    "acquire": "gcsidecar.sidecar.lease.files",
    "release": "gcsidecar.sidecar.lease.files",
    "list": "gcsidecar.sidecar.lease.listing",
}


def act(options: argparse.Namespace) -> int:
    """Do it; the exit status."""
    action = options.action
    try:
        __import__(_HOME[action])
        status: int = getattr(sys.modules[_HOME[action]], f"{action}_")(options)
    except GcsidecarError as error:
        complain(error)
        return FAILED if action in WITH_COMMAND else 1
    except KeyboardInterrupt:
        # As any program that does nothing about it ends; a shell's loop ends with it then.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        return 128 + signal.SIGINT
    return status

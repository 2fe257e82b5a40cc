"""`lease acquire` and `lease release`: leases for scripts, held by nothing but their file."""

from __future__ import annotations

import os
import stat
from fnmatch import fnmatchcase

from gcsidecar.client.acquiring import acquire
from gcsidecar.client.errors import LeaseError, LeaseRefusedError
from gcsidecar.contract import CLIENT_LEASES, MAX_HOLDER_BYTES, decoded
from gcsidecar.sidecar.lease.output import complain, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from gcsidecar.client.holding import Lease

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def acquire_(options: argparse.Namespace) -> int:
    """Take a lease that outlasts this process, and say how it is named."""
    lease = acquire(
        options.path,
        ttl=options.ttl,
        create=options.create,
        timeout=options.timeout,
        purpose=options.purpose,
        lasting=True,
    )
    try:
        write(lease.file + "\n" if options.print else _about(lease))
    except OSError as error:
        lease.release()
        raise LeaseError(f"{lease.path}: the lease is given back, as it can't be printed: {error.strerror}") from error
    return 0


def _about(lease: Lease) -> str:
    lines = [f"{lease.path} is held by {lease.file}", f"end it: gcsidecar lease release {lease.file}"]
    if lease.ttl_seconds is not None:
        lines.append(f"keep it alive, more often than every {lease.ttl_seconds:g} s: touch -c {lease.file}")
    return "".join(f"{line}\n" for line in lines)


def release_(options: argparse.Namespace) -> int:
    """Remove lease files; those that can't be are named, all others go."""
    status = 0
    for path in options.files:
        try:
            _release(path)
        except LeaseError as error:
            complain(error)
            status = 1
    return status


def _release(path: str) -> None:
    above, name = os.path.split(path)
    if not fnmatchcase(name, CLIENT_LEASES):
        raise LeaseRefusedError(f"{path} is no lease of a client: those are named {CLIENT_LEASES}; remove it yourself")
    try:
        dir_fd = os.open(above or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LeaseError(f"{path}: {error.strerror}") from error
    try:
        _check(path, name, dir_fd)
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LeaseError(f"{path} can't be removed: {error.strerror}; it holds on") from error
    finally:
        os.close(dir_fd)


def _check(path: str, name: str, dir_fd: int) -> None:
    """See that it is a file that a client made, and that nobody holds by a lock."""
    if not stat.S_ISREG(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
        raise LeaseRefusedError(f"{path} is no file, and so none that a client made; remove it yourself")
    fd = os.open(name, _FLAGS, dir_fd=dir_fd)
    try:
        content = os.read(fd, MAX_HOLDER_BYTES + 1)
        holder = decoded(content)
        if content and holder is None:
            raise LeaseRefusedError(f"{path} says what no client writes into a lease; remove it yourself")
        if holder is not None and holder.locked and _is_locked(fd):
            raise LeaseRefusedError(
                f"{path} is held by process {holder.pid} on {holder.host}; it ends with that, or with what inherited it"
            )
    finally:
        os.close(fd)


def _is_locked(fd: int) -> bool:
    import fcntl  # noqa: PLC0415  hardly ever needed

    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False

"""`lease list`: who holds a folder, or each folder of a root, as far as one look can tell.

It judges as the sidecar does, save that it has seen nothing before: for how long a lease was quiet, the calendar says.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from typing import TYPE_CHECKING

from gcsidecar.cache.filesystem import filesystem_of
from gcsidecar.cache.folders.listing import FolderGlob
from gcsidecar.cache.spec import LEASE_PATTERNS
from gcsidecar.cache.syscalls import open_beneath
from gcsidecar.cache.use.lease import LeasePatterns
from gcsidecar.cache.use.leasefile import boot_id, holder_of, is_held, opened
from gcsidecar.cache.use.liveness import SUSPECT_SECONDS
from gcsidecar.client.errors import LeaseError
from gcsidecar.client.place import place_of
from gcsidecar.client.told import told_by
from gcsidecar.contract import LOCK, STATE_DIRECTORY
from gcsidecar.errors import GcsidecarError
from gcsidecar.sidecar.lease.held import Held
from gcsidecar.sidecar.lease.output import complain, write
from gcsidecar.sidecar.lease.table import as_json, as_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from gcsidecar.cache.use.lease import Lease
    from gcsidecar.contract import Holder

_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK


def list_(options: argparse.Namespace) -> int:
    """Print who holds what; 1 where something could not be looked at."""
    found, status = [], 0
    for path in options.paths:
        try:
            found += _held_at(os.path.abspath(path))
        except (GcsidecarError, OSError) as error:
            complain(_text(path, error))
            status = 1
    found.sort(key=lambda one: (one.folder, one.since or 0.0, one.lease or ""))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who reads its head only has seen enough
    write(as_json(found) if options.output == "json" else as_table(found))
    return status


def _text(path: str, error: Exception) -> str:
    return str(error) if isinstance(error, GcsidecarError) else f"{path}: {getattr(error, 'strerror', error)}"


def _held_at(path: str) -> list[Held]:
    """The leases on a folder, or on all folders of a root.

    Raises:
        LeaseError: It is neither, or can't be looked at.
        OSError: It can't be opened.
    """
    if told_by(path) is None:
        place = place_of(path)
        with _opened(place.base) as root:
            return root.held(place.name)
    with _opened(path) as root:
        return [one for found in root.glob.list(root.fd) for one in root.held(found.name)]


@contextlib.contextmanager
def _opened(path: str) -> Iterator[_Root]:
    fd = os.open(path, _ROOT)
    try:
        yield _Root(path, fd)
    finally:
        os.close(fd)


class _Root:
    """An open root, or what stands in for it where no sidecar has been."""

    def __init__(self, path: str, fd: int) -> None:
        said = _said(path)
        files, folders = said.get("lease_files"), said.get("folders")
        self.path, self.fd = path, fd
        self.patterns = LeasePatterns(files if isinstance(files, list) else LEASE_PATTERNS)
        self.glob = FolderGlob(folders if isinstance(folders, str) else "*", self.patterns)
        self._locks_are_real = filesystem_of(fd, os.fstat(fd).st_dev).locks_are_real
        self._boot_id, self._now = boot_id(), time.time()

    def held(self, name: str) -> list[Held]:
        """The leases on one folder.

        Raises:
            LeaseError: It can't be looked at.
        """
        path = os.path.join(self.path, name)
        try:
            fd = open_beneath(self.fd, name, _FOLDER)
        except OSError as error:
            raise LeaseError(f"{path}: {error.strerror}") from error
        try:
            leases = [*self.patterns.inside(fd), *self.patterns.beside(self.fd, name)]
            held = [one for lease in leases if (one := self._judged(path, fd, lease)) is not None]
            if not any(one.how == "lock" and one.state == "live" for one in held) and _is_locked(fd):
                held.append(Held(path, None, "lock", "live", None, None, None))
        except OSError as error:
            raise LeaseError(f"{path} can't be looked at: {error.strerror}; it is in use then") from error
        finally:
            os.close(fd)
        return held

    def _judged(self, path: str, fd: int, lease: Lease) -> Held | None:
        """One lease; none if it was released meanwhile."""
        where = os.path.join(path if lease.inside else self.path, lease.path)
        holder, how, state = None, "file", self._by_age(lease)
        if lease.version is not None:
            try:
                with opened(fd, lease.path) as file_fd:
                    holder = holder_of(file_fd)
                    if holder is not None:
                        how, state = self._by_holder(file_fd, holder, lease, os.fstat(fd).st_dev)
            except FileNotFoundError:
                return None
            except PermissionError:  # it holds, and nothing is known of it
                pass
        return Held(path, where, how, state, holder.at if holder else lease.mtime, lease.mtime, holder)

    def _by_holder(self, file_fd: int, holder: Holder, lease: Lease, device: int) -> tuple[str, str]:
        """How a lease of our client is known, and what it is."""
        if holder.locked and self._locks_are_real:
            if is_held(file_fd):
                return "lock", "live"
            if (holder.boot_id, holder.device) == (self._boot_id, device):
                return "lock", "dead"
        if holder.ttl_seconds is not None:
            return "heartbeat", "live" if self._now - lease.mtime <= holder.ttl_seconds else "dead"
        return "file", self._by_age(lease)

    def _by_age(self, lease: Lease) -> str:
        return "stale" if self._now - lease.mtime > SUSPECT_SECONDS else "live"


def _said(root: str) -> dict[str, object]:
    """What the root's sidecar says of it; nothing where none has been."""
    try:
        with open(os.path.join(root, STATE_DIRECTORY, LOCK), encoding="ascii") as file:
            said = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _is_locked(fd: int) -> bool:
    """Whether anybody has a lock on a folder; whoever wants it this very moment tries again."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False

"""Taking a lease, by the protocol of a careful client: whatever an evictor does meanwhile, what is had is the folder.

What a held lease is, and how it ends, stands in `holding.py`.
"""

from __future__ import annotations

import os
import time

from gcsidecar.client.errors import FolderMissingError
from gcsidecar.client.file import put, remove
from gcsidecar.client.folder import Folder, opened
from gcsidecar.client.holding import Lease
from gcsidecar.client.myself import locks_are_real_here, myself
from gcsidecar.client.patience import Patience
from gcsidecar.client.place import place_of
from gcsidecar.client.refusals import absolute, explained
from gcsidecar.contract import Holder

TIMEOUT_SECONDS = 30.0
# Where no lock ends a lease, it ends so long after its holder's last touch.
TTL_WITHOUT_LOCKS_SECONDS = 300.0
# More would not fit into a lease file in every script.
_PURPOSE_CHARACTERS = 200


def lease(
    path: str | os.PathLike[str],
    *,
    ttl: float | None = None,
    create: bool = True,
    timeout: float = TIMEOUT_SECONDS,
    purpose: str = "",
) -> Lease:
    """Take a lease on a folder of a cache: until it is released, no sidecar evicts the folder.

        with gcsidecar.lease("/cache/base-image", purpose="build 7") as folder:
            if folder.created:
                download_into(folder.path)
            use(folder.path)

    The folder has to be one that the sidecar manages: the path is held against what the root's `.gcsidecar/lock` says
    of its folders. Where no sidecar has ever been, the lease is taken all the same, from the nearest directory above
    that is there, and counts once there is a sidecar. `..` in a path is taken by its letters. Links are followed on the
    way to the root, and none from there on.

    Any number of processes and threads may each have a lease of their own on one folder. It is no lock: they are not
    kept apart from each other.

    Args:
        path: The folder.
        ttl: Let the lease be a heartbeat, too: it holds for so many seconds after its file was last touched, which a
            thread of this process sees to. None: only where locks are not real (NFS, FUSE, ...) it has one of 300 s;
            elsewhere the kernel ends it with this process, however that ends.
        create: Whether to make the folder where it is missing, and what is missing between the root and it.
        timeout: How many seconds to try, at most, while somebody has the folder locked or it changes all the time;
            0: one try. (A filesystem that hangs is beyond it.)
        purpose: What it is held for, for people: 200 characters at most are kept.

    Raises:
        LeaseRefusedError: The path is no folder of a root: a lease on it would protect nothing. Or the sidecar there is
            of another version.
        FolderMissingError: There is no such folder, and `create` is false.
        LeaseTimeoutError: It could not be had in time.
        LeaseError: The filesystem refuses: no permission, read-only, no space, no inodes. It is the base of the others.
        ValueError: `ttl` is not above 0, or `timeout` is below.
    """
    return acquire(path, ttl=ttl, create=create, timeout=timeout, purpose=purpose)


def acquire(
    path: str | os.PathLike[str],
    *,
    ttl: float | None = None,
    create: bool = True,
    timeout: float = TIMEOUT_SECONDS,
    purpose: str = "",
    lasting: bool = False,
) -> Lease:
    """As `lease`; with `lasting` one that outlasts this process, and ends only when its file is removed.

    Args:
        path: As for `lease`.
        ttl: As for `lease`; but a `lasting` one nobody touches, unless its user does.
        create: As for `lease`.
        timeout: As for `lease`.
        purpose: As for `lease`.
        lasting: Whether the lease is one of the file alone, with no lock on it: for scripts that take it by one command
            and end it by another. `let_go` then leaves the file where it is.

    Raises:
        LeaseError: As for `lease`, and so are the others.
    """
    if ttl is not None and not 0 < ttl < 1e12:  # noqa: PLR2004  as a lease file may say
        raise ValueError(f"a ttl of {ttl} s; it has to be above 0")
    if not timeout >= 0:
        raise ValueError(f"a timeout of {timeout} s; it has to be 0 or more")
    return _Acquisition(absolute(path), ttl, timeout, purpose, create=create, lasting=lasting).run()


class _Acquisition:
    """One lease being taken: attempt after attempt, until one meets nobody on its way."""

    def __init__(
        self, path: str, ttl: float | None, timeout: float, purpose: str, *, create: bool, lasting: bool
    ) -> None:
        self._path, self._ttl, self._purpose = path, ttl, purpose[:_PURPOSE_CHARACTERS]
        self._create, self._lasting = create, lasting
        self._patience = Patience(path, timeout)
        # A folder that we made and that slipped away: should it come back, it is still a new one. It stays open, so
        # that no other gets its number.
        self._made: Folder | None = None

    def run(self) -> Lease:
        lease = None
        try:
            while (lease := self._attempt()) is None:
                self._patience.pause("it is moved or deleted all the time")
        except OSError as error:
            raise explained(error, self._path) from error
        finally:
            if self._made is not None:
                if lease is None:
                    self._unmake(self._made)
                self._made.close()
        return lease

    def _attempt(self) -> Lease | None:
        folder = self._opened()
        if folder is None:
            return None
        lease = None
        try:
            if self._has_lock(folder):
                lease = self._placed(folder)
            return lease
        finally:
            if lease is None:
                self._leave(folder)

    def _opened(self) -> Folder | None:
        try:
            folder = opened(place_of(self._path), create=self._create)
        except FileNotFoundError as error:
            if self._create:  # what we made, or what it was in, is gone already
                return None
            raise FolderMissingError(f"{self._path} is not there; make it, or let the lease do it (create)") from error
        if self._made is not None and self._made.is_same(folder):
            folder.created = True
        return folder

    def _has_lock(self, folder: Folder) -> bool:
        """Share the folder's lock; False where it is no longer the one that its path names."""
        while not folder.lock():
            if not folder.is_in_place():
                return False
            self._patience.pause("somebody has it locked")
        return folder.is_in_place()

    def _placed(self, folder: Folder) -> Lease | None:
        """Put the lease file in, and see that the folder is still there; none where it isn't."""
        locked = not self._lasting and locks_are_real_here(folder.fd, folder.device)
        ttl = self._ttl
        if ttl is None and not locked and not self._lasting:
            ttl = TTL_WITHOUT_LOCKS_SECONDS
        try:
            fd, name = put(folder.fd, self._holder(folder, ttl, locked=locked).encoded(), locked=locked)
        except OSError:
            if folder.is_in_place():
                raise
            return None  # it was deleted: ENOENT, on ext4 EPERM
        lease = None
        try:
            if folder.is_in_place():
                lease = Lease(folder, fd, name, locked=locked, ttl_seconds=ttl, lasting=self._lasting)
        finally:
            if lease is None:
                remove(folder.fd, name)
                os.close(fd)
        return lease

    def _holder(self, folder: Folder, ttl: float | None, *, locked: bool) -> Holder:
        me = myself()
        return Holder(
            pid=me.pid,
            started=me.started,
            boot_id=me.boot_id,
            device=folder.device,
            pid_namespace=me.pid_namespace,
            mount_namespace=me.mount_namespace,
            host=me.host,
            purpose=self._purpose,
            at=time.time(),
            ttl_seconds=ttl,
            locked=locked,
        )

    def _leave(self, folder: Folder) -> None:
        folder.unlock()
        if not folder.created:
            folder.close()
            return
        if self._made is not None:
            self._made.close()
        self._made = folder

    def _unmake(self, folder: Folder) -> None:
        """Remove the folder that we made for a lease that we don't get: the next client would take it for a hit."""
        try:
            if folder.is_in_place():
                os.rmdir(self._path)
        except OSError:  # somebody is in it by now
            pass

"""Who takes part: the real evictor, and clients of each kind that the contract knows."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

import gcsidecar
from cache.helpers import Tracker, reconcile, spec
from fakes import FakeClock
from gcsidecar.cache.errors import EvictionError, RemovalError
from gcsidecar.cache.eviction import protocol
from gcsidecar.cache.root import Root
from gcsidecar.cache.spec import LeaseSpec
from gcsidecar.contract import MARK
from gcsidecar.gc.errors import DisposableInUseError
from interleave.picture import AWAY
from interleave.wrapping import REAL

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from interleave.actor import Actor

NAME, DATA = "f", "data"
MOUNT = "mount"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY


def _ground(root: Root) -> protocol.Ground:
    return root.custody.ground()


def evictor(actor: Actor, *, rounds: int = 1, ground: Callable[[Root], protocol.Ground] = _ground) -> None:
    """A sidecar: it recovers what lies there from before, and then the folder is to go."""
    root = opened(actor.run.root)
    for _ in range(rounds):
        root.custody.recover()
        with contextlib.suppress(DisposableInUseError, EvictionError):
            protocol.evict(ground(root), NAME)
    root.close()


def persistent_evictor(actor: Actor) -> None:
    """It tries twice."""
    evictor(actor, rounds=2)


def watchful_evictor(actor: Actor) -> None:
    """It also looks at all folders before, and reaps leases that are dead."""
    root = opened(actor.run.root)
    root.custody.recover()
    reconcile(root)
    evict(root)
    root.close()


def opened(path: str, clock: FakeClock | None = None) -> Root:
    """A root, active."""
    root = Root(spec(path, lease=LeaseSpec(files=("{folder}/.lease.*",))), Tracker(), clock=clock or FakeClock())  # type: ignore[arg-type]
    assert root.custody.activate({})
    return root


def evict(root: Root) -> str:
    """What becomes of the folder."""
    folder = root.census.get(NAME)
    try:
        if folder is not None:
            folder.dispose()
    except DisposableInUseError as error:
        return error.reason
    except (EvictionError, RemovalError) as error:
        return str(error)
    return "gone"


def simple(actor: Actor, *, confirms: bool = True) -> None:
    """`L=$(mktemp "$F/.lease.XXXXXX") && test -e "$L"`, work by path, `rm -f "$L"`."""
    path = f"{actor.run.root}/{NAME}"
    lease = f"{path}/.lease.{actor.name}"
    _make(actor, path)
    with contextlib.suppress(FileNotFoundError):
        _touch_new(path, f".lease.{actor.name}")
        with contextlib.suppress(FileNotFoundError):
            if confirms:
                os.stat(lease)
            folder = actor.folder_with(f".lease.{actor.name}")
            actor.holds_on(folder, *actor.files_of(folder), outlives=True)
            _work(actor, path, folder)
            actor.lets_go()
        os.unlink(lease)


def trusting(actor: Actor) -> None:
    """A simple client that doesn't look whether its lease is where it put it."""
    simple(actor, confirms=False)


def _touch_new(path: str, name: str) -> None:
    """By path; a kernel, too, finds the directory first and makes the file in it after that."""
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        os.close(os.open(name, _NEW, 0o600, dir_fd=fd))
    finally:
        os.close(fd)


def _make(actor: Actor, path: str) -> None:
    """As a tool makes what it misses: the folder, and what is to be in it."""
    try:
        os.mkdir(path)
    except FileExistsError:
        return
    # It may be gone by now, or be another, which somebody else fills.
    with contextlib.suppress(FileNotFoundError, FileExistsError):
        fd = os.open(f"{path}/{DATA}", _NEW)
        actor.has_filled(fd)
        os.close(fd)


def _work(actor: Actor, path: str, leased: Hashable) -> None:
    """By path, whatever is there now: makedirs again, as many tools do it, and a result that is read later."""
    _make(actor, path)
    result = f"out.{actor.name}"
    with contextlib.suppress(FileNotFoundError):
        os.close(os.open(f"{path}/{result}", os.O_CREAT | os.O_WRONLY))
        # Where its owner has moved the folder, the lease went with it.
        if not actor.is_away(leased):
            actor.holds_on(actor.folder_at(path), result, outlives=True)
        os.stat(f"{path}/{result}")


def careful(actor: Actor, *, patience_seconds: float = 0.0, path: str | None = None) -> None:
    """Our client: one attempt, or as many as it has patience for; then work, and the release."""
    path = path or f"{actor.run.root}/{NAME}"
    try:
        lease = gcsidecar.lease(path, timeout=patience_seconds)
    except gcsidecar.LeaseTimeoutError:
        return
    folder = actor.label_of(REAL["fstat"](lease.folder_fd))
    files = actor.files_of(folder)
    actor.holds_on(folder, *files, os.path.basename(lease.file), stays=not actor.may_move)
    # Another client may have made the folder, and not filled it yet.
    missing = (FileNotFoundError,) if actor.may_move or DATA not in files else ()
    with contextlib.suppress(*missing):
        os.close(os.open(f"{path}/{DATA}", os.O_RDONLY))
    actor.lets_go()
    lease.release()


def patient(actor: Actor) -> None:
    """Our client, with patience for a second attempt."""
    careful(actor, patience_seconds=0.0003)


def bound(actor: Actor) -> None:
    """Our client, where the folder itself is mounted: its path names it, wherever it is moved."""
    mount = f"{os.path.dirname(actor.run.root)}/{MOUNT}"
    fd = REAL["open"](mount, _DIRECTORY)
    actor.calls.takes(fd)
    careful(actor, path=mount)
    os.close(fd)


def flocked(actor: Actor) -> None:
    """`flock -s F sh -c 'test F -ef /proc/self/fd/3 && ...'`: the command sees that the path names what is locked."""
    path = f"{actor.run.root}/{NAME}"
    _make(actor, path)
    try:
        fd = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                folder = actor.folder_at(path)
                actor.holds_on(folder, *actor.files_of(folder), stays=not actor.may_move)
                os.stat(path)
    finally:
        actor.lets_go()
        os.close(fd)


def inside(actor: Actor) -> None:
    """One that works in the folder by a descriptor of its own: the shared lock, a lease that is there, and no mark."""
    fd = REAL["open"](f"{actor.run.root}/{NAME}", _DIRECTORY)
    actor.calls.takes(fd)
    lease = f".lease.{actor.name}"
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        _touch_in(fd, lease)
        if not os.fstat(fd).st_mode & MARK:
            folder = actor.label_of(REAL["fstat"](fd))
            actor.holds_on(folder, *actor.files_of(folder))
            os.close(os.open(DATA, os.O_RDONLY, dir_fd=fd))
            actor.lets_go()
        os.unlink(lease, dir_fd=fd)
    os.close(fd)


def _touch_in(fd: int, name: str) -> None:
    os.close(os.open(name, _NEW, dir_fd=fd))


def replacer(actor: Actor) -> None:
    """Its owner moves the folder away, and makes another of its name, which is empty as yet."""
    path = f"{actor.run.root}/{NAME}"
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, f"{os.path.dirname(actor.run.root)}/{AWAY}/{NAME}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)


def taker(actor: Actor) -> None:
    """Somebody makes a folder of that name as soon as there is none."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(f"{actor.run.root}/{NAME}")


def lay_out(base: Path) -> str:
    """A root with a folder in it, and two places beside it."""
    root = base / "root"
    for directory in (root, base / AWAY, base / MOUNT, root / NAME):
        directory.mkdir()
    (root / NAME / DATA).touch()
    return str(root)

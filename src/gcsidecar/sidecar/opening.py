"""Opening roots: each in a thread of its own, again and again until it is there, so that none holds up another.

A root may be missing for now (a tool makes its cache later) or hang for ever (a dead network mount).
"""

from __future__ import annotations

import functools
import logging
import threading
from typing import TYPE_CHECKING

from gcsidecar.cache.errors import RootUnavailableError
from gcsidecar.cache.root import Root
from gcsidecar.cache.survey import Surveyed
from gcsidecar.cache.watching.hints import Hints
from gcsidecar.sidecar import journal
from gcsidecar.sidecar.log import fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsidecar.cache.regrets import Regret
    from gcsidecar.cache.spec import RootSpec
    from gcsidecar.cache.use.open_files import OpenFiles
    from gcsidecar.cache.use.verdict import Reaped
    from gcsidecar.cache.watching.watcher import Watcher
    from gcsidecar.gc.clock import Clock
    from gcsidecar.gc.disposable import Disposable
    from gcsidecar.gc.source import DisposableSource
    from gcsidecar.sidecar.keeper import Keeper

_log = logging.getLogger("gcsidecar.roots")

RETRY_SECONDS = 1.0


class Link:
    """Leads from a root to the keeper of its filesystem, which is known only once the root is open, and may change."""

    def __init__(self) -> None:
        self.keeper: Keeper | None = None

    def add_source(self, source: DisposableSource) -> None:
        """Ask a root for its folders."""
        if self.keeper is not None:
            self.keeper.add_source(source)

    def remove_source(self, source: DisposableSource) -> None:
        """Ask it no longer."""
        if self.keeper is not None:
            self.keeper.remove_source(source)

    def unregister(self, disposable: Disposable) -> bool:
        """A folder is gone."""
        return self.keeper is not None and self.keeper.unregister(disposable)

    def stopping(self) -> bool:
        """Whether a deletion is to end early."""
        return self.keeper is None or self.keeper.stopping()

    def wait(self, seconds: float) -> None:
        """Wait so long, or until the keeper is to end."""
        if self.keeper is not None:
            self.keeper.wait(seconds)

    def wake(self) -> None:
        """There are hints to follow."""
        if self.keeper is not None:
            self.keeper.wake()

    def regretted(self, regret: Regret) -> None:
        """A folder came back after its eviction."""
        if self.keeper is not None:
            self.keeper.regretted(regret)

    def reaped(self, reaped: Reaped) -> None:
        """A lease had ended, and was removed."""
        if self.keeper is not None:
            self.keeper.reaped(reaped)


class Opened:
    """A root that is open, with all that belongs to it."""

    def __init__(self, surveyed: Surveyed, link: Link) -> None:
        self.surveyed = surveyed
        self.link = link

    @property
    def root(self) -> Root:
        """The root itself."""
        return self.surveyed.root

    def close(self) -> None:
        """Let go of it; its keeper has ended."""
        self.surveyed.hints.detach()  # before: the root forgets its folders one by one, and each watch is ended
        self.root.close()


class Opener:
    """Tries to open one root until it is open, or nobody wants it any more.

    Args:
        spec: The root.
        watcher: The process's one watcher.
        opened: Told of the root, in this thread.
        clock: Both clocks.
        open_files: Tells what processes have open.
        dry_run: Whether nothing may be changed on disk.
    """

    def __init__(
        self,
        spec: RootSpec,
        watcher: Watcher,
        opened: Callable[[Opened], None],
        clock: Clock,
        open_files: OpenFiles,
        *,
        dry_run: bool,
    ) -> None:
        self.spec = spec
        self.problem: str | None = None
        self.tried = threading.Event()
        self._watcher, self._opened, self._clock, self._dry_run = watcher, opened, clock, dry_run
        self._open_files = open_files
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name=f"open-{spec.name}", daemon=True).start()

    def stop(self) -> None:
        """Give up."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                opened = self._open()
            except RootUnavailableError as error:
                self._say_once(str(error))
            except OSError as error:
                self._say_once(f"{self.spec.path}: {error.strerror}")
            else:
                self._opened(opened)
                self.tried.set()
                return
            self.tried.set()
            self._stopped.wait(RETRY_SECONDS)

    def _open(self) -> Opened:
        link = Link()
        hints = Hints(self._watcher, self.spec.path, link.wake)
        root = Root(
            self.spec,
            link,
            clock=self._clock,
            dry_run=self._dry_run,
            stop=link.stopping,
            watch=hints,
            wait=link.wait,
            regretted=link.regretted,
            reaped=link.reaped,
            said=functools.partial(journal.history, self.spec.name),
            wake=link.wake,
            open_files=self._open_files,
        )
        hints.attach(root)
        return Opened(Surveyed(root, hints), link)

    def _say_once(self, problem: str) -> None:
        if problem != self.problem:
            _log.warning("root-unavailable", extra=fields(root=self.spec.name, problem=problem))
        self.problem = problem

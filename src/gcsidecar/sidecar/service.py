"""The service: opens the roots, gives each filesystem its keeper, follows the config, and ends everything in time.

It starts and stops others and does no work of theirs; its one thread is the main thread, which signals reach.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsidecar import __version__
from gcsidecar.cache.use.open_files import OpenFiles
from gcsidecar.cache.watching.watcher import Watcher
from gcsidecar.gc.clock import SYSTEM_CLOCK, Clock
from gcsidecar.sidecar import log
from gcsidecar.sidecar.config import Config, ConfigError, load
from gcsidecar.sidecar.follow import identity_of
from gcsidecar.sidecar.health import FirstLook, health, readiness
from gcsidecar.sidecar.keeper import STOP_SECONDS, Keeper
from gcsidecar.sidecar.log import fields
from gcsidecar.sidecar.metrics import Metrics
from gcsidecar.sidecar.notify import Notifier
from gcsidecar.sidecar.opening import Opened, Opener
from gcsidecar.sidecar.reloading import Reload, carry_out
from gcsidecar.sidecar.serving import Serving, WebOptions
from gcsidecar.sidecar.stalls import Stall, stalls
from gcsidecar.sidecar.status import FilesystemStatus, RootStatus, Status, WatchStatus
from gcsidecar.sidecar.web.listening import WebError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from gcsidecar.cache.root import Root
    from gcsidecar.cache.spec import RootSpec
    from gcsidecar.sidecar.web.pages import Health, Readiness

_log = logging.getLogger("gcsidecar.service")

POLL_SECONDS = 1.0
# A thread that computes lets others run after so long. An answer takes a few turns, and so does an eviction: with
# Python's own 5 ms a scrape during a first scan took 45 ms (p99), with this one 16.
SWITCH_SECONDS = 0.001
# At the start roots that answer at once begin together; one that hangs holds the others up no longer than this.
FIRST_ROOTS_SECONDS = 0.25
# So long the closing of a root is awaited while others go on; at the end it is for a moment only.
CLOSE_SECONDS = 2.0
_NO_OPTIONS = WebOptions()


@dataclass(frozen=True, slots=True)
class _Lost:
    root: Root
    problem: str


class _Stop:
    """Told to end."""


_Event = Opened | _Lost | _Stop | Reload


class Service:
    """One sidecar process.

    Args:
        path: The config file.
        config: What was loaded from it.
        environ: Where its variables come from, and where systemd says how to reach it.
        web: What the command line says of the web server.
        clock: Both clocks.

    Raises:
        ConfigError: There is something wrong with the web config.
        WebError: An address can't be listened on.
    """

    def __init__(
        self,
        path: str,
        config: Config,
        environ: Mapping[str, str],
        web: WebOptions = _NO_OPTIONS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._path, self._config, self._environ, self._clock = path, config, environ, clock
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._openers: dict[str, Opener] = {}
        self._opened: dict[str, Opened] = {}
        self._keepers: dict[int, Keeper] = {}
        self._turned_at = clock.monotonic()
        self._first_look = FirstLook(self._turned_at)
        self._loaded_at, self._config_ok = clock.time(), True
        self._identity = identity_of(path)
        self._watcher, self._open_files = Watcher(), OpenFiles(clock)
        self.metrics = Metrics(self.status, version=__version__, stalls=self._stalls)
        self._notifier = Notifier(environ)
        self._web = Serving(
            web,
            config.listen_addresses,
            registry=self.metrics.registry,
            health=self._health,
            ready=self._ready,
            reload=self._ask_for_reload,
        )
        self._web.start()

    def run(self) -> None:
        """Run until SIGTERM or SIGINT; SIGHUP reads the config anew."""
        sys.setswitchinterval(SWITCH_SECONDS)
        for number, event in ((signal.SIGTERM, _Stop), (signal.SIGINT, _Stop), (signal.SIGHUP, Reload)):
            signal.signal(number, lambda _number, _frame, event=event: self._events.put(event()))  # type: ignore[misc]
        self._open_roots()
        self._await_first_roots()
        while True:
            events = self._next_events()
            self._turned_at = self._clock.monotonic()
            if any(isinstance(event, _Stop) for event in events):
                break
            try:
                self._handle(events)
                self._watcher.check()
                self._notifier.turn(self._ready, lambda: self._health().ok and self._web.answers())
            except Exception:  # noqa: BLE001  the edge of this thread: what is kept goes on being kept
                _log.exception("service-failed")
        self._stop()

    def _next_events(self) -> list[_Event]:
        """All that has happened; waits for something for a while."""
        events: list[_Event] = []
        try:
            events.append(self._events.get(timeout=self._notifier.pause_seconds(POLL_SECONDS)))
            while True:
                events.append(self._events.get_nowait())
        except queue.Empty:
            return events

    def _handle(self, events: list[_Event]) -> None:
        opened = [event for event in events if isinstance(event, Opened)]
        if opened:
            self._take_in(opened)
        for event in events:
            if isinstance(event, _Lost):
                self._lose(event)
        asked = [event for event in events if isinstance(event, Reload)]
        identity = identity_of(self._path)
        if identity != self._identity or asked:
            self._identity = identity
            self._notifier.reloading()
            carry_out((self._read_anew, self._web.reload), asked, self.metrics)
        elif self._web.has_changed():
            carry_out((self._web.reload,), (), self.metrics)

    # Roots and their keepers

    def _open_roots(self) -> None:
        for spec in self._config.roots:
            if spec.name not in self._opened and spec.name not in self._openers:
                watcher, open_files, dry_run = self._watcher, self._open_files, self._config.dry_run
                self._openers[spec.name] = Opener(
                    spec, watcher, self._events.put, self._clock, open_files, dry_run=dry_run
                )

    def _await_first_roots(self) -> None:
        until = self._clock.monotonic() + FIRST_ROOTS_SECONDS
        for opener in self._openers.values():
            opener.tried.wait(max(0.0, until - self._clock.monotonic()))

    def _take_in(self, opened: list[Opened]) -> None:
        """Give roots that were just opened to the keepers of their filesystems."""
        for one in opened:
            opener = self._openers.pop(one.root.name, None)
            if opener is None or opener.spec is not one.root.spec:
                _close([one], CLOSE_SECONDS)  # the config has changed meanwhile
                continue
            self._opened[one.root.name] = one
            _log.info(
                "opened", extra=fields(root=one.root.name, path=one.root.spec.path, kind=one.root.filesystem.kind)
            )
        self._keep({one.root.filesystem.device for one in opened})

    def _keep(self, devices: set[int]) -> None:
        """Start the keepers of these filesystems anew, with the roots that are open on them now."""
        self._end([self._keepers.pop(device) for device in devices if device in self._keepers])
        for device in devices:
            order = [self._opened[spec.name] for spec in self._config.roots if spec.name in self._opened]
            roots = [one for one in order if one.root.filesystem.device == device]
            if not roots:
                continue
            keeper = Keeper(
                [one.surveyed for one in roots],
                self._config,
                self.metrics,
                watched=self._is_watched,
                lost=lambda root, problem: self._events.put(_Lost(root, problem)),
                about={"holder": socket.gethostname(), "pid": os.getpid(), "address": ",".join(self._web.addresses)},
                clock=self._clock,
            )
            for one in roots:
                one.link.keeper = keeper
            self._keepers[device] = keeper
            keeper.start()

    def _end(self, keepers: list[Keeper]) -> set[str]:
        """End keepers; the names of the roots whose filesystem hangs."""
        for keeper in keepers:
            keeper.begin_to_stop()
        until, hung = self._clock.monotonic() + STOP_SECONDS, set[str]()
        for keeper in keepers:
            if not keeper.stop(max(0.0, until - self._clock.monotonic())):
                _log.error("hung", extra=fields(filesystem=keeper.status.name))
                hung.update(keeper.status.roots)
        return hung

    def _lose(self, lost: _Lost) -> None:
        """A root is not where it was: let go of it, and try to open what is there now."""
        one = self._opened.get(lost.root.name)
        if one is None or one.root is not lost.root:
            return
        _log.warning("root-lost", extra=fields(root=lost.root.name, problem=lost.problem))
        self._close([one])
        self._open_roots()

    def _close(self, closing: list[Opened]) -> None:
        devices = {one.root.filesystem.device for one in closing}
        self._end([self._keepers.pop(device) for device in devices if device in self._keepers])
        for one in closing:
            del self._opened[one.root.name]
        _close(closing, CLOSE_SECONDS)
        self._keep(devices)

    def _is_watched(self) -> bool:
        return self._watcher.state == "ok"

    # The config

    def _ask_for_reload(self) -> Future[tuple[str, ...]]:
        asking = Reload()
        self._events.put(asking)
        return asking.done

    def _read_anew(self) -> tuple[str, ...]:
        """Read the config anew; all that is wrong with it, a line each, and then the one before stays in force."""
        self._config_ok = False
        try:
            config = load(self._path, self._environ)
            self._apply(config)
        except ConfigError as error:
            return tuple(problem.at(self._path) for problem in error.problems)
        except WebError as error:
            return (str(error),)
        self._loaded_at, self._config_ok = self._clock.time(), True
        _log.info("config-loaded", extra=fields(path=self._path, roots=len(config.roots)))
        return ()

    def _apply(self, config: Config) -> None:
        """Bring the process in line with a new config; roots that are the same in it stay open."""
        self._web.move(config.listen_addresses)
        old, self._config = self._config, config
        log.configure(config.log.level, config.log.format)
        wanted = {spec.name: spec for spec in config.roots}
        other = config.dry_run != old.dry_run
        for name, opener in list(self._openers.items()):
            if other or opener.spec != wanted.get(name):
                opener.stop()
                del self._openers[name]
        closing = [one for name, one in self._opened.items() if other or one.root.spec != wanted.get(name)]
        self._close(closing)
        self._keep({one.root.filesystem.device for one in self._opened.values()})
        self._open_roots()

    # What others may know

    def status(self) -> Status:
        """All that is known now; waits for nothing."""
        found: dict[str, RootStatus] = {}
        filesystems: list[FilesystemStatus] = []
        for keeper in list(self._keepers.values()):
            found |= keeper.root_statuses()
            filesystems.append(keeper.status)
        order = {spec.name: number for number, spec in enumerate(self._config.roots)}
        filesystems.sort(key=lambda one: order.get(one.name, 0))
        watcher = self._watcher
        return Status(
            tuple(found.get(spec.name) or self._unopened(spec) for spec in self._config.roots),
            tuple(filesystems),
            WatchStatus(watcher.state, watcher.watches, watcher.refused, watcher.overflows, watcher.restarts),
            self._loaded_at,
            self._config_ok and self._web.ok,
            self._config.dry_run,
        )

    def _stalls(self) -> tuple[Stall, ...]:
        """How long tasks had to wait: those of the cgroup whose memory is watched, where one is."""
        held = [self._config.thresholds_of(spec).memory for spec in self._config.roots]
        return stalls(next((levels.cgroup for levels in held if levels is not None and levels.cgroup), None))

    def _unopened(self, spec: RootSpec) -> RootStatus:
        opener = self._openers.get(spec.name)
        problem = opener.problem if opener is not None and opener.problem else "it does not answer (yet)"
        return RootStatus(spec.name, None, "missing", problem)

    def _health(self) -> Health:
        return health(list(self._keepers.values()), self._clock.monotonic() - self._turned_at)

    def _ready(self) -> Readiness:
        absent = {name for name, opener in list(self._openers.items()) if opener.problem is not None}
        roots = self.status().roots
        return readiness(roots, absent, patient=self._first_look.goes_on(roots, self._clock.monotonic()))

    def _stop(self) -> None:
        began = time.monotonic()
        _log.info("stopping")
        self._notifier.stopping()
        for opener in self._openers.values():
            opener.stop()
        hung = self._end(list(self._keepers.values()))
        self._web.stop(0.1)
        self._watcher.close()  # all watches at once: to take off 100,000 one by one takes half a second
        # What is begun on a mount that hangs the kernel wouldn't let us end: there all is left as it is.
        _close([one for name, one in self._opened.items() if name not in hung], STOP_SECONDS)
        _log.info("stopped", extra=fields(seconds=time.monotonic() - began))


def _close(closing: Sequence[Opened], timeout_seconds: float) -> None:
    """Close roots, each in a thread of its own: on a mount that hangs that may take for ever, and is left behind."""
    for one in closing:  # all of them write their histories at once
        one.root.chronicle.begin_to_end()
    threads = [threading.Thread(target=one.close, name=f"close-{one.root.name}", daemon=True) for one in closing]
    for thread in threads:
        thread.start()
    until = time.monotonic() + timeout_seconds
    for one, thread in zip(closing, threads, strict=True):
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            _log.error("hung", extra=fields(root=one.root.name))
